"""Paper consents: two people vouch for each, none outranks the patient or passes for one."""

import json
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from consent import purposes
from consent.intake import Desk, Intake
from consent.policy import Grade, Rule
from consent.study import OptionalCategory
from hospital_node.audit_log import NodeAudit
from hospital_node.data import records
from hospital_node.paper_consents import COLUMNS, WITHOUT, PaperConsents
from hospital_node.paths import NodePaths
from ledger import consents
from ledger.audit.log import AuditLog
from tests.simulators.consent.world import (
    GENESIS,
    HOSPITAL,
    IDENTITY,
    NOW,
    STUDY,
    Hospital,
    Patient,
)
from twinward.__main__ import main
from twinward.errors import ConsentError, UsageError

GOOD = {
    "record": "R0",
    "signed_on": "2026-01-31",
    "until": "2030-01-01",
    "purposes": "",
    "form": "v3",
    "attested_by": "Nurse One",
    "checked_by": "Doctor Two",
}


class Desks:
    """A hospital with an audit log, and a table of paper consents."""

    def __init__(self, folder, *, study=STUDY):
        self.study = study
        self.folder, self.hospital = folder, Hospital(folder, study=study, patients=4)
        log = AuditLog(
            folder / "audit", org=HOSPITAL, genesis=GENESIS, identity=IDENTITY,
            clock=self.hospital.clock,
        )  # fmt: skip
        self.audit = NodeAudit(log, clock=self.hospital.clock)

    def desk(self):
        hospital = self.hospital
        return Desk(
            hospital=HOSPITAL,
            identity=IDENTITY,
            domain=hospital.domain,
            studies={self.study.id32: self.study},
            clock=hospital.clock,
            slot=lambda _study, _subject: None,
            chain_time=hospital.clock.now,
            next_step=lambda _study: None,
        )

    def take(self, *lines, dry_run=False, columns=COLUMNS):
        path = self.folder / "paper.csv"
        rows = [columns, *([line.get(name, "") for name in columns] for line in lines)]
        path.write_text("\n".join(",".join(row) for row in rows), encoding="utf-8")
        consents_ = PaperConsents(
            self.hospital.vault,
            self.desk(),
            study=self.study,
            records=self.hospital.records,
            audit=None if dry_run else self.audit,
        )
        return [(line.became.value, line.code) for line in consents_.take(path)]

    def used(self, *grades):
        return self.hospital.cohort(grades=grades).mask().tolist()


@pytest.fixture
def desks(tmp_path):
    (tmp_path / "audit").mkdir()
    made = Desks(tmp_path)
    with closing(made.hospital.vault.store):
        yield made
    made.audit.close()


def test_a_paper_consent_counts_in_plans_that_accept_it_and_in_no_other(desks):
    assert desks.take(GOOD) == [("taken", "")]
    assert desks.used(Grade.STAFF) == [False] * 4  # not on the ledger yet
    desks.hospital.push()
    assert desks.used(Grade.STAFF) == [True, False, False, False]
    assert desks.used(Grade.DEVICE) == [False] * 4
    cohort = desks.hospital.cohort(grades=(Grade.DEVICE,))
    assert cohort.explain(desks.hospital.records[0]).rule is Rule.GRADE


def test_the_ledger_shows_that_no_patient_signed(desks):
    desks.take(GOOD)
    signed = Patient(desks.hospital, 1)
    signed.grants()
    desks.hospital.push()
    slots = {slot.subject: slot for slot in desks.hospital.ledger.slots.values()}
    marked = {bool(slot.purposes & consents.BY_STAFF) for slot in slots.values()}
    assert marked == {True, False}
    assert not slots[signed.subject].purposes & consents.BY_STAFF


def test_the_bit_on_the_ledger_is_that_of_the_purpose_table():
    assert purposes.bits([purposes.BY_STAFF]) == consents.BY_STAFF


