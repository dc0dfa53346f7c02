import numpy as np
import pytest

from consent.policy import Grade, Rule
from consent.record import DAY
from hospital_node.shares import ALL, NOTHING
from tests.simulators.consent.world import HOSPITAL, STUDY, Hospital, Patient
from twinward import canonical
from twinward.errors import ConsentError, DataError

pytestmark = pytest.mark.usefixtures("both_stores")


@pytest.fixture
def hospital(tmp_path):
    return Hospital(tmp_path)


@pytest.fixture
def patients(hospital):
    found = [Patient(hospital, number) for number in range(4)]
    for patient in found[:3]:
        patient.grants()
    hospital.push()
    return found


def test_the_cohort_is_who_granted_and_nobody_else(hospital, patients):
    cohort = hospital.cohort()
    assert cohort.mask().tolist() == [True, True, True, False]
    assert cohort.explain(hospital.records[0]).rule is Rule.GRANTED
    assert cohort.explain(hospital.records[3]).rule is Rule.NO_RECORD


def test_a_grant_joins_when_the_ledger_shows_it_and_leaves_at_the_receipt(hospital, patients):
    cohort = hospital.cohort()
    cohort.mask()
    patients[3].grants()
    assert not cohort.mask()[3]
    assert cohort.explain(hospital.records[3]).rule is Rule.NOT_ON_LEDGER
    hospital.push()
    assert cohort.mask()[3]
    patients[3].withdraws()
    assert not cohort.mask()[3]
    assert cohort.explain(hospital.records[3]).rule is Rule.WITHDRAWN_HERE


def test_a_withdrawal_that_reached_the_ledger_by_another_relay_counts(hospital, patients):
    cohort = hospital.cohort()
    cohort.mask()
    hospital.ledger.attestation(STUDY.id32, patients[0].subject)
    assert cohort.mask().tolist() == [False, True, True, False]
    assert cohort.explain(hospital.records[0]).rule is Rule.WITHDRAWN_ON_LEDGER


def test_a_grant_expires_by_the_clock_alone(hospital, patients):
    patients[3].grants(patients[3].grant(days=2))
    hospital.push()
    cohort = hospital.cohort()
    assert cohort.mask()[3]
    hospital.clock.at += DAY * 2
    assert cohort.mask().tolist() == [True, True, True, False]
    assert cohort.explain(hospital.records[3]).rule is Rule.EXPIRED


def test_a_grant_expires_by_the_ledgers_clock_and_a_clock_set_back_revives_nothing(
    hospital, patients
):
    patients[3].grants(patients[3].grant(days=2))
    hospital.push()
    cohort = hospital.cohort()
    assert cohort.mask()[3]
    hospital.ledger.time += 2 * DAY
    assert not cohort.mask()[3]
    hospital.ledger.time -= 2 * DAY
    assert not cohort.mask()[3]
    assert cohort.explain(hospital.records[3]).rule is Rule.EXPIRED


def test_a_grant_that_starts_later_joins_when_both_clocks_say_so(hospital, patients):
    start = int(hospital.clock.at) + 3600
    patients[3].grants(patients[3].grant(not_before=start))
    hospital.push()
    cohort = hospital.cohort()
    assert not cohort.mask()[3]
    assert cohort.explain(hospital.records[3]).rule is Rule.NOT_YET
    hospital.clock.at += 3600
    assert not cohort.mask()[3]
    hospital.ledger.time += 3600
    assert cohort.mask()[3]


def test_a_stale_or_mismatched_mirror_gives_no_mask_and_says_why(hospital, patients):
    trouble = []

    def confirm():
        if trouble:
            raise trouble[0]
        return hospital.ledger.time

    cohort = hospital.cohort(confirm=confirm)
    cohort.mask()
    for code in ("TW3101", "TW3102"):
        trouble[:] = [ConsentError("the mirror is not to be trusted", code=code, help="sync")]
        for call in (cohort.mask, lambda: cohort.explain(hospital.records[0])):
            with pytest.raises(ConsentError) as error:
                call()
            assert error.value.code == code
    trouble.clear()
    assert cohort.mask().sum() == 3


def test_a_signature_tampered_with_in_the_vault_counts_for_nothing(hospital, patients):
    with hospital.vault.store.transaction() as database:
        (signature,) = database.execute("select signature from grants where seq = 1").fetchone()
        spoiled = bytes([signature[0] ^ 1]) + signature[1:]
        database.execute("update grants set signature = ? where seq = 1", (spoiled,))
    cohort = hospital.cohort()
    assert cohort.mask().tolist() == [False, True, True, False]
    assert cohort.explain(hospital.records[0]).rule is Rule.SIGNATURE


def test_a_grant_widened_in_the_vault_counts_for_nothing(hospital, patients):
    kept = hospital.vault.newest(STUDY.id32, hospital.records[0])
    wider = kept.grant.to_json() | {"expiry": kept.grant.expiry + 365 * DAY}
    with hospital.vault.store.transaction() as database:
        database.execute("update grants set body = ? where seq = 1", (canonical.encode(wider),))
    assert not hospital.cohort().mask()[0]


