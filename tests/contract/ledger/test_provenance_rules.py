"""Records, approvals, reservations and fences on a real chain."""

import os

import pytest

from ledger.account import new_key
from ledger.calls import ContractRefused
from ledger.chain import Kind, Reservation


def refused(name, call):
    with pytest.raises(ContractRefused) as refusal:
        call()
    assert refusal.value.name == name


@pytest.fixture
def plan(network):
    digest = os.urandom(32)
    network.coordinator.record(digest, Kind.PLAN)
    for hospital in network.hospitals:
        hospital.approve(digest)
    return digest


def test_the_first_record_of_a_digest_stands(network, plan):
    network.hospitals[0].record(plan, Kind.PLAN)
    refused("AlreadyRecorded", lambda: network.hospitals[0].record(plan, Kind.MODEL))
    value = network.coordinator.read("Provenance", "recordOf", plan)
    assert value[0] == Kind.PLAN
    assert value[1].lower() == network.coordinator.account


def test_a_record_needs_parents_that_are_there(network, plan):
    model, ghost = os.urandom(32), os.urandom(32)
    refused("NotRecorded", lambda: network.coordinator.record(model, Kind.MODEL, [plan, ghost]))
    network.coordinator.record(model, Kind.MODEL, [plan])
    assert network.coordinator.recorded(model) is Kind.MODEL
    assert network.coordinator.recorded(ghost) is None


def test_a_record_without_content_is_refused(network):
    refused("IncompleteRecord", lambda: network.coordinator.record(bytes(32), Kind.MODEL))
    refused("IncompleteRecord", lambda: network.coordinator.record(os.urandom(32), 0))


def test_a_stranger_records_nothing(network):
    stranger = network.connect(new_key())
    refused("NotAMember", lambda: stranger.record(os.urandom(32), Kind.MODEL))
    refused("NotAMember", stranger.raise_fence)


def test_hospitals_approve_once_each_and_the_coordinator_never(network):
    plan = os.urandom(32)
    network.coordinator.record(plan, Kind.PLAN)
    for hospital in network.hospitals[:3]:
        hospital.approve(plan)
        hospital.approve(plan)
    refused("NotAHospital", lambda: network.coordinator.approve(plan))
    assert network.coordinator.approvals(plan) == 3
    accounts = [hospital.account for hospital in network.hospitals]
    assert [network.coordinator.has_approved(plan, a) for a in accounts] == [True] * 3 + [False]


def test_what_is_not_recorded_cannot_be_approved(network):
    refused("NotRecorded", lambda: network.hospitals[0].approve(os.urandom(32)))


def test_reservations_add_up_and_nothing_lowers_them(network, plan):
    hospital = network.hospitals[0]
    before = hospital.spent_by(hospital.account)
    first, second = os.urandom(32), os.urandom(32)
    hospital.reserve(first, plan=plan, micro_mu2=71_825)
    hospital.reserve(second, plan=plan, micro_mu2=1)
    assert hospital.spent_by(hospital.account) == before + 71_826
    assert hospital.reservation(hospital.account, first) == Reservation(plan, 71_825)
    assert hospital.reservation(hospital.account, os.urandom(32)) is None


def test_a_run_is_reserved_once(network, plan):
    hospital, run = network.hospitals[1], os.urandom(32)
    hospital.reserve(run, plan=plan, micro_mu2=10)
    spent = hospital.spent_by(hospital.account)
    hospital.reserve(run, plan=plan, micro_mu2=10)
    assert hospital.spent_by(hospital.account) == spent
    refused("AlreadyReserved", lambda: hospital.reserve(run, plan=plan, micro_mu2=9))


def test_another_hospitals_reservation_is_not_mine(network, plan):
    run = os.urandom(32)
    network.hospitals[1].reserve(run, plan=plan, micro_mu2=10)
    network.hospitals[2].reserve(run, plan=plan, micro_mu2=20)
    mine = network.coordinator.reservation(network.hospitals[2].account, run)
    assert mine == Reservation(plan, 20)


def test_a_reservation_needs_a_plan_a_run_and_an_amount(network, plan):
    hospital, model = network.hospitals[0], os.urandom(32)
    network.coordinator.record(model, Kind.MODEL)
    for unknown in (os.urandom(32), model):
        refused("NotAPlan", lambda u=unknown: hospital.reserve(os.urandom(32), plan=u, micro_mu2=1))
    refused("IncompleteReservation", lambda: hospital.reserve(bytes(32), plan=plan, micro_mu2=1))
    refused(
        "IncompleteReservation", lambda: hospital.reserve(os.urandom(32), plan=plan, micro_mu2=0)
    )


def test_only_hospitals_reserve(network, plan):
    refused(
        "NotAHospital", lambda: network.coordinator.reserve(os.urandom(32), plan=plan, micro_mu2=1)
    )


def test_a_spend_that_would_overflow_is_refused_whole(network, plan):
    hospital = network.hospitals[3]
    hospital.reserve(os.urandom(32), plan=plan, micro_mu2=5)
    with pytest.raises(ContractRefused):
        hospital.reserve(os.urandom(32), plan=plan, micro_mu2=2**64 - 1)
    assert hospital.spent_by(hospital.account) == 5


def test_each_start_raises_the_fence(network):
    hospital = network.hospitals[0]
    before = hospital.fence(hospital.account)
    assert [hospital.raise_fence(), hospital.raise_fence()] == [before + 1, before + 2]
    assert network.coordinator.fence(hospital.account) == before + 2
