"""The commands over a real ledger: follow, checkpoint, ask, prove, recheck; and one that lies."""

import json
import os
import shutil

import pytest
from click.testing import CliRunner

from ledger.deployed import Addresses
from ledger.provenance import Kind
from ledger.questions.workspace import CHECKPOINTS, Workspace
from server.checkpoints import CheckpointThread
from tests.simulators.finished_run import found
from tests.simulators.ledger.fixtures import node
from tests.simulators.ledger.liar import LyingNode
from tests.simulators.ledger.network import LedgerNetwork, Patient
from twinward.__main__ import main
from twinward.errors import EvidenceError, LedgerError, UsageError
from twinward.signing import Identity

__all__ = ["node"]
ORGS = ("coordinator", "bern", "chur", "genf")


class NamedNetwork(LedgerNetwork):
    """A network whose members have the identities of a founding file."""

    def __init__(self, url, *, identities, **more):
        self.identities = list(identities.values())
        super().__init__(url, **more)

    def identity_of(self, number, key):
        return bytes.fromhex(self.identities[number].public.fingerprint)


class Office:
    """A coordinator's folder beside a real ledger whose members the founding file names."""

    def __init__(self, node, folder):
        self.node, self.folder = node, folder
        self.identities = {org: Identity.generate() for org in ORGS}
        self.network = NamedNetwork(
            node.url, genesis=node.genesis.hash(), hospitals=3, identities=self.identities
        )
        self.founding = found(
            self.identities,
            accounts={
                org: member.account for org, member in zip(ORGS, self.network.members, strict=True)
            },
            chain={
                "genesis_hash": node.genesis.hash().hex(),
                "contracts": Addresses.to_json(self.network.contracts),
            },
        )
        self.home = folder / "coordinator"
        (self.home / "secrets").mkdir(parents=True)
        (self.home / "founding.json").write_bytes(self.founding.document.encode())
        self.identities["coordinator"].save(self.home / "secrets" / "identity.key")

    def copy(self, name):
        """An auditor's folder: the papers, without keys and without the coordinator's state."""
        folder = self.folder / name
        shutil.copytree(self.home, folder, ignore=shutil.ignore_patterns("secrets", "state"))
        return folder

    def live(self, patients=3):
        """Consents, a plan without the third hospital's approval, a run of two."""
        people = [Patient(self.network, study=os.urandom(32)) for _ in range(patients)]
        self.network.hospitals[0].relay_grants([one.signed_grant() for one in people])
        self.network.coordinator.relay_withdrawal(*people[0].signed_withdrawal())
        study, plan, run = (os.urandom(32) for _ in range(3))
        self.network.coordinator.record(study, Kind.STUDY)
        self.network.coordinator.record(plan, Kind.PLAN, [study])
        for hospital in self.network.hospitals[:2]:
            hospital.approve(plan)
            hospital.reserve(run, plan=plan, micro_mu2=70_000)
        return people


@pytest.fixture
def office(node, tmp_path):
    office = Office(node, tmp_path)
    yield office
    office.network.close()


def audit(*words):
    """A command's exit status and what it printed."""
    done = CliRunner().invoke(main, ["audit", *map(str, words)])
    return done.exit_code, done.stdout


def test_an_auditor_follows_asks_proves_and_rechecks(office, tmp_path):
    office.live()
    at = ("--ledger", office.node.url)
    status, said = audit("checkpoint", office.home, *at, "--json")
    assert status == 0, said
    auditor = office.copy("auditor")
    status, said = audit("ask", "runs-without-approval", auditor, *at, "--format", "json")
    assert status == 0
    assert json.loads(said)["verdict"] == "PASS"
    proof = tmp_path / "answer.zip"
    asked = ("ask", "key-changes", auditor, *at, "--param", "member=chur", "--proof", proof)
    status, said = audit(*asked, "--json")
    assert status == 0
    shown = json.loads(said)
    assert [row[2] for row in shown["rows"]] == ["chur"]
    status, said = audit(
        "recheck", proof, "--founding", auditor / "founding.json", "--format", "json"
    )
    assert status == 0
    assert json.loads(said) == shown
    status, said = audit("sql", auditor, "select count(*) as n from v_consents", "--json")
    assert json.loads(said)["rows"] == [[4]]
    status, said = audit("save", auditor, "counting", "--sql", "select count(*) from events")
    assert status == 0
    status, said = audit("ask", "counting", auditor, "--saved")
    assert status == 0


