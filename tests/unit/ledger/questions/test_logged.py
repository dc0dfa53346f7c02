"""Questions to an audit log: right, complete, asked again offline, and refused when cut."""

import getpass
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

import hospital_node
from hospital_node.audit_log import NodeAudit
from ledger import verify
from ledger.audit.bodies import STAFF, person
from ledger.audit.log import AuditLog
from ledger.explorer.cli import explorer
from ledger.questions import logged_proof, proof
from ledger.questions.cli import audit
from ledger.questions.logged import ADMINISTRATION
from tests.simulators.consent.world import STUDY, Hospital, Patient
from tests.simulators.finished_run import found
from twinward import canonical
from twinward.errors import EvidenceError, UsageError
from twinward.signing import Identity

QUESTIONS = (
    "withdrawal-delays", "denied-decisions", "overrides", "admin-acts", "overridden-inferences",
)  # fmt: skip


@dataclass
class Site:
    """A hospital whose desk and cohorts write into a real audit log."""

    world: Hospital
    audit: NodeAudit
    founding: object
    identity: Identity

    def __post_init__(self):
        self.world.withdrew = self.audit.withdrew
        self.cohort = self.world.cohort(note=lambda decided: self.audit.decided(STUDY, decided))

    def draw(self, *, after):
        self.world.clock.at += after
        return int(self.cohort.mask().sum())

    def ask(self, name, *, patients=True):
        return logged_proof.prove(
            name, {}, log=self.audit.log, founding=self.founding, patients=patients
        )

    def copy(self, *, patients=False):
        return logged_proof.export(self.audit.log, founding=self.founding, patients=patients)


@pytest.fixture
def site(tmp_path):
    names = ("coordinator", "cleveland", "south", "east")
    identities = {name: Identity.generate() for name in names}
    founding, world = found(identities), Hospital(tmp_path)
    (tmp_path / "audit").mkdir()
    log = AuditLog(
        tmp_path / "audit",
        org="cleveland",
        genesis=bytes.fromhex(founding.chain["genesis_hash"]),
        identity=identities["cleveland"],
        clock=world.clock,
    )
    site = Site(world, NodeAudit(log, clock=world.clock), founding, identities["cleveland"])
    yield site
    site.audit.close()
    world.vault.store.close()


@pytest.fixture
def busy(site):
    """Four patients; two withdraw, one before the second cohort; a twin is overruled."""
    patients = [Patient(site.world, number) for number in range(4)]
    for patient in patients:
        patient.grants()
    site.world.push()
    assert site.draw(after=1) == 4
    patients[0].withdraws()
    patients[0].withdraws()  # the same again, as after a lost answer
    assert site.draw(after=30) == 3
    site.world.desk.withdraw_record(STUDY.id32, patients[1].record)
    site.audit.cared("twin-asked", patients[2].record, twin="glucose/meal", by="ana")
    site.audit.cared(
        "twin-overridden", patients[2].record, twin="glucose/meal", by="ana", words="saw a fever"
    )
    site.audit.did("limit", by="root")
    return site


def test_the_delay_runs_from_the_receipt_to_the_first_cohort_without_the_patient(busy):
    answer, _ = busy.ask("withdrawal-delays")
    assert [row.cells for row in answer.rows] == [("cleveland", 2, 30, 30, 30, 1)]
    assert busy.draw(after=600) == 2
    answer, _ = busy.ask("withdrawal-delays")
    assert [row.cells for row in answer.rows] == [("cleveland", 2, 30, 600, 600, 0)]
    denied, _ = busy.ask("denied-decisions")
    assert sum(row.cells[2] for row in denied.rows) == 2
    assert all("withdrawn" in row.cells[1] for row in denied.rows)


def test_a_withdrawal_is_entered_before_its_receipt_and_nobody_who_was_out_waits(site):
    patient = Patient(site.world, 0)
    patient.grants()
    patient.withdraws()
    (row,) = site.ask("withdrawal-delays")[0].rows
    assert row.cells == ("cleveland", 1, 0, 0, 0, 0)


def test_the_share_of_each_member_of_staff_is_told_without_their_name(busy):
    records = busy.world.records
    for record, clerk in zip(records[2:4], ("ana", "ben"), strict=True):
        busy.world.desk.withdraw_record(STUDY.id32, record, staff=clerk)
    for record in records[:2]:
        busy.audit.attested(record, what="grant-attested", study=STUDY.id32, staff="ana")
    busy.audit.attested(records[0], what="grant-attested", study=STUDY.id32, staff="ben")
    answer, data = busy.ask("attested-by-staff", patients=False)
    assert [row.cells[1:5] for row in answer.rows] == [(1, 2, 60.0, 42.86), (1, 1, 40.0, 28.57)]
    assert proof.recheck(data).as_json() == answer.as_json()
    log = busy.audit.log
    number = log.bodies.topic(person(STAFF, "ana")).removeprefix("staff:")
    assert answer.rows[0].cells[0] == f"staff {number[:8]}"
    assert b"ana" not in verify.read_archive(data)[0]["leaves.txt"]
    withdrawn = json.loads(log.body(answer.rows[0].evidence[0])[1])
    assert "ana" not in json.dumps(withdrawn)  # the patient's body does not name staff