def test_neither_grade_passes_for_the_other(desks):
    patient = Patient(desks.hospital, 0)
    with pytest.raises(ConsentError) as refused:
        patient.grants(patient.grant(names=("heart-research", purposes.BY_STAFF)))
    assert refused.value.code == "TW3014"
    grant = patient.grant()
    intake = Intake(desks.hospital.vault, desks.desk())
    with pytest.raises(ConsentError) as refused:
        intake.take(
            grant,
            grant.sign(patient.key, desks.hospital.domain),
            code=patient.letter.code,
            grade=Grade.STAFF,
        )
    assert refused.value.code == "TW3014"


def test_the_same_file_again_takes_nothing_twice(desks):
    lines = [GOOD, {**GOOD, "record": "R1"}]
    desks.take(GOOD)
    assert desks.take(*lines) == [("known", ""), ("taken", "")]
    assert desks.take(*lines) == [("known", ""), ("known", "")]
    desks.hospital.push()
    assert len(desks.hospital.ledger.slots) == 2


def test_a_dry_run_says_the_same_and_keeps_nothing(desks):
    assert desks.take(GOOD, {**GOOD, "record": "X"}, dry_run=True) == [
        ("taken", ""),
        ("refused", "TW7252"),
    ]
    assert desks.hospital.vault.newest(STUDY.id32, desks.hospital.records[0]) is None


def test_what_a_patient_left_out_on_paper_is_left_out_and_what_the_study_needs_is_refused(tmp_path):
    names = ("blood pressure", "heart examinations")
    optional = tuple(OptionalCategory(name, (name,)) for name in names)
    study = replace(STUDY, categories=("age and sex", *names), optional=optional)
    (tmp_path / "audit").mkdir()
    desks = Desks(tmp_path, study=study)
    cells = (" heart examinations ;", "; ".join(names), "", "blood pressure; age and sex")
    lines = [{**GOOD, "record": f"R{n}", WITHOUT: cell} for n, cell in enumerate(cells)]
    columns = (WITHOUT, *COLUMNS)
    expected = [("taken", "")] * 3 + [("refused", "TW3042")]
    with closing(desks.hospital.vault.store):
        assert desks.take(*lines, columns=columns, dry_run=True) == expected
        assert desks.take(*lines, columns=columns) == expected
        desks.hospital.push()
        shares = desks.hospital.cohort(grades=(Grade.STAFF,)).permitted()[1].tolist()
        assert shares == [1 + 0b10, 1 + 0b11, 1, 0]
        with pytest.raises(UsageError) as refused:
            desks.take(GOOD, columns=(*columns, WITHOUT))
        assert refused.value.code == "TW7250"
    desks.audit.close()


