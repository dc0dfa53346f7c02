"""Checkpoints of the network's log: every hospital co-signs by itself, and never a false one."""

from dataclasses import replace

import pytest

from ledger import verify
from ledger.log import checkpoint
from tests.simulators.network import COORDINATOR, eventually, twinward
from twinward.errors import TwinwardError
from twinward.organisation import Organisation

pytestmark = pytest.mark.slow


def cosigners(network, path):
    note = verify.Note.parse(path.read_bytes())
    hospitals = {one.org: one.identity for one in network.founding().hospitals}
    return sorted(checkpoint.cosigned_by(note, hospitals))


def evidence_of(network, name):
    return sorted((network.folder / name / "state" / "ledger").glob("denied-checkpoint-*"))


def test_hospitals_co_sign_what_they_executed_and_stop_at_what_they_did_not(network):
    status, found = twinward(network.folder, "audit", "checkpoint", COORDINATOR)
    assert status == 0, found
    (path,) = (network.folder / COORDINATOR / "checkpoints").glob("*.txt")
    eventually(lambda: cosigners(network, path) == sorted(network.hospitals))

    # The coordinator signs one event more than there is.
    stated = verify.Checkpoint.parse(verify.Note.parse(path.read_bytes()).text)
    false = replace(stated, size=stated.size + 1)
    coordinator = Organisation(network.folder / COORDINATOR).identity()
    forged = path.with_name(checkpoint.file_name(false))
    forged.write_bytes(checkpoint.sign(false, coordinator).encode())
    kept = [
        eventually(lambda name=name: evidence_of(network, name))[0] for name in network.hospitals
    ]
    try:
        assert {one.read_bytes() for one in kept} == {forged.read_bytes()}
        assert cosigners(network, forged) == []
        forged.unlink()  # even if the coordinator shows the true one again
        name = network.hospitals[0]
        eventually(
            lambda: (
                (network.status(name)["ledger"]["witness"]["trouble"] or {}).get("code") == "TW3640"
            )
        )
        before = network.book(name)
        with pytest.raises(TwinwardError) as refused:
            network.open_run(name, network.opening())
        assert refused.value.code == "TW3640"
        assert network.book(name) == before
    finally:
        forged.unlink(missing_ok=True)
        for one in kept:
            one.unlink()
    eventually(lambda: all(network.is_healthy(name) for name in network.hospitals))
