"""What the contract `Consent` accepts and refuses, each rule on a real chain."""

import os

import pytest

from ledger.account import new_key
from ledger.calls import ContractRefused
from ledger.consents import ATTESTED, HEAD_SLOT, SIGNED
from tests.simulators.ledger.network import DAY, EXPIRY, START, Patient

LAST = 2**32 - 1
# Order of the curve secp256k1: s and ORDER - s sign the same message.
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def reason(net, patient, *, sign_as=None, domain=None, **changes):
    values = patient.grant(**changes)
    signature = (sign_as or patient).sign(values, **(domain or {}))
    ((_, why),) = net.hospitals[0].relay_grants([(values, signature)])
    return why


def test_a_signed_grant_takes_effect_with_all_that_was_signed(network, patient):
    values, signature = patient.signed_grant()
    assert network.hospitals[1].relay_grants([(values, signature)]) == [
        (patient.digest(values), None)
    ]
    slot = network.coordinator.consent(patient.study, patient.subject)
    assert (slot.purposes, slot.expiry, slot.nonce) == (5, EXPIRY, 1)
    assert slot.flags == SIGNED
    assert network.coordinator.members()[slot.relay - 1] == network.members[2]


def test_a_forged_grant_is_refused(network, patient):
    assert reason(network, patient, sign_as=Patient(network)) == "BadSignature"


def test_a_grant_whose_purposes_were_widened_after_signing_is_refused(network, patient):
    signature = patient.sign(patient.grant(purposes=1))
    ((_, why),) = network.hospitals[0].relay_grants([(patient.grant(purposes=3), signature)])
    assert why == "BadSignature"


def test_a_replayed_grant_has_no_second_effect(network, patient):
    item = patient.signed_grant()
    network.hospitals[0].relay_grants([item])
    network.hospitals[0].relay_withdrawal(*patient.signed_withdrawal())
    ((_, why),) = network.hospitals[0].relay_grants([item])
    # It counts as applied, since it once was, and yet nothing is granted.
    assert why is None
    assert network.coordinator.consent(patient.study, patient.subject).purposes == 0


def test_a_grant_that_was_never_applied_and_whose_nonce_is_spent_is_refused(network, patient):
    network.hospitals[0].relay_grants([patient.signed_grant()])
    assert reason(network, patient, purposes=9) == "WrongNonce"


def test_a_grant_with_a_nonce_to_come_is_refused(network, patient):
    assert reason(network, patient, nonce=1) == "WrongNonce"


def test_a_grant_for_another_network_is_refused(network, patient):
    assert reason(network, patient, network=os.urandom(32)) == "WrongNetwork"


@pytest.mark.parametrize(
    "domain",
    [
        {"salt": b"\x07" * 32},
        {"chainId": 1},
        {"verifyingContract": "0x" + "11" * 20},
        {"version": "2"},
    ],
    ids=["genesis", "chain", "contract", "version"],
)
def test_a_grant_signed_for_another_chain_is_refused(network, patient, domain):
    assert reason(network, patient, domain=domain) == "BadSignature"


def test_a_grant_for_another_study_grants_nothing_in_this_one(network, patient):
    network.hospitals[0].relay_grants([patient.signed_grant(study=b"\x99" * 32)])
    assert network.coordinator.consent(patient.study, patient.subject).nonce == 0


def test_a_grant_handed_in_too_late_is_refused(network, patient):
    assert reason(network, patient, submitBy=START) == "TooLate"