FAULTS = {
    "unknown patient": ({"record": "R9"}, "TW7252"),
    "nobody attests": ({"attested_by": ""}, "TW7254"),
    "nobody checks": ({"checked_by": ""}, "TW7254"),
    "one person does both": ({"checked_by": "NURSE ONE"}, "TW7254"),
    "no form": ({"form": ""}, "TW7254"),
    "signed in the future": ({"signed_on": "2029-01-01"}, "TW7255"),
    "ended": ({"until": "2026-02-01"}, "TW7255"),
    "no date": ({"until": "01.01.2030"}, "TW7255"),
    "no such purpose": ({"purposes": "selling"}, "TW3006"),
    "too many cells": ({"form": "v3,more"}, "TW7251"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_line_is_named_and_costs_only_itself(desks, fault):
    change, code = FAULTS[fault]
    assert desks.take({**GOOD, **change}, {**GOOD, "record": "R1"}) == [
        ("refused", code),
        ("taken", ""),
    ]


def test_a_patient_twice_in_one_file_is_taken_once(desks):
    assert desks.take(GOOD, {**GOOD, "until": "2031-01-01"}) == [
        ("taken", ""),
        ("refused", "TW7253"),
    ]


def test_paper_does_not_outrank_what_the_patient_said_since(desks):
    Patient(desks.hospital, 0).grants()
    Patient(desks.hospital, 1).withdraws_by_code()
    assert desks.take(GOOD, {**GOOD, "record": "R1"}) == [("known", ""), ("refused", "TW7256")]


def test_a_patient_withdraws_a_paper_consent_without_any_key(desks):
    desks.take(GOOD)
    desks.hospital.push()
    desks.hospital.desk.withdraw_record(STUDY.id32, desks.hospital.records[0])
    assert desks.used(Grade.STAFF) == [False] * 4
    assert desks.take(GOOD) == [("refused", "TW7256")]
    desks.hospital.push()
    assert [slot.purposes for slot in desks.hospital.ledger.slots.values()] == [0]


def test_each_attestation_is_in_the_audit_log_before_it_is_kept(desks, monkeypatch):
    entered = []

    def fail(record, **about):
        entered.append((record, about["what"], about["staff"]))
        raise RuntimeError

    monkeypatch.setattr(desks.audit, "attested", fail)
    with pytest.raises(RuntimeError):
        desks.take(GOOD)
    assert entered == [("R0", "grant-attested", "Nurse One")]
    assert desks.hospital.vault.newest(STUDY.id32, desks.hospital.records[0]) is None


def test_the_audit_log_names_staff_by_a_number_only(desks):
    desks.take(GOOD, {**GOOD, "record": "R1"})
    entries = b"".join(desks.audit.log.log.leaf(seq) for seq in range(desks.audit.log.log.size))
    assert entries.count(b'"kind":"grant-attested"') == 2
    assert b"Nurse" not in entries
    assert b"R0" not in entries


def test_a_closed_study_takes_no_paper(desks):
    closed = replace(STUDY, closes=int(NOW) - 1)
    with pytest.raises(ConsentError) as refused:
        list(
            PaperConsents(
                desks.hospital.vault,
                replace(desks.desk(), studies={closed.id32: closed}),
                study=closed,
                records=desks.hospital.records,
                audit=desks.audit,
            ).take(desks.folder / "none.csv")
        )
    assert refused.value.code == "TW3011"


@pytest.mark.parametrize(
    "content", [b"", b"record,until\nR0,2030-01-01\n", b"\xff\xfe", b'"' + b"x" * 10]
)
def test_what_is_no_such_table_is_refused(desks, content):
    path = desks.folder / "other.csv"
    path.write_bytes(content)
    taking = PaperConsents(
        desks.hospital.vault, desks.desk(), study=STUDY, records=["R0"], audit=desks.audit
    )
    with pytest.raises(UsageError) as refused:
        list(taking.take(path))
    assert refused.value.code == "TW7250"


@pytest.mark.slow
def test_staff_bring_paper_in_by_a_command(founded, tmp_path):
    name = founded.hospitals[-1]
    patients = records.read(NodePaths(founded.folder / name).patients, hospital=name).records
    today = datetime.now(UTC).date()
    days = {"signed_on": str(today - timedelta(30)), "until": str(today + timedelta(365))}
    lines = [{**GOOD, **days, "record": one} for one in (*patients[:3], "nobody")]
    table = tmp_path / "paper.csv"
    rows = [COLUMNS, *([line[column] for column in COLUMNS] for line in lines)]
    table.write_text("\n".join(",".join(row) for row in rows))
    words = ["data", "consents", str(founded.folder / name), str(table), "--study", founded.study]

    def run(*more):
        ended = CliRunner().invoke(main, [*words, "--json", *more])
        return ended.exit_code, json.loads(ended.stdout)["counts"]

    assert run("--dry-run") == (3, {"taken": 3, "known": 0, "refused": 1})
    assert run() == (3, {"taken": 3, "known": 0, "refused": 1})
    assert run() == (3, {"taken": 0, "known": 3, "refused": 1})
