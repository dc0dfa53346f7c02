"""The front door's relay before the real contract: what it brings, what it refuses, its bounds."""

import json

import pytest

from consent.record import Domain, Grant, Withdrawal
from ledger.consents import SIGNED
from server.front_door_patience import ALLOWED
from server.front_door_relay import WithdrawalRelay
from tests.simulators.ledger.network import CHAIN_ID, LedgerNetwork, Patient, RunningNode
from twinward import canonical
from twinward.errors import TwinwardError

HERE, ELSEWHERE = "ipv4:192.0.2.1", "ipv4:192.0.2.2"


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    running = RunningNode(tmp_path_factory.mktemp("node"))
    made = LedgerNetwork(running.url, genesis=running.genesis.hash())
    yield made
    made.close()
    running.stop()


@pytest.fixture
def relay(network):
    domain = Domain(CHAIN_ID, network.consent, network.genesis)
    return WithdrawalRelay(domain=lambda: domain, chain=network.coordinator)


@pytest.fixture
def patient(network):
    """Whose permission stands on the ledger."""
    found = Patient(network)
    network.hospitals[0].relay_grants([found.signed_grant()])
    return found


def request(values, signature, *, kind=Withdrawal, name="withdrawal", **more):
    signed = {name: kind(*values).to_json(), "signature": signature.hex()}
    return canonical.encode(signed | more)


def refused(relay, body, code, address=HERE):
    with pytest.raises(TwinwardError) as refusal:
        relay.withdraw(body, address)
    assert refusal.value.code == code, refusal.value


def slot(network, patient):
    return network.coordinator.consent(patient.study, patient.subject)


def test_a_signed_withdrawal_ends_the_permission_and_repeating_it_changes_nothing(
    relay, network, patient
):
    body = request(*patient.signed_withdrawal())
    said = json.loads(relay.withdraw(body, HERE))
    now = slot(network, patient)
    assert (now.purposes, now.nonce, now.flags) == (0, 2, SIGNED)
    assert said == {
        "digest": patient.digest(patient.withdrawal()).hex(),
        "block": network.coordinator.tip().number,
    }
    assert json.loads(relay.withdraw(body, HERE)) == said
    # After a new permission the old withdrawal ends nothing, whoever sends it.
    network.hospitals[0].relay_grants([patient.signed_grant(nonce=2)])
    refused(relay, body, "TW5030")
    assert slot(network, patient).purposes


def test_it_takes_what_the_subject_signed_for_this_network_and_nothing_else(
    relay, network, patient
):
    values, signature = patient.signed_withdrawal()
    stranger = Patient(network)
    refused(relay, request(values, stranger.sign(values)), "TW3005")
    refused(relay, request(patient.withdrawal(nonce=7), signature), "TW3005")
    other_ledger = patient.sign(values, chainId=1)
    refused(relay, request(values, other_ledger), "TW3005")
    refused(relay, request(*patient.signed_withdrawal(network=b"\x77" * 32)), "TW3004")
    refused(relay, request(values, signature[:-1]), "TW3002")
    grant = patient.signed_grant(nonce=1)
    refused(relay, request(*grant, kind=Grant, name="grant"), "TW3019")
    refused(relay, request(values, signature, code="00"), "TW3019")
    refused(relay, b"{" + b" " * 10_000 + b"}", "TW3019")
    refused(relay, b"\xff", "TW3019")
    assert slot(network, patient).purposes


def test_withdrawals_that_end_nothing_are_bounded_and_hold_up_no_patient(relay, network, patient):
    for _ in range(ALLOWED):
        made_up = Patient(network)
        relay.withdraw(request(*made_up.signed_withdrawal(nonce=0)), HERE)
        # It shuts out the grant that a hospital may still hold back.
        assert network.hospitals[0].relay_grants([made_up.signed_grant()])[0][1] == "WrongNonce"
    before = network.coordinator.tip().number
    refused(relay, request(*Patient(network).signed_withdrawal()), "TW6076")
    assert network.coordinator.tip().number == before
    relay.withdraw(request(*Patient(network).signed_withdrawal()), ELSEWHERE)
    relay.withdraw(request(*patient.signed_withdrawal()), HERE)
    assert not slot(network, patient).purposes