def test_overrides_and_administration_name_who_what_and_why(busy):
    (override,) = busy.ask("overrides")[0].rows
    assert override.cells[1:] == ("ana", "answer of the twin glucose.meal", "saw a fever")
    (overruled,) = busy.ask("overridden-inferences")[0].rows
    assert overruled.cells[1:] == ("glucose.meal", "saw a fever", "ana")
    (act,) = busy.ask("admin-acts")[0].rows
    assert act.cells[1:] == ("root", "limit", "done")


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("patients", [True, False])
def test_an_answer_is_verified_and_asked_again_from_its_file_alone(busy, name, patients):
    answer, data = busy.ask(name, patients=patients)
    assert answer.rows
    own = busy.founding.document.encode()
    assert proof.recheck(data, founding=own).as_json() == answer.as_json()
    bodies = verify.read_archive(data)[0]["bodies.txt"]
    if not patients:
        assert not any(str(record).encode() in bodies for record in busy.world.records)
        # Times and topics alone answer what needs no body, and the copy gives the same.
        copied = logged_proof.of_copy(name, {}, data=busy.copy(), founding=busy.founding)
        assert [row.cells for row in copied.rows] == [row.cells for row in answer.rows]


def test_a_row_hidden_or_an_entry_left_out_is_refused(busy):
    _, data = busy.ask("withdrawal-delays")
    records, _ = verify.read_archive(data)
    table = canonical.decode(records["table.json"])
    lying = {**records, "table.json": canonical.encode({**table, "rows": []})}
    short = {
        **records,
        **{
            n: b"".join(records[n].splitlines(keepends=True)[:-1])
            for n in ("leaves.txt", "bodies.txt")
        },
    }
    for changed, code in ((lying, "TW3722"), (short, "TW3721")):
        with pytest.raises(EvidenceError) as refusal:
            proof.recheck(verify.write_archive(changed))
        assert refusal.value.code == code


def test_a_part_of_a_log_is_no_copy_and_the_ledgers_questions_are_not_asked_of_it(busy):
    _, part = busy.ask("admin-acts")
    with pytest.raises(UsageError) as refusal:
        logged_proof.of_copy("admin-acts", {}, data=part, founding=busy.founding)
    assert refusal.value.code == "TW3723"
    with pytest.raises(UsageError) as refusal:
        busy.ask("key-changes")
    assert refusal.value.code == "TW3724"


def test_what_staff_enter_by_command_is_administration():
    sources = Path(hospital_node.__file__).parent.glob("*.py")
    commands = {
        w
        for path in sources
        for w in re.findall(r'commanded\(folder, "([a-z-]+)"', path.read_text())
    }
    assert len(commands) >= 4
    assert commands <= set(ADMINISTRATION)


def test_the_commands_ask_export_and_recheck_in_a_hospitals_own_folder(busy, tmp_path):
    folder, auditor = tmp_path / "own", tmp_path / "auditor"
    for place in (folder, auditor):
        place.mkdir()
        (place / "founding.json").write_bytes(busy.founding.document.encode())
    (folder / "secrets").mkdir(mode=0o700)
    busy.identity.save(folder / "secrets" / "identity.key")
    (folder / "state").mkdir()
    (tmp_path / "audit").rename(folder / "state" / "audit")

    def run(*words):
        result = CliRunner().invoke(audit, [*map(str, words)])
        assert result.exit_code == 0, result.output
        return result.stdout

    proven, copy = tmp_path / "answer.zip", tmp_path / "log.zip"
    asked = json.loads(run("ask", "overrides", folder, "--json"))
    assert asked["rows"][0][3] == "saw a fever"
    run("ask", "overrides", folder, "--proof", proven)
    assert json.loads(run("recheck", proven, "--json"))["rows"][0][1:] == [
        None, "answer of the twin glucose.meal", None,
    ]  # fmt: skip
    run("export", folder, copy)
    acts = json.loads(run("ask", "admin-acts", auditor, "--log", copy, "--json"))
    assert [row[2] for row in acts["rows"]] == ["limit"]
    for words in (("invite", folder, "anna"), ("remove", folder, "anna")):
        result = CliRunner().invoke(explorer, [*map(str, words)])
        assert result.exit_code == 0, result.output
    acts = json.loads(run("ask", "admin-acts", folder, "--json"))
    who = getpass.getuser()
    assert [row[1:] for row in acts["rows"][1:]] == [
        [who, "auditor-invited", "done"],
        [who, "auditor-removed", "done"],
    ]
    assert "anna" not in json.dumps(acts)
