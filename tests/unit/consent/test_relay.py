import random
from types import SimpleNamespace

import pytest

from consent.record import DAY
from consent.relay import Ledger, Relay
from tests.simulators.consent.world import STUDY, Hospital, Patient
from twinward.errors import ConsentError, LedgerError, LedgerUnreachable

pytestmark = pytest.mark.usefixtures("both_stores")


@pytest.fixture
def hospital(tmp_path):
    return Hospital(tmp_path, patients=40)


def everyone(hospital):
    patients = [Patient(hospital, number) for number in range(len(hospital.records))]
    for patient in patients:
        patient.grants()
    return patients


def test_an_unreachable_ledger_loses_no_grant(hospital):
    patient = Patient(hospital)
    patient.grants()
    hospital.ledger.reachable = False
    with pytest.raises(LedgerUnreachable):
        hospital.relay.push_grants()
    assert not patient.is_used()
    hospital.ledger.reachable = True
    assert hospital.relay.push_grants().done == 1
    assert patient.is_used()


def test_a_lost_answer_of_the_ledger_is_found_out_without_sending_again(hospital):
    patients = everyone(hospital)
    hospital.ledger.dies_after_taking = True
    with pytest.raises(LedgerUnreachable):
        hospital.relay.push_grants()
    hospital.reopen()
    assert hospital.relay.push_grants().done == len(patients)
    assert len(hospital.ledger.grants_seen) == 1
    assert all(hospital.cohort().mask())


def test_a_grant_that_the_ledger_skips_is_surfaced_with_its_reason(hospital):
    patients = everyone(hospital)
    hospital.ledger.time = hospital.clock.at + 8 * DAY
    pushed = hospital.relay.push_grants()
    assert pushed.done == 0
    assert {reason for _, reason in pushed.problems} == {"TooLate"}
    assert len(hospital.relay.problems()) == len(patients)
    assert hospital.relay.push_grants().problems == ()


def test_one_bad_grant_stops_no_other(hospital):
    patients = everyone(hospital)
    bad = patients[5]
    # Somebody brought another grant of the same subject to the ledger behind the desk's back.
    other = bad.grant(days=30)
    hospital.ledger.grants([(other, other.sign(bad.key, bad.letter.domain))])
    pushed = hospital.relay.push_grants()
    assert pushed.done == len(patients) - 1
    assert [reason for _, reason in pushed.problems] == ["WrongNonce"]
    assert sum(hospital.cohort().mask()) == len(patients) - 1


def test_the_order_on_the_ledger_is_not_the_order_of_arrival(hospital):
    patients = everyone(hospital)
    hospital.relay.push_grants()
    arrived = [patient.grant().digest(patient.letter.domain) for patient in patients]
    (sent,) = hospital.ledger.grants_seen
    assert sorted(sent) == sorted(arrived)
    assert sent != arrived


def test_batches_are_bounded(hospital):
    everyone(hospital)
    while hospital.relay.push_grants(batch=15).done:
        pass
    assert [len(batch) for batch in hospital.ledger.grants_seen] == [15, 15, 10]


@pytest.mark.parametrize("seed", range(5))
def test_every_grant_goes_once_whatever_place_a_batch_begins_at(hospital, monkeypatch, seed):
    monkeypatch.setattr("consent.relay._PAGE", 3)
    everyone(hospital)
    hospital.relay._shuffle.seed(seed)
    left = hospital.vault.ready_for_ledger()
    held = set(left[::4])  # what is spread over time
    hospital.relay._spread = SimpleNamespace(due=lambda _table, digest: digest not in held)
    while hospital.relay.push_grants(batch=7).done:
        pass
    seen = [digest for batch in hospital.ledger.grants_seen for digest in batch]
    assert sorted(seen) == sorted(set(left) - held)
    assert seen != sorted(seen)
    assert max(map(len, hospital.ledger.grants_seen)) == 7


def test_a_stuck_grant_holds_no_withdrawal_back(hospital):
    stays, leaves = Patient(hospital, 0), Patient(hospital, 1)
    leaves.grants()
    hospital.push()
    stays.grants()
    leaves.withdraws()

    def stuck(_items):
        raise LedgerError("stuck", code="TW5030", help="none")

    ledger = Ledger(
        stuck,
        hospital.ledger.withdrawal,
        hospital.ledger.attestation,
        hospital.ledger.slot,
        hospital.ledger.confirm,
    )
    relay = Relay(hospital.vault, ledger, shuffle=random.Random(1))
    with pytest.raises(LedgerError):
        relay.push_grants()
    assert relay.push_withdrawals().done == 1


def test_one_refused_withdrawal_stops_no_other_and_is_never_given_up(hospital):
    first, second = Patient(hospital, 0), Patient(hospital, 1)
    for patient in (first, second):
        patient.grants()
    hospital.push()
    first.withdraws()
    second.withdraws()
    refuse = {first.subject}

    def withdrawal(item, sig):
        if item.subject in refuse:
            raise LedgerError("not now", code="TW5030", help="none")
        hospital.ledger.withdrawal(item, sig)

    ledger = Ledger(
        hospital.ledger.grants,
        withdrawal,
        hospital.ledger.attestation,
        hospital.ledger.slot,
        hospital.ledger.confirm,
    )
    relay = Relay(hospital.vault, ledger, shuffle=random.Random(1))
    pushed = relay.push_withdrawals()
    assert (pushed.done, [reason for _, reason in pushed.problems]) == (1, ["not now"])
    assert [reason for _, reason in relay.problems()] == ["not now"]
    assert not first.is_used()
    refuse.clear()
    assert relay.push_withdrawals().done == 1
    assert relay.problems() == []
    assert hospital.ledger.slot(STUDY.id32, first.subject).purposes == 0


def test_a_new_grant_waits_behind_the_withdrawal_before_it(hospital):
    patient = Patient(hospital)
    patient.grants()
    hospital.push()
    patient.withdraws(nonce=1)
    patient.grants(patient.grant(nonce=2))
    assert hospital.relay.push_grants().done == 0
    hospital.push()
    assert patient.is_used()


def test_a_withdrawal_without_key_watches_for_a_grant_that_is_still_on_its_way(hospital):
    patient = Patient(hospital)
    grant = patient.grant()
    patient.grants(grant)
    hospital.desk.withdraw_record(STUDY.id32, patient.record)
    assert hospital.relay.push_withdrawals().done == 0  # nothing on the ledger yet
    # The transaction of a push that had begun before the withdrawal arrives only now.
    hospital.ledger.grants([(grant, grant.sign(patient.key, patient.letter.domain))])
    assert not patient.is_used()
    assert hospital.relay.push_withdrawals().done == 1
    assert hospital.ledger.slot(STUDY.id32, patient.subject).purposes == 0


def test_a_withdrawal_without_key_is_done_when_no_grant_can_arrive_any_more(hospital):
    patient = Patient(hospital)
    patient.grants()
    hospital.desk.withdraw_record(STUDY.id32, patient.record)
    hospital.ledger.time += 8 * DAY
    assert hospital.relay.push_withdrawals().done == 1


def test_an_answer_about_other_grants_is_refused(hospital):
    everyone(hospital)
    ledger = Ledger(
        lambda items: [(bytes(32), None) for _ in items],
        hospital.ledger.withdrawal,
        hospital.ledger.attestation,
        hospital.ledger.slot,
        hospital.ledger.confirm,
    )
    with pytest.raises(ConsentError) as error:
        Relay(hospital.vault, ledger, shuffle=random.Random(1)).push_grants()
    assert error.value.code == "TW3050"
    assert hospital.relay.push_grants().done == len(hospital.records)
