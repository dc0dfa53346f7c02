"""A patient withdraws at the front door: their hospital was put out, and its desk is gone."""

import contextlib
import json
import subprocess

import pytest

from consent.patient_keys import Wallet
from ledger.endpoint import Endpoint
from server.founding_ceremony import load_founding
from server.front_door_conf import fleet_paths, grpc_paths
from server.front_door_patience import ALLOWED
from tests.simulators.namespaces import COORDINATOR, DOOR, HUB
from tests.simulators.network import eventually
from twinward import canonical
from twinward.errors import InternalError
from twinward.organisation import Organisation
from twinward.reach import LEDGER_PATH
from twinward.rpc.messages_pb2 import Blob

pytestmark = pytest.mark.slow
HOSPITAL, OTHER = "harbour", "meadow"
OUT_SECONDS = 5.0
WITHDRAW = ("consent", "withdraw", "--wallet", f"patients-{HOSPITAL}")


def purposes_on_the_ledger(world, entry):
    folder = world.folder / COORDINATOR
    founding = load_founding(folder)

    def read():
        with contextlib.closing(Endpoint.of(founding, folder).chain(founding)) as chain:
            return chain.consent(entry.letter.study.id32, entry.subject).purposes

    return world.machines.within(COORDINATOR, read)


def call(world, path, body, *, at, address=None, member=None):
    """What the front door says to a call, without or with a certificate: all of its headers."""
    frame = Blob(data=canonical.encode(body)).SerializeToString()
    (world.folder / "call.frame").write_bytes(b"\0" + len(frame).to_bytes(4) + frame)
    words = [*world.machines.exec_at(at), "curl", "-s", "--http2", "-m", "10", "-D", "-"]
    words += ["--cacert", world.folder / HOSPITAL / "ca.pem", "-o", "/dev/null"]
    words += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    if member is not None:
        tls = Organisation(world.folder / member).tls
        words += ["--cert", tls.certificate, "--key", tls.key]
    words += [] if address is None else ["-H", f"x-twinward-address: {address}"]
    words += ["--data-binary", f"@{world.folder / 'call.frame'}", f"https://{HUB}:{DOOR}{path}"]
    return subprocess.run(map(str, words), capture_output=True, text=True, check=True).stdout


def is_out(world, member):
    """Whether a member's certificate gets neither to Flower nor to the ledger any more."""
    found = [
        call(world, path, {}, at=member, member=member).split()[1]
        for path in (LEDGER_PATH, *fleet_paths()[:1])
    ]
    return found == ["403", "403"]


def test_who_guesses_invitations_waits_and_nobody_else_whatever_address_it_writes(world):
    hello = grpc_paths("Join")[0]
    wrong = {"token": "00" * 32, "protocols": [1]}
    said = [
        call(world, hello, wrong, at=HOSPITAL, address=f"10.77.0.{place}")
        for place in range(100, 101 + ALLOWED)
    ]
    assert ["TW6016" in one for one in said] == [True] * ALLOWED + [False]
    assert "TW6019" in said[-1]
    assert "TW6016" in call(world, hello, wrong, at=OTHER)


def test_a_patient_of_a_hospital_that_was_put_out_withdraws_at_the_front_door(world):
    # The last test of this folder: nobody lets this hospital in again.
    with contextlib.closing(Wallet.open(world.folder / f"patients-{HOSPITAL}")) as wallet:
        one, other = wallet.entries()[:2]
    world.do("server", "revoke", COORDINATOR, HOSPITAL)
    eventually(lambda: is_out(world, HOSPITAL), seconds=OUT_SECONDS)
    assert not is_out(world, OTHER)
    world.stage.kill(HOSPITAL)
    with pytest.raises(InternalError) as failed:
        world.do(*WITHDRAW, one.reference)
    assert "TW3001" in str(failed.value.diagnostic.note)
    assert purposes_on_the_ledger(world, one)
    for _ in range(2):  # the second time it says the same
        done = world.do(*WITHDRAW, one.reference, "--by-front-door")
        assert (done["withdrawn"], done["failed"]) == (1, 0)
    assert not purposes_on_the_ledger(world, one)
    assert purposes_on_the_ledger(world, other)
    # Nobody wrote down who came.
    log = (world.folder / COORDINATOR / "front_door" / "access.log").read_text()
    assert "Withdraw" not in log
    assert json.dumps(done).count(one.reference) == 1