def test_an_expired_grant_is_refused(network, patient):
    assert reason(network, patient, expiry=START // DAY * DAY) == "Expired"


def test_an_expiry_that_is_no_midnight_is_refused(network, patient):
    assert reason(network, patient, expiry=EXPIRY + 1) == "ExpiryNotMidnight"


def test_a_grant_of_nothing_is_refused(network, patient):
    assert reason(network, patient, purposes=0) == "NoPurpose"


def test_a_grant_by_nobody_is_refused(network, patient):
    assert reason(network, patient, subject=bytes(20)) == "NoSubject"


def _high_s(signature):
    r, s, v = signature[:32], int.from_bytes(signature[32:64], "big"), signature[64]
    return r + (ORDER - s).to_bytes(32, "big") + bytes([55 - v])


@pytest.mark.parametrize(
    "damage",
    [
        _high_s,
        lambda s: s[:64] + b"\x02",
        lambda s: s[:64],
        lambda s: s + b"\0",
        lambda _: bytes(65),
        lambda _: b"",
    ],
    ids=["high s", "bad v", "short", "long", "zero", "empty"],
)
def test_a_malformed_signature_is_refused(network, patient, damage):
    values, signature = patient.signed_grant()
    ((_, why),) = network.hospitals[0].relay_grants([(values, damage(signature))])
    assert why == "BadSignature"


@pytest.mark.parametrize("sender", ["coordinator", "stranger"])
def test_only_a_hospital_relays_grants(network, patient, sender):
    chain = network.coordinator if sender == "coordinator" else network.connect(new_key())
    with pytest.raises(ContractRefused) as refusal:
        chain.relay_grants([patient.signed_grant()])
    assert refusal.value.name == "NotAHospital"


def test_one_bad_grant_stops_no_other(network):
    patients = [Patient(network) for _ in range(7)]
    items = [patient.signed_grant() for patient in patients]
    items[2] = (items[2][0], items[3][1])
    items[5] = patients[5].signed_grant(purposes=0)
    results = network.hospitals[0].relay_grants(items)
    assert [why for _, why in results] == [
        *(None, None, "BadSignature", None),
        *(None, "NoPurpose", None),
    ]
    assert [d for d, _ in results] == [
        patient.digest(values) for patient, (values, _) in zip(patients, items, strict=True)
    ]


def test_the_same_grant_twice_in_one_batch_counts_once(network, patient):
    item = patient.signed_grant()
    before = network.coordinator.read("Consent", "sequence")
    assert [why for _, why in network.hospitals[0].relay_grants([item, item])] == [None, None]
    assert network.coordinator.read("Consent", "sequence") == before + 1


def test_a_withdrawal_may_be_brought_by_anybody(network, patient):
    network.hospitals[0].relay_grants([patient.signed_grant()])
    stranger = network.connect(new_key())
    stranger.relay_withdrawal(*patient.signed_withdrawal())
    slot = stranger.consent(patient.study, patient.subject)
    assert (slot.purposes, slot.expiry, slot.nonce, slot.flags) == (0, 0, 2, SIGNED)


def test_a_withdrawal_ends_a_grant_that_a_hospital_holds_back(network, patient):
    held_back = patient.signed_grant()
    network.coordinator.relay_withdrawal(*patient.signed_withdrawal(nonce=0))
    ((_, why),) = network.hospitals[0].relay_grants([held_back])
    assert why == "WrongNonce"


def test_a_withdrawal_is_not_blocked_by_a_gap(network, patient):
    network.hospitals[0].relay_grants([patient.signed_grant()])
    network.coordinator.relay_withdrawal(*patient.signed_withdrawal(nonce=40))
    assert network.coordinator.consent(patient.study, patient.subject).nonce == 41


def test_after_the_highest_nonce_nothing_can_be_granted_and_nothing_needs_withdrawing(
    network, patient
):
    network.coordinator.relay_withdrawal(*patient.signed_withdrawal(nonce=LAST - 2))
    network.hospitals[0].relay_grants([patient.signed_grant(nonce=LAST - 1)])
    assert network.coordinator.consent(patient.study, patient.subject).purposes
    network.coordinator.relay_withdrawal(*patient.signed_withdrawal(nonce=LAST))
    assert reason(network, patient, nonce=LAST) == "WrongNonce"
    with pytest.raises(ContractRefused) as refusal:
        network.coordinator.write("Consent", "withdraw", *patient.signed_withdrawal(nonce=LAST))
    assert refusal.value.name == "NonceSpent"


def test_a_forged_withdrawal_is_refused(network, patient):
    network.hospitals[0].relay_grants([patient.signed_grant()])
    values = patient.withdrawal()
    with pytest.raises(ContractRefused) as refusal:
        network.coordinator.relay_withdrawal(values, Patient(network).sign(values))
    assert refusal.value.name == "BadSignature"


def test_a_withdrawal_signed_for_another_network_is_refused(network, patient):
    network.hospitals[0].relay_grants([patient.signed_grant()])
    values = patient.withdrawal(network=b"\x01" * 32)
    with pytest.raises(ContractRefused) as refusal:
        network.coordinator.relay_withdrawal(values, patient.sign(values))
    assert refusal.value.name == "WrongNetwork"


def test_an_old_withdrawal_cannot_end_a_later_grant(network, patient):
    network.hospitals[0].relay_grants([patient.signed_grant()])
    old = patient.signed_withdrawal()
    network.coordinator.relay_withdrawal(*old)
    network.hospitals[0].relay_grants([patient.signed_grant(nonce=2)])
    with pytest.raises(ContractRefused) as refusal:
        network.coordinator.relay_withdrawal(*old)
    assert refusal.value.name == "NonceSpent"
    assert network.coordinator.consent(patient.study, patient.subject).purposes == 5


def test_staff_attest_a_withdrawal_and_it_is_marked_as_theirs(network, patient):
    network.hospitals[2].relay_grants([patient.signed_grant()])
    network.hospitals[2].attest_withdrawal(patient.study, patient.subject)
    slot = network.coordinator.consent(patient.study, patient.subject)
    assert (slot.purposes, slot.nonce, slot.flags) == (0, 2, ATTESTED)


def test_staff_of_another_hospital_cannot_attest(network, patient):
    network.hospitals[0].relay_grants([patient.signed_grant()])
    for chain, name in (
        (network.hospitals[1], "NotTheRelay"),
        (network.coordinator, "NotAHospital"),
    ):
        with pytest.raises(ContractRefused) as refusal:
            chain.attest_withdrawal(patient.study, patient.subject)
        assert refusal.value.name == name


def test_there_is_nothing_to_attest_before_a_grant(network, patient):
    with pytest.raises(ContractRefused) as refusal:
        network.hospitals[0].attest_withdrawal(patient.study, patient.subject)
    assert refusal.value.name == "NothingGranted"


def test_the_head_lies_in_the_storage_slot_that_proofs_read(node, network, patient):
    network.hospitals[0].relay_grants([patient.signed_grant()])
    with node.node.reading() as engine:
        stored = engine.state(engine.head).get_storage(network.consent, HEAD_SLOT)
    assert stored.to_bytes(32, "big") == network.coordinator.consent_head()
    assert stored