def test_a_grant_of_a_hospitals_own_making_on_the_ledger_is_not_enough(hospital, patients):
    # The slot exists, but no signed grant of a patient of ours is kept here.
    stranger = Patient(hospital, 3)
    grant = stranger.grant()
    hospital.ledger.grants([(grant, grant.sign(stranger.key, stranger.letter.domain))])
    assert not hospital.cohort().mask()[3]


def test_a_grade_that_the_plan_does_not_accept_is_left_out(hospital, patients):
    cohort = hospital.cohort(grades=[Grade.STAFF])
    assert cohort.mask().sum() == 0
    assert cohort.explain(hospital.records[0]).rule is Rule.GRADE


def test_a_mirror_that_was_fetched_anew_is_read_from_the_start(hospital, patients):
    cohort = hospital.cohort()
    assert cohort.mask().sum() == 3
    # The old mirror had been lied to: in truth the first slot is empty. Same height, other head.
    del hospital.ledger.slots[STUDY.id32, patients[0].subject]
    hospital.ledger.heads[hospital.ledger.block] = b"\x55" * 32
    assert cohort.mask().tolist() == [False, True, True, False]


def test_an_error_while_changes_are_applied_does_not_lose_them(hospital, patients):
    patients[3].grants(patients[3].grant(days=2))
    hospital.push()
    cohort = hospital.cohort()
    assert cohort.mask()[3]
    hospital.clock.at += 2 * DAY
    real, hospital.ledger.slot = hospital.ledger.slot, lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        cohort.mask()
    hospital.ledger.slot = real
    assert not cohort.mask()[3]


def test_a_mask_is_a_snapshot_that_nobody_can_change(hospital, patients):
    cohort = hospital.cohort()
    mask = cohort.mask()
    with pytest.raises(ValueError, match="read-only"):
        mask[3] = True
    patients[0].withdraws()
    assert mask[0]
    assert not cohort.mask()[0]
    assert cohort.mask() is cohort.mask()
    assert mask.dtype == np.bool_


def test_a_patient_who_stands_twice_in_the_table_is_refused(hospital):
    with pytest.raises(DataError) as error:
        hospital.cohort(records=[*hospital.records, hospital.records[0]])
    assert error.value.code == "TW3040"


def test_explaining_an_unknown_record_is_refused(hospital):
    with pytest.raises(ConsentError) as error:
        hospital.cohort().explain("R999")
    assert error.value.code == "TW3041"


def test_a_grant_whose_record_left_the_table_is_not_used(hospital, patients):
    cohort = hospital.cohort(records=hospital.records[1:])
    assert cohort.mask().tolist() == [True, True, False]
    patients[0].withdraws()
    assert cohort.mask().tolist() == [True, True, False]


def test_an_empty_table_gives_an_empty_mask(hospital):
    assert hospital.cohort(records=[]).mask().shape == (0,)


PRESSURE = ("blood pressure",)


def test_who_left_a_category_out_has_a_smaller_share(hospital, patients):
    patients[3].grants(patients[3].grant(without=PRESSURE))
    hospital.push()
    cohort = hospital.cohort()
    mask, shares = cohort.permitted()
    assert mask.tolist() == [True] * 4
    assert shares.tolist() == [ALL, ALL, ALL, ALL + 1]
    assert not shares.flags.writeable
    decision = cohort.explain(hospital.records[3])
    assert (decision.rule, decision.withheld) == (Rule.GRANTED_IN_PART, 1)


def test_narrowing_bites_before_the_ledger_knows_and_widening_waits_for_it(hospital, patients):
    cohort = hospital.cohort()
    assert cohort.permitted()[1][0] == ALL
    patients[0].grants(patients[0].grant(nonce=1, without=PRESSURE))
    assert cohort.permitted()[1][0] == NOTHING
    hospital.push()
    assert cohort.permitted()[1][0] == ALL + 1
    patients[0].grants(patients[0].grant(nonce=2))
    assert cohort.permitted()[1][0] == NOTHING
    hospital.push()
    assert cohort.permitted()[1][0] == ALL


def test_what_was_left_out_is_left_out_after_a_restart(hospital, patients):
    patients[3].grants(patients[3].grant(without=PRESSURE))
    hospital.push()
    cohort = hospital.cohort(snapshot=hospital.snapshot)
    before = cohort.permitted()[1]
    cohort.save()
    hospital.reopen()
    again = hospital.cohort(snapshot=hospital.snapshot)
    assert again.permitted()[1].tolist() == before.tolist() == [ALL, ALL, ALL, ALL + 1]


def test_a_choice_widened_in_the_vault_counts_for_nothing(hospital, patients):
    patients[3].grants(patients[3].grant(without=PRESSURE))
    hospital.push()
    kept = hospital.vault.newest(STUDY.id32, hospital.records[3])
    wider = kept.grant.to_json() | {"scope": STUDY.scope(HOSPITAL).hex()}
    with hospital.vault.store.transaction() as database:
        database.execute("update grants set body = ? where seq = 4", (canonical.encode(wider),))
    assert hospital.cohort().permitted()[1][3] == NOTHING
