"""Suspending a member: by the other hospitals, never by the coordinator, never against patients."""

import os

import pytest

from ledger.account import address_of, new_key
from ledger.calls import ContractRefused
from ledger.chain import Kind, LedgerMember, Role
from tests.simulators.ledger.network import LedgerNetwork, Patient, RunningNode


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    running = RunningNode(tmp_path_factory.mktemp("node"))
    yield running
    running.stop()


@pytest.fixture
def network(node):
    network = LedgerNetwork(node.url, genesis=node.genesis.hash())
    yield network
    network.close()


def refused(name, call):
    with pytest.raises(ContractRefused) as refusal:
        call()
    assert refusal.value.name == name


def suspend(network, number, voters):
    for voter in voters:
        network.hospitals[voter].suspend(network.members[number].id)


@pytest.mark.parametrize(("hospitals", "needed"), [(3, 2), (4, 2), (5, 3), (6, 4)])
def test_all_others_but_one_and_at_least_two_suspend_a_hospital(node, hospitals, needed):
    network = LedgerNetwork(node.url, genesis=node.genesis.hash(), hospitals=hospitals)
    bad = network.members[1].id
    suspend(network, 1, range(1, needed))
    assert not network.coordinator.is_suspended(bad)
    suspend(network, 1, [needed])
    assert network.coordinator.is_suspended(bad)
    assert network.coordinator.hospital_count() == hospitals - 1
    network.close()


def test_of_two_hospitals_neither_can_suspend_the_other(node):
    network = LedgerNetwork(node.url, genesis=node.genesis.hash(), hospitals=2)
    suspend(network, 1, [1, 1])
    assert not network.coordinator.is_suspended(network.members[1].id)
    network.close()


def test_the_coordinator_has_no_vote_and_nobody_votes_about_itself(network):
    bad = network.members[1].id
    refused("NotAHospital", lambda: network.coordinator.suspend(bad))
    refused("OwnCase", lambda: network.hospitals[0].suspend(bad))
    refused("NotAMember", lambda: network.hospitals[0].suspend(os.urandom(32)))


def test_a_suspended_hospital_does_nothing_for_others(network):
    plan = os.urandom(32)
    network.coordinator.record(plan, Kind.PLAN)
    network.hospitals[0].approve(plan)
    suspend(network, 1, [1, 2])
    bad = network.hospitals[0]
    other = network.members[3].id
    grant = Patient(network).signed_grant()
    refused("NotAHospital", lambda: bad.reserve(os.urandom(32), plan=plan, micro_mu2=1))
    refused("NotAHospital", lambda: bad.write("Provenance", "approve", plan))
    refused("NotAHospital", lambda: bad.relay_grants([grant]))
    refused("NotAHospital", lambda: bad.anchor_grants(root=os.urandom(32), size=1))
    refused("NotAMember", lambda: bad.record(os.urandom(32), Kind.MODEL))
    refused("NotAHospital", lambda: bad.suspend(other))


def test_nothing_stands_between_a_patient_and_a_withdrawal_at_a_suspended_hospital(network):
    by_key, at_desk = Patient(network), Patient(network)
    hospital = network.hospitals[0]
    hospital.relay_grants([by_key.signed_grant(), at_desk.signed_grant()])
    suspend(network, 1, [1, 2])
    hospital.relay_withdrawal(*by_key.signed_withdrawal())
    hospital.attest_withdrawal(at_desk.study, at_desk.subject)
    for patient in (by_key, at_desk):
        assert hospital.consent(patient.study, patient.subject).purposes == 0
    # Its process still starts, its cap can be lowered, and its own evidence is still anchored.
    assert hospital.raise_fence() == 1
    hospital.state_cap(1)
    hospital.anchor(size=1, root=os.urandom(32), proof=[])


def test_reinstatement_is_decided_in_the_same_way_and_old_votes_do_not_count(network):
    bad = network.members[1].id
    suspend(network, 1, [1, 2])
    network.hospitals[1].reinstate(bad)
    assert network.coordinator.is_suspended(bad)
    network.hospitals[3].reinstate(bad)
    assert not network.coordinator.is_suspended(bad)
    assert network.coordinator.hospital_count() == 4
    suspend(network, 1, [2])  # one of the earlier votes is not a vote again
    assert not network.coordinator.is_suspended(bad)


def test_the_vote_of_a_hospital_that_is_suspended_meanwhile_does_not_count(network):
    suspend(network, 1, [1])
    suspend(network, 2, [2, 3])
    suspend(network, 1, [2])
    assert not network.coordinator.is_suspended(network.members[1].id)
    suspend(network, 1, [3])
    assert network.coordinator.is_suspended(network.members[1].id)


def test_who_suspends_others_gains_no_power_to_let_invented_peers_in(network):
    suspend(network, 1, [1, 2])
    invented = LedgerMember(os.urandom(32), address_of(new_key()), os.urandom(32), Role.HOSPITAL)
    for voter in network.hospitals[1:3]:
        voter.endorse(invented)
    assert network.coordinator.member(invented.id) is None
    assert network.coordinator.read("Membership", "endorsementsNeeded") == 3


def test_the_coordinator_can_be_suspended_and_then_records_nothing(network):
    suspend(network, 0, [0, 1, 2])
    refused("NotAMember", lambda: network.coordinator.record(os.urandom(32), Kind.MODEL))
    assert network.coordinator.hospital_count() == 4
