"""The consent desk: what it takes, and each attack that it refuses."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from consent import signature
from consent.receipts import GRANT_KIND, WITHDRAWAL_KIND, read_receipt
from consent.record import DAY, Domain
from tests.simulators.consent.world import (
    DOMAIN,
    GENESIS,
    HOSPITAL,
    IDENTITY,
    NOW,
    STUDY,
    Hospital,
    Patient,
)
from twinward import canonical
from twinward.errors import ConsentError, UsageError
from twinward.ids import StudyId
from twinward.signing import Identity

pytestmark = pytest.mark.usefixtures("both_stores")


@pytest.fixture
def hospital(tmp_path):
    return Hospital(tmp_path)


@pytest.fixture
def patient(hospital):
    return Patient(hospital)


def refused(expected, call, *args, **kwargs):
    with pytest.raises((ConsentError, UsageError)) as error:
        call(*args, **kwargs)
    assert error.value.code == expected
    return error.value


def payload(receipt, kind=GRANT_KIND):
    return read_receipt(receipt, kind=kind, hospital=IDENTITY.public).payload


def test_a_grant_is_kept_receipted_and_counts_once_it_is_on_the_ledger(hospital, patient):
    grant = patient.grant()
    said = payload(patient.grants(grant))
    assert said["digest"] == grant.digest(DOMAIN).hex()
    assert said["grade"] == "signed-on-device"
    assert not patient.is_used()
    hospital.push()
    assert patient.is_used()


def test_a_forged_grant_is_refused(hospital, patient):
    thief = signature.new_key()
    refused("TW3005", patient.grants, key=thief)
    assert hospital.vault.newest(STUDY.id32, patient.record) is None


def test_a_grant_with_any_field_changed_after_signing_is_refused(patient):
    grant = patient.grant()
    for field in ("purposes", "expiry", "not_before", "submit_by", "nonce"):
        altered = replace(grant, **{field: getattr(grant, field) + 1})
        body = canonical.decode(patient.body(grant)) | {"grant": altered.to_json()}
        refused("TW3005", patient.hospital.desk.grant, canonical.encode(body))


def test_a_replayed_grant_is_refused(hospital, patient):
    body = patient.body(patient.grant())
    hospital.desk.grant(body)
    hospital.push()
    patient.withdraws(nonce=1)
    refused("TW3012", hospital.desk.grant, body)
    hospital.push()
    refused("TW3012", hospital.desk.grant, body)
    assert not patient.is_used()


def test_a_grant_replaced_by_a_narrower_one_cannot_be_replayed(hospital, patient):
    wide = patient.body(patient.grant(names=("general-research",)))
    hospital.desk.grant(wide)
    hospital.push()
    patient.grants(patient.grant(nonce=1))
    hospital.push()
    refused("TW3012", hospital.desk.grant, wide)


def test_a_grant_with_a_nonce_from_the_future_is_refused(hospital, patient):
    error = refused("TW3012", patient.grants, patient.grant(nonce=5))
    assert "the next one is 0" in error.diagnostic.note


def test_an_expired_grant_is_refused(hospital, patient):
    refused("TW3013", patient.grants, patient.grant(days=0))
    soon = patient.body(patient.grant(days=1))
    hospital.clock.at += DAY
    refused("TW3013", hospital.desk.grant, soon)


def test_expiry_is_compared_with_the_later_of_both_clocks(hospital, patient):
    hospital.ledger.time = NOW + 2 * DAY
    refused("TW3013", patient.grants, patient.grant(days=1))


def test_a_grant_handed_in_too_late_or_open_too_long_is_refused(hospital, patient):
    refused("TW3013", patient.grants, patient.grant(submit_by=int(NOW) - 1))
    refused("TW3009", patient.grants, patient.grant(submit_by=int(NOW) + 31 * DAY))
    refused("TW3009", patient.grants, patient.grant(expiry=int(NOW) + 400 * DAY + 1))


def test_a_wrong_study_grant_is_refused(hospital, patient):
    other = replace(STUDY, name=StudyId("sleep-study"))
    refused("TW3011", patient.grants, patient.grant(study=other.id32))
    hospital_of_both = hospital.desk._desk.studies
    hospital_of_both[other.id32] = other
    # The study exists here, but the letter is for the first one.
    refused("TW3010", patient.grants, patient.grant(study=other.id32))


def test_a_grant_for_a_study_that_has_closed_is_refused(hospital, patient):
    hospital.clock.at = float(STUDY.closes)
    refused("TW3011", patient.grants)


def test_a_wrong_chain_grant_is_refused(patient):
    refused("TW3004", patient.grants, patient.grant(network=b"\x77" * 32))
    for elsewhere in (
        Domain(1, DOMAIN.contract, GENESIS),
        Domain(DOMAIN.chain_id, b"\x22" * 20, GENESIS),
        Domain(DOMAIN.chain_id, DOMAIN.contract, b"\x77" * 32),
    ):
        refused("TW3005", patient.grants, domain=elsewhere)


@pytest.mark.parametrize(
    "change",
    [
        {"scope": b"\x01" * 32},
        {"terms_shown": b"\x01" * 32},
        {"purpose_table": b"\x01" * 32},
        {"purposes": 0},
        {"purposes": 1 << 40},
        {"purposes": 1 << 64},
        {"purposes": 1 << 2 | 1 << 127},
        {"scope": STUDY.scope("hungary")},
    ],
)
def test_a_grant_of_something_else_than_was_offered_is_refused(patient, change):
    refused("TW3014", patient.grants, patient.grant(**change))


def test_a_guessed_letter_code_is_refused(patient):
    refused("TW3010", patient.grants, code="00" * 16)


def test_a_letter_is_no_use_after_its_last_day_but_still_withdraws(hospital):
    patient = Patient(hospital, letter=hospital.letter(valid_seconds=DAY))
    patient.grants()
    late = Patient(hospital, 1, letter=hospital.letter(1, valid_seconds=DAY))
    hospital.clock.at += 2 * DAY
    refused("TW3010", late.grants)
    patient.withdraws_by_code()


def test_a_second_key_with_a_used_letter_is_refused(hospital, patient):
    patient.grants()
    thief = Patient(hospital, letter=patient.letter)
    refused("TW3015", thief.grants)
    patient.withdraws()
    refused("TW3015", thief.grants)


def test_a_key_never_speaks_for_two_patients(hospital, patient):
    patient.grants()
    other = Patient(hospital, 1)
    other.key, other.subject = patient.key, patient.subject
    refused("TW3012", other.grants)
    refused("TW3015", other.grants, other.grant(days=30))


def test_a_new_letter_takes_over_only_after_a_withdrawal(hospital, patient):
    patient.grants()
    hospital.push()
    renewed = Patient(hospital)
    refused("TW3015", renewed.grants)
    hospital.desk.withdraw_record(STUDY.id32, patient.record)
    renewed.grants()
    hospital.push()
    assert renewed.is_used()
    refused("TW3015", patient.grants, patient.grant(nonce=2))


def test_a_second_grant_waits_until_the_first_is_on_the_ledger(hospital, patient):
    patient.grants()
    refused("TW3016", patient.grants, patient.grant(days=30, nonce=1))
    hospital.push()
    patient.grants(patient.grant(days=30, nonce=1))


def test_the_same_grant_again_gives_the_same_receipt(hospital, patient):
    body = patient.body(patient.grant())
    first = hospital.desk.grant(body)
    hospital.clock.at += 60
    assert hospital.desk.grant(body) == first
    hospital.push()
    assert hospital.desk.grant(body) == first
    assert [len(batch) for batch in hospital.ledger.grants_seen] == [1]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"code":"00","grant":{},"signature":1}',
        b'{"a": 1}',
        b"\xff" * 10,
        b"[" * 5000,
        b'{"code":' + b'"' + b"0" * 9000 + b'"}',
    ],
)
def test_a_malformed_request_is_refused_clearly(hospital, body):
    for call in (
        hospital.desk.terms,
        hospital.desk.grant,
        hospital.desk.withdraw,
        hospital.desk.show,
    ):
        with pytest.raises(UsageError) as error:
            call(body)
        assert error.value.code in {"TW3003", "TW3019"}


def test_a_withdrawal_bites_at_its_receipt_without_any_block(hospital, patient):
    patient.grants()
    hospital.push()
    hospital.next_step = 12
    hospital.ledger.reachable = False
    said = payload(patient.withdraws(), WITHDRAWAL_KIND)
    assert not patient.is_used()
    assert said["excluded_from_step"] == 12
    assert said["received_at"] == NOW
    assert said["on_chain_by"] == NOW + DAY
    assert said["subject"] == patient.subject.hex()


def test_a_withdrawal_is_on_disk_before_its_receipt_is_made(hospital, patient):
    patient.grants()
    hospital.push()
    seen = []

    def next_step(_study):
        seen.append(patient.is_used())

    hospital.desk._desk = replace(hospital.desk._desk, next_step=next_step)
    patient.withdraws()
    assert seen == [False]


def test_a_forged_withdrawal_is_refused(hospital, patient):
    patient.grants()
    hospital.push()
    refused("TW3005", patient.withdraws, key=signature.new_key())
    refused("TW3005", patient.withdraws, domain=Domain(1, DOMAIN.contract, GENESIS))
    refused("TW3004", patient.withdraws, network=b"\x77" * 32)
    assert patient.is_used()


def test_an_old_withdrawal_replayed_does_not_end_a_newer_grant(hospital, patient):
    patient.grants()
    hospital.push()
    receipt = patient.withdraws(nonce=1)
    hospital.push()
    patient.grants(patient.grant(nonce=2))
    hospital.push()
    assert patient.withdraws(nonce=1) == receipt
    hospital.clock.at += 1
    refused("TW3018", patient.withdraws, nonce=1)
    assert patient.is_used()


def test_anyone_may_bring_a_signed_withdrawal_and_repeating_it_gives_the_same_receipt(
    hospital, patient
):
    patient.grants()
    first = patient.withdraws()
    hospital.next_step = 29
    assert patient.withdraws() == first


def test_a_withdrawal_for_an_unknown_key_is_refused(hospital, patient):
    refused("TW3017", patient.withdraws)


@pytest.mark.parametrize("how", ["code", "desk"])
def test_a_patient_withdraws_without_a_key(hospital, patient, how):
    patient.grants()
    hospital.push()
    if how == "code":
        receipt = patient.withdraws_by_code()
    else:
        receipt = hospital.desk.withdraw_record(STUDY.id32, patient.record)
    said = payload(receipt, WITHDRAWAL_KIND)
    assert said["nonce"] is None
    assert patient.record not in str(said)
    assert not patient.is_used()
    hospital.push()
    slot = hospital.ledger.slot(STUDY.id32, patient.subject)
    assert (slot.purposes, slot.flags) == (0, 2)
    assert patient.withdraws_by_code() == receipt


def test_who_never_granted_can_withdraw_all_the_same(hospital, patient):
    said = payload(patient.withdraws_by_code(), WITHDRAWAL_KIND)
    assert said["subject"] is None
    assert hospital.relay.push_withdrawals().done == 0


def test_a_withdrawal_ends_a_grant_that_was_still_waiting(hospital, patient):
    patient.grants()
    patient.withdraws()
    hospital.push()
    hospital.push()
    slot = hospital.ledger.slot(STUDY.id32, patient.subject)
    assert (slot.purposes, slot.nonce) == (0, 2)
    assert hospital.ledger.grants_seen == []


def test_a_receipt_by_someone_else_is_not_accepted(hospital, patient):
    receipt = patient.grants()
    refused("TW3030", read_receipt, receipt, kind=GRANT_KIND, hospital=Identity.generate().public)
    refused("TW3030", read_receipt, receipt, kind=WITHDRAWAL_KIND, hospital=IDENTITY.public)


def test_show_names_the_rule_that_applies(hospital, patient):
    body = canonical.encode({"code": patient.letter.code.hex(), "study": STUDY.id32.hex()})

    def shown():
        return canonical.decode(hospital.desk.show(body))

    assert shown() == {
        "rule": "no-record", "permit": False, "grant": None, "withdrawal": None, "mandates": [],
        "receipts": {"completion": None, "grant": None, "withdrawal": None},
    }  # fmt: skip
    patient.grants()
    assert shown()["rule"] == "not-on-ledger"
    hospital.push()
    assert (shown()["rule"], shown()["permit"]) == ("granted", True)
    assert shown()["grant"]["next_nonce"] == 1
    patient.withdraws()
    assert shown()["rule"] == "withdrawn-here"
    assert shown()["withdrawal"]["ledger"] == "waiting"
    hospital.push()
    assert shown()["withdrawal"]["ledger"] == "on-ledger"
    assert shown()["grant"]["next_nonce"] == 2


def test_the_answer_to_show_holds_no_record_number(hospital, patient):
    patient.grants()
    body = canonical.encode({"code": patient.letter.code.hex(), "study": STUDY.id32.hex()})
    assert patient.record.encode() not in hospital.desk.show(body)


def test_the_terms_are_those_that_are_signed_for(hospital):
    said = canonical.decode(hospital.desk.terms(canonical.encode({"study": STUDY.id32.hex()})))
    assert said["study"] == STUDY.to_json()
    assert said["hospital"] == HOSPITAL
    assert bytes.fromhex(said["digest"]) == Patient(hospital).grant().terms_shown


def test_of_many_keys_racing_for_one_letter_exactly_one_wins(hospital):
    letter = hospital.letter()
    racers = [Patient(hospital, letter=letter) for _ in range(8)]

    def race(racer):
        try:
            racer.grants()
        except ConsentError as error:
            return error.code
        return "won"

    with ThreadPoolExecutor(8) as pool:
        results = sorted(pool.map(race, racers))
    assert results == ["TW3015"] * 7 + ["won"]


def foreseen(hospital, patient, *names, grade="signed-on-device", days=365, without=()):
    draft = patient.grant(names=names or ("heart-research",), days=days)
    body = {
        "code": patient.letter.code.hex(),
        "study": STUDY.id32.hex(),
        "draft": {
            "purposes": draft.to_json()["purposes"],
            "without": list(without),
            "not_before": draft.not_before,
            "expiry": draft.expiry,
            "grade": grade,
        },
    }
    return canonical.decode(hospital.desk.show(canonical.encode(body)))["foreseen"]


def test_a_draft_is_told_what_it_would_do_and_is_not_kept(hospital, patient):
    assert foreseen(hospital, patient) == "granted"
    assert foreseen(hospital, patient, "health-research") == "granted"
    assert foreseen(hospital, patient, "diabetes-research") == "purpose-not-permitted"
    limited = foreseen(hospital, patient, "heart-research", "ethics-approved")
    assert limited == "restriction"
    assert foreseen(hospital, patient, grade="made-up") == "grade-not-accepted"
    assert foreseen(hospital, patient, days=0) == "expired"
    assert foreseen(hospital, patient, without=["blood pressure"]) == "granted-in-part"
    refused("TW3042", foreseen, hospital, patient, without=["age and sex"])
    assert hospital.vault.newest(STUDY.id32, patient.record) is None


def test_the_terms_are_found_by_the_code_of_a_letter(hospital, patient):
    found = canonical.decode(
        hospital.desk.terms(canonical.encode({"code": patient.letter.code.hex()}))
    )
    assert found["study"] == STUDY.to_json()
    refused("TW3010", hospital.desk.terms, canonical.encode({"code": "00" * 16}))


def test_a_yes_that_the_hospital_signed_says_so(hospital, patient):
    said = payload(patient.grants(grade="signed-at-hospital"), GRANT_KIND)
    assert said["grade"] == "signed-at-hospital"
    hospital.push()
    row = hospital.records.index(patient.record)
    assert not hospital.cohort().mask()[row]
    assert hospital.cohort(grades=["signed-at-hospital"]).mask()[row]


def test_no_device_gets_a_better_grade_by_naming_one(hospital, patient):
    for grade in ("staff-attested", "permitted-by-law", "signed-on-device", 1):
        refused("TW3019", patient.grants, grade=grade)
