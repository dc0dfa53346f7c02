"""Whatever order grants and withdrawals come in, the contract's head is the fold of its changes."""

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.calls import ContractRefused
from ledger.consents import CHANGED, Slot, fold
from tests.simulators.ledger.network import Patient

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["grant", "withdraw", "attest"]),
        st.integers(0, 2),  # patient
        st.integers(0, 2),  # hospital
        st.integers(-1, 2),  # nonce, from the current one
    ),
    min_size=1,
    max_size=8,
)


def model_after(state, action, *, patient, hospital, nonce, current):
    """What the rules say, in a few lines of Python: (purposes, nonce, relay) or None."""
    purposes, relay = state
    if action == "grant":
        return (5, nonce + 1, hospital + 2) if nonce == current else None
    if action == "withdraw":
        return (0, nonce + 1, relay) if nonce >= current else None
    return (0, current + 1, relay) if purposes and relay == hospital + 2 else None


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(actions=ACTIONS)
def test_the_head_is_the_fold_of_all_changes_and_slots_follow_the_rules(network, actions):
    patients = [Patient(network, study=os.urandom(32)) for _ in range(3)]
    expected = dict.fromkeys(range(3), (0, 0, 0))
    for action, who, where, offset in actions:
        patient, chain = patients[who], network.hospitals[where]
        purposes, current, relay = expected[who]
        nonce = max(0, current + offset)
        after = model_after(
            (purposes, relay), action, patient=who, hospital=where, nonce=nonce, current=current
        )
        try:
            if action == "grant":
                chain.write(
                    "Consent", "grantBatch", *map(list, zip(patient.signed_grant(nonce=nonce)))
                )
            elif action == "withdraw":
                chain.write("Consent", "withdraw", *patient.signed_withdrawal(nonce=nonce))
            else:
                chain.write("Consent", "attestWithdrawal", patient.study, patient.subject)
            refused = False
        except ContractRefused:
            refused = True
        assert refused == (after is None and action != "grant")
        expected[who] = after or expected[who]
        slot = chain.consent(patient.study, patient.subject)
        assert (slot.purposes, slot.nonce, slot.relay) == expected[who]
    head = bytes(32)
    for log in network.coordinator.logs("Consent", (CHANGED,)):
        _, study, subject, digest = log.topics
        packed = log.data[32:]
        head = fold(head, study=study, subject=subject[12:], packed=packed, digest=digest)
        assert Slot.unpack(packed, study=study, subject=subject[12:]).nonce > 0
    assert head == network.coordinator.consent_head()