def test_a_violation_ends_with_exit_status_3(office):
    own = office.network.hospitals[0]
    plan = os.urandom(32)
    own.record(plan, Kind.PLAN)
    own.approve(plan)
    status, said = audit(
        "ask", "separation-of-duties", office.home, "--ledger", office.node.url, "--format", "csv"
    )
    assert status == 3
    assert f"bern,plan,{plan.hex()}" in said


def test_an_answer_speaks_of_the_checkpoint_and_not_of_what_came_later(office):
    office.live()
    space = Workspace(office.home)
    space.follow(office.node.url)
    space.checkpoint(office.identities["coordinator"])
    before = len(space.ask("staff-attested", {}).rows)
    office.live()
    office.network.hospitals[2].raise_fence()
    space.follow(office.node.url)
    newer, _ = space.prove("key-changes", {})
    assert "new process started" not in str(newer.as_json()["rows"])
    assert len(space.ask("key-changes", {}).rows) == len(newer.rows) + 1
    space.checkpoint(office.identities["coordinator"])
    proved, _ = space.prove("key-changes", {})
    assert len(proved.rows) == len(newer.rows) + 1
    assert before == 1


def test_without_a_checkpoint_nothing_is_proved_and_only_the_coordinator_signs_one(office):
    office.live()
    space = Workspace(office.home)
    space.follow(office.node.url)
    with pytest.raises(UsageError) as refusal:
        space.prove("key-changes", {})
    assert refusal.value.code == "TW3715"
    with pytest.raises(UsageError) as refusal:
        space.checkpoint(office.identities["bern"])
    assert refusal.value.code == "TW3716"
    forged = office.home / CHECKPOINTS
    space.checkpoint(office.identities["coordinator"])
    (path,) = forged.iterdir()
    text = path.read_bytes()
    path.write_bytes(text.replace(text[-20:], b"A" * 19 + b"\n"))
    with pytest.raises(UsageError) as refusal:
        space.prove("key-changes", {})
    assert refusal.value.code == "TW3715"


@pytest.fixture
def liar(node):
    lying = LyingNode(node.url)
    yield lying
    lying.stop()


@pytest.mark.parametrize("kind", ["Consent.ConsentChanged", "Provenance.Reserved"])
def test_a_ledger_node_that_hides_an_event_contradicts_the_signed_checkpoint(office, liar, kind):
    from ledger.events import form

    office.live()
    Workspace(office.home).follow(office.node.url)
    Workspace(office.home).checkpoint(office.identities["coordinator"])
    office.network.coordinator.raise_fence()
    topic = "0x" + form(kind).topic.hex()

    def hides_one(method, params, result):
        if method != "eth_getLogs":
            return result
        hidden = next(log for log in result if log["topics"][0] == topic)
        return [log for log in result if log is not hidden]

    liar.twist = hides_one
    with pytest.raises(EvidenceError) as refusal:
        Workspace(office.copy("auditor")).follow(liar.url)
    assert refusal.value.code == "TW3714"


def test_a_ledger_rewritten_below_a_checkpoint_is_refused(office, liar):
    office.live()
    Workspace(office.home).follow(office.node.url)
    Workspace(office.home).checkpoint(office.identities["coordinator"])
    auditor = Workspace(office.copy("auditor"))
    auditor.follow(liar.url)
    liar.twist = lambda method, params, result: (
        {**result, "hash": "0x" + "ab" * 32}
        if method == "eth_getBlockByNumber" and int(params[0], 16) > 1
        else result
    )
    with pytest.raises(LedgerError) as refusal:
        auditor.follow(liar.url)
    assert refusal.value.code == "TW3704"


def test_a_folder_without_a_founding_file_is_refused(tmp_path):
    with pytest.raises(UsageError) as refusal:
        Workspace(tmp_path)
    assert refusal.value.code == "TW3713"


def test_the_coordinator_signs_a_checkpoint_when_something_happened_and_not_again(office, tmp_path):
    signer = CheckpointThread(
        office.home,
        state=tmp_path,
        url=office.node.url,
        identity=office.identities["coordinator"],
        every_seconds=3600,
    )
    first = signer.sign()
    assert signer.sign() is None
    office.live()
    second = signer.sign()
    assert first < second
    assert second in (office.home / CHECKPOINTS).iterdir()
