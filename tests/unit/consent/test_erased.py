"""Erasing from the vault: the person's number is nowhere, the proof stays, nothing widens."""

import re

import pytest

from consent import erased
from consent.kept import State
from consent.record import DAY
from consent.register import Register
from consent.standing import Mandate, Role, Standing
from consent.vault_tables import TABLES
from consent.withdrawals import Withdrawals
from tests.simulators.consent.world import NOW, STUDY, Hospital, Patient
from twinward.errors import ConsentError

pytestmark = pytest.mark.usefixtures("both_stores")

NAME = b"\x07" * 16


@pytest.fixture
def hospital(tmp_path):
    made = Hospital(tmp_path)
    made.records[:] = [f"MRN-00{number}" for number in range(4)]
    return made


def erase(hospital, number=0, name=NAME):
    return erased.erase(
        hospital.vault,
        hospital.records[number],
        name=name,
        now=int(NOW),
        on_chain_by=int(NOW) + 3600,
    )


def stands_in(hospital):
    """Tables in which the first patient's number still stands, in the clear or hidden."""
    hidden = str(hospital.vault.hidden.hide(hospital.records[0]))
    rows = {
        table: [
            str(value)
            for row in hospital.vault.store.rows(f"select * from {table}")
            for value in row
        ]
        for table in re.findall(r"create table (\w+)", TABLES)
    }
    return [
        table
        for table, values in rows.items()
        if any("MRN-000" in one or one == hidden for one in values)
    ]


def test_every_table_of_the_vault_is_walked_and_the_proof_stays(hospital):
    patient, other = Patient(hospital, 0), Patient(hospital, 1)
    patient.grants()
    other.grants()
    hospital.push()
    register = Register(hospital.vault)
    register.note(patient.record, Standing(of_age_at=int(NOW) + DAY))
    mandate = Mandate(Role.DELEGATE, 1, int(NOW), int(NOW) + DAY)
    register.give(patient.record, mandate, holder="a sister")
    assert stands_in(hospital)
    assert erase(hospital) > 0
    assert stands_in(hospital) == []
    (holder,) = {row[0] for row in hospital.vault.store.rows("select holder from mandates")}
    assert hospital.vault.hidden.show(holder) == "erased"
    kept = hospital.vault.all_of(STUDY.id32, patient.subject)
    assert [one.verified(hospital.domain) for one in kept] == [True]  # was allowed, provably
    assert erased.people(hospital.vault) == [other.record]
    assert erase(hospital) == 0


def test_the_withdrawal_still_goes_to_the_ledger_and_the_cohort_forgets_at_once(hospital):
    patient, other = Patient(hospital, 0), Patient(hospital, 1)
    for one in (patient, other):
        one.grants()
    hospital.push()
    cohort = hospital.cohort()
    assert cohort.mask().sum() == 2
    hospital.ledger.reachable = False
    erase(hospital)
    assert cohort.mask().tolist() == [False, True, False, False]
    assert hospital.cohort().mask().sum() == 1
    (waiting,) = Withdrawals(hospital.vault).waiting()
    assert waiting.state is State.WAITING
    hospital.ledger.reachable = True
    hospital.push()
    assert hospital.ledger.slot(STUDY.id32, patient.subject).purposes == 0
    assert Withdrawals(hospital.vault).waiting() == []


def test_a_key_that_was_lost_cannot_speak_for_somebody_erased(hospital):
    patient = Patient(hospital)
    patient.grants()
    hospital.push()
    erase(hospital)
    for act in (patient.grants, patient.withdraws, patient.withdraws_by_code):
        with pytest.raises(ConsentError):
            act()


def test_an_objection_ends_every_study_but_the_patients_own_care(hospital):
    patient = Patient(hospital)
    patient.grants()
    hospital.push()
    given = {"now": int(NOW), "on_chain_by": int(NOW) + 60}
    assert erased.withdraw_all(hospital.vault, patient.record, **given, but=[STUDY.id32]) == []
    assert patient.is_used()
    (ended,) = erased.withdraw_all(hospital.vault, patient.record, **given)
    assert not patient.is_used()
    assert erased.withdraw_all(hospital.vault, patient.record, **given) == [ended]


def test_who_comes_back_with_a_new_letter_is_a_patient_like_any_other(hospital):
    first = Patient(hospital)
    first.grants()
    hospital.push()
    erase(hospital)
    hospital.push()
    again = Patient(hospital)
    again.grants()
    hospital.push()
    assert again.is_used()
