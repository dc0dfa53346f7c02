"""A retired model is found on the ledger by its run; only the coordinator's word counts."""

import json

import pytest
from click.testing import CliRunner

from hospital_node import retired
from hospital_node.node import connect_ledger
from ledger import verify
from ledger.chain import Kind
from server import retire
from server.cli import server as command
from server.paths import ServerPaths
from server.release import KIND as RELEASE_KIND
from twinward import retirement
from twinward.clock import FixedClock
from twinward.errors import EvidenceError, UsageError
from twinward.signing import Document

CARD = "# A model\n\nwords\n"


@pytest.fixture
def coordinator(world):
    """The coordinator's folder in the network of the other tests."""
    folder = world.paper.home.folder
    (folder / "founding.json").write_bytes(world.founding.document.encode())
    return folder


def released(world, folder, run):
    """A release as `server.release` leaves it, as far as a retirement looks at it."""
    place = ServerPaths(folder).releases / run.hex()[:16]
    place.mkdir(parents=True)
    document = Document(RELEASE_KIND, {"run": run.hex(), "study": "heart-risk"})
    document = document.signed_by(world.identity)
    (place / "release.json").write_bytes(document.encode())
    (place / "card.md").write_text(CARD)
    (place / "evidence.zip").write_bytes(b"pack")
    world.chain.record(document.digest, Kind.MODEL)
    return place


def test_it_is_signed_on_the_ledger_and_on_the_card_and_the_first_word_stands(world, coordinator):
    run = bytes([0x51]) * 32
    place = released(world, coordinator, run)
    words = [
        "retire",
        str(coordinator),
        run.hex()[:12],
        "--reason",
        "calibration drifted",
        "--json",
    ]
    assert world.chain.recorded_by(retirement.marker(run)) is None
    assert CliRunner().invoke(command, words, input="n\n").exit_code == 1
    assert world.chain.recorded_by(retirement.marker(run)) is None
    done = CliRunner().invoke(command, [*words, "--yes"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    stated = Document.decode((place / "retired.json").read_bytes(), kind=retirement.KIND)
    stated.verify(world.identity.public)
    assert said["digest"] == stated.digest.hex()
    assert world.chain.recorded(stated.digest) == Kind.PACK
    assert retired.is_retired(world.chain, world.founding, run)
    card = (place / "card.md").read_text()
    assert card.startswith("> **RETIRED on ")
    assert "calibration drifted" in card.splitlines()[0]
    assert card.endswith(CARD)
    again = retire.retire(coordinator, run.hex(), reason="another word", clock=FixedClock(5e9))
    assert again.digest == stated.digest
    assert (place / "card.md").read_text() == card


@pytest.mark.parametrize("line", ["record", "marker", "card"])
def test_a_process_that_dies_in_between_is_repaired_by_the_same_command(
    world, coordinator, monkeypatch, line
):
    run = line[:1].encode() * 32
    place = released(world, coordinator, run)

    class Died(Exception):
        pass

    def die(*_):
        raise Died

    where = {"record": "load_founding", "marker": "retirement", "card": "_mark"}[line]
    with monkeypatch.context() as patched:
        if line == "marker":
            patched.setattr(retire.retirement, "marker", die)
        else:
            patched.setattr(retire, where, die)
        with pytest.raises(Died):
            retire.retire(coordinator, run.hex(), reason="first", clock=FixedClock(1.8e9))
    stated = retire.retire(coordinator, run.hex(), reason="second", clock=FixedClock(1.9e9))
    assert stated.payload["reason"] == "first"
    assert world.chain.recorded_by(retirement.marker(run)) is not None
    assert (place / "card.md").read_text().startswith("> **RETIRED")


def test_a_hospital_takes_over_what_is_in_use_and_refuses_what_is_retired(
    world, hospital, coordinator, tmp_path
):
    run = bytes([0x54]) * 32
    place = released(world, coordinator, run)
    pack = tmp_path / "pack.zip"
    pack.write_bytes(verify.write_archive({"release.json": (place / "release.json").read_bytes()}))
    assert retired.require_in_use(hospital.folder, pack) is True
    retire.retire(coordinator, run.hex(), reason="drift", clock=FixedClock(1.8e9))
    with pytest.raises(EvidenceError) as refusal:
        retired.require_in_use(hospital.folder, pack)
    assert refusal.value.code == "TW8152"


def test_a_hospitals_own_marker_is_no_retirement(world, coordinator):
    run = bytes([0x52]) * 32
    member = world.paper.members["meadow"]
    chain = connect_ledger(world.founding, member.ledger_key(), folder=member.folder)
    chain.record(retirement.marker(run), Kind.PACK)
    chain.close()
    assert world.chain.recorded_by(retirement.marker(run)) is not None
    assert not retired.is_retired(world.chain, world.founding, run)


def test_what_is_no_release_or_has_no_reason_is_refused(world, coordinator):
    run = bytes([0x53]) * 32
    released(world, coordinator, run)
    for name, reason, code in (
        ("53", "why", "TW8150"), ("99" * 32, "why", "TW8150"), (run.hex(), " ", "TW8151"),
        (run.hex(), "a\nb", "TW8151"),
    ):  # fmt: skip
        with pytest.raises(UsageError) as refusal:
            retire.retire(coordinator, name, reason=reason, clock=FixedClock(1.8e9))
        assert refusal.value.code == code
