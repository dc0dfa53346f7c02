from dataclasses import replace

import pytest

from consent import purposes
from consent.policy import Rule
from consent.record import DAY
from consent.register import Register
from consent.standing import Mandate, Role, Standing
from tests.simulators.consent.world import STUDY, Hospital, Patient
from twinward import canonical
from twinward.errors import ConsentError

pytestmark = pytest.mark.usefixtures("both_stores")


@pytest.fixture
def hospital(tmp_path):
    return Hospital(tmp_path)


@pytest.fixture
def register(hospital):
    return Register(hospital.vault)


def a_mandate(hospital, *, role=Role.GUARDIAN, names=("health-research",), days=30):
    now = int(hospital.clock.now())
    return Mandate(role, purposes.bits(names), now, now + days * DAY)


def with_mandate(hospital, register, number=0, **of):
    """Somebody with a letter for a patient, under a mandate; and its number."""
    record = hospital.records[number]
    given = register.give(record, a_mandate(hospital, **of), holder="the mother")
    (code,) = hospital.vault.enrol(STUDY.id32, [record], valid_until=STUDY.closes, mandate=given)
    letter = replace(hospital.letter(number), code=code)
    return Patient(hospital, number, letter=letter), given


def granted(hospital, patient, **of):
    patient.grants(patient.grant(**of))
    hospital.push()
    cohort = hospital.cohort()
    assert cohort.mask()[hospital.records.index(patient.record)]
    return cohort


@pytest.mark.parametrize(
    ("standing", "rule"),
    [
        (Standing(died_at=0), Rule.DIED),
        (Standing(objected_at=2**40), Rule.OBJECTED),
        (Standing(of_age_at=2**40), Rule.A_CHILD),
    ],
)
def test_what_is_written_down_of_a_patient_holds_in_the_next_mask(
    hospital, register, standing, rule
):
    patient = Patient(hospital)
    cohort = granted(hospital, patient)
    register.note(patient.record, standing)
    assert not cohort.mask()[0]
    assert cohort.explain(patient.record).rule is rule
    hospital.reopen()
    assert not hospital.cohort().mask()[0]


def test_the_patient_is_shown_the_rule_that_the_cohort_applies(hospital, register):
    patient = Patient(hospital)
    granted(hospital, patient)
    register.note(patient.record, Standing(objected_at=2**40))
    asked = {"code": patient.letter.code.hex(), "study": STUDY.id32.hex()}
    shown = canonical.decode(hospital.desk.show(canonical.encode(asked)), at="answer")
    assert (shown["permit"], shown["rule"]) == (False, "objected")


def test_a_yes_that_is_newer_than_the_objection_counts(hospital, register):
    patient = Patient(hospital)
    register.note(patient.record, Standing(objected_at=int(hospital.clock.now()) - 1))
    granted(hospital, patient)


def test_a_guardians_yes_ends_on_the_birthday_by_the_clock_alone(hospital, register):
    birthday = (int(hospital.clock.now()) // DAY + 3) * DAY
    guardian, _ = with_mandate(hospital, register)
    register.note(guardian.record, Standing(of_age_at=birthday))
    cohort = granted(hospital, guardian)
    hospital.clock.at = birthday - 1
    assert cohort.mask()[0]
    hospital.clock.at = birthday
    assert not cohort.mask()[0]
    assert cohort.explain(guardian.record).rule is Rule.CAME_OF_AGE


def test_a_childs_own_yes_begins_on_the_birthday_by_the_clock_alone(hospital, register):
    birthday = (int(hospital.clock.now()) // DAY + 3) * DAY
    patient = Patient(hospital)
    register.note(patient.record, Standing(of_age_at=birthday))
    patient.grants()
    hospital.push()
    cohort = hospital.cohort()
    assert not cohort.mask()[0]
    hospital.clock.at = hospital.ledger.time = birthday
    assert cohort.mask()[0]


def test_a_mandate_that_is_ended_takes_its_grants_along(hospital, register):
    guardian, number = with_mandate(hospital, register)
    cohort = granted(hospital, guardian)
    register.end(number, of=guardian.record, now=int(hospital.clock.now()))
    assert not cohort.mask()[0]
    assert cohort.explain(guardian.record).rule is Rule.MANDATE_NOT_IN_FORCE


def test_a_mandate_ends_by_the_clock_alone(hospital, register):
    guardian, _ = with_mandate(hospital, register, days=2)
    cohort = granted(hospital, guardian)
    hospital.clock.at += 2 * DAY
    assert not cohort.mask()[0]


def test_a_yes_beyond_the_mandate_is_no_yes(hospital, register):
    delegate, _ = with_mandate(
        hospital, register, role=Role.DELEGATE, names=("heart-research", "not-for-profit")
    )
    delegate.grants(delegate.grant(names=("heart-research",)))
    hospital.push()
    assert hospital.cohort().explain(delegate.record).rule is Rule.MANDATE_EXCEEDED


@pytest.mark.parametrize(
    ("names", "days", "role"),
    [
        (("general-research",), 10, Role.DELEGATE),
        (("heart-research",), 31, Role.DELEGATE),
        (("heart-research",), 10, Role.GUARDIAN),
    ],
)
def test_nobody_hands_on_more_than_they_hold(hospital, register, names, days, role):
    record = hospital.records[0]
    held = register.give(record, a_mandate(hospital, role=Role.DELEGATE), holder="the daughter")
    with pytest.raises(ConsentError, match="more than they hold") as refused:
        register.give(
            record,
            a_mandate(hospital, role=role, names=names, days=days),
            holder="her husband",
            given_by=held,
        )
    assert refused.value.code == "TW8031"


def test_a_mandate_over_one_patient_is_none_over_another(hospital, register):
    held = register.give(
        hospital.records[0], a_mandate(hospital, role=Role.DELEGATE), holder="the daughter"
    )
    narrow = a_mandate(hospital, role=Role.DELEGATE, days=5)
    with pytest.raises(ConsentError) as refused:
        register.give(hospital.records[1], narrow, holder="her husband", given_by=held)
    assert refused.value.code == "TW8031"
    with pytest.raises(ConsentError) as refused:
        register.end(held, of=hospital.records[1], now=1)
    assert refused.value.code == "TW8032"


@pytest.mark.parametrize("change", [{"purposes": 0}, {"ends": 1}, {"purposes": 1 << 64}])
def test_half_a_mandate_is_refused(hospital, register, change):
    with pytest.raises(ConsentError) as refused:
        register.give(
            hospital.records[0], replace(a_mandate(hospital), **change), holder="the mother"
        )
    assert refused.value.code == "TW8030"


def test_mandates_are_read_back_with_what_they_stand_on(hospital, register):
    record = hospital.records[0]
    held = register.give(record, a_mandate(hospital, role=Role.DELEGATE), holder="the daughter")
    handed = register.give(
        record,
        a_mandate(hospital, role=Role.DELEGATE, names=("heart-research",), days=5),
        holder="her husband",
        given_by=held,
    )
    first, second = register.mandates(record)
    assert (first.number, second.number, second.given_by) == (held, handed, held)
    assert second.mandate.given_by == first.mandate
