"""A twin for the patient's own care by the patient's own key: granted, withdrawn, gone at once."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from consent.record import DAY, Withdrawal
from consent.terms import terms
from hospital_node import care_study
from hospital_node.twins.service import TwinService
from hospital_node.twins.store import TwinStore
from models.glucose import virtual_diary
from tests.simulators.consent.world import DOMAIN, HOSPITAL, IDENTITY, STUDY, Hospital, Patient
from twinward.errors import ConsentError

CARE = replace(STUDY, name="twin-care", purpose="own-care", title="A twin for my own care")
ASKED = "own-care"


class Nothing:
    def cared(self, what, patient, *, twin, by, words=""):
        pass


@pytest.fixture
def hospital(tmp_path):
    return Hospital(tmp_path, study=CARE)


@pytest.fixture
def care(hospital):
    return care_study.CareAnswers(
        hospital.vault,
        CARE,
        hospital=HOSPITAL,
        domain=DOMAIN,
        slot=hospital.ledger.slot,
        clock=hospital.clock,
    )


@pytest.fixture
def service(tmp_path, hospital, care):
    store = TwinStore(tmp_path / "twins.sqlite", key=bytes(32))
    yield TwinService(
        store,
        entries=Nothing(),
        answered=care.of,
        by="test",
        clock=hospital.clock,
        generator=np.random.default_rng(1),
    )
    store.close()


def refused(call):
    with pytest.raises(ConsentError) as refusal:
        call()
    return refusal.value


def test_the_patient_s_own_yes_makes_a_twin_and_their_withdrawal_ends_every_answer(
    hospital, service
):
    patient, history = Patient(hospital), virtual_diary.example(days=1, seed=2)
    ask = lambda: service.ask(patient.record, "glucose/1", horizon_minutes=60)  # noqa: E731
    assert refused(ask).code == "TW7122"
    patient.grants(patient.grant(names=(ASKED,)))
    service.individualise(patient.record, "glucose/1", history)  # before any block has it
    assert np.isfinite(ask().middle).all()
    hospital.push()
    ask()
    patient.withdraws()
    error = refused(ask)  # nothing was pushed: the hospital's own word is enough
    assert error.code == "TW7190"
    assert "withdr" in error.diagnostic.note
    for call in (
        lambda: service.individualise(patient.record, "glucose/1", history),
        lambda: service.explain(patient.record, "glucose/1"),
        lambda: service.observe("glucose/1", [(patient.record, history)]),
    ):
        assert refused(call).code == "TW7190"
    assert service.end(patient.record) > 0


def test_the_desk_cannot_agree_for_a_patient_who_said_no_by_key(hospital, service):
    patient = Patient(hospital)
    service.agree(patient.record)
    patient.grants(patient.grant(names=(ASKED,)))
    patient.withdraws()
    assert refused(lambda: service.agree(patient.record)).code == "TW7190"
    history = virtual_diary.example(days=1, seed=2)
    assert refused(lambda: service.individualise(patient.record, "glucose/1", history)).code == (
        "TW7190"
    )


def test_who_withdrew_is_not_in_what_the_hospital_learns_for_others(hospital, service):
    history = virtual_diary.example(days=1, seed=2)
    patients = [Patient(hospital, number) for number in range(3)]
    for patient in patients:
        patient.grants(patient.grant(names=(ASKED,)))
        service.individualise(patient.record, "glucose/1", history)
    assert len(service.histories("glucose/1")) == 3
    patients[1].withdraws()
    assert len(service.histories("glucose/1")) == 2


def test_a_withdrawal_that_only_the_ledger_shows_counts(hospital, care):
    patient = Patient(hospital)
    patient.grants(patient.grant(names=(ASKED,)))
    hospital.push()
    assert care.of(patient.record).permit
    withdrawal = Withdrawal(
        network=DOMAIN.genesis,
        study=CARE.id32,
        subject=patient.subject,
        nonce=1,
        signed_at=int(hospital.clock.now()),
    )
    hospital.ledger.withdrawal(withdrawal, withdrawal.sign(patient.key, DOMAIN))
    assert not care.of(patient.record).permit


def test_a_yes_to_research_is_none_to_a_twin_and_a_yes_ends_on_its_day(hospital, care):
    other, short = Patient(hospital, 1), Patient(hospital, 2)
    other.grants(other.grant(names=("general-research",)))
    short.grants(short.grant(names=(ASKED,), days=30))
    assert not care.of(other.record).permit
    assert care.of(short.record).permit
    hospital.clock.at += 31 * DAY
    assert not care.of(short.record).permit
    assert care.of("R3") is None


def test_the_care_study_is_the_hospital_s_own_and_stays_the_same(tmp_path, hospital):
    founding = SimpleNamespace(chain={"genesis_hash": "ab" * 32})
    made = [
        care_study.of(tmp_path, founding=founding, identity=IDENTITY, clock=hospital.clock)
        for _ in range(2)
    ]
    assert made[0] == made[1]
    assert (made[0].purpose, made[0].network) == (ASKED, "ab" * 32)
    text = terms(made[0], hospital=HOSPITAL).text
    assert "your own care" in text
    assert "other hospitals" not in text.replace("the hospitals keep", "")
