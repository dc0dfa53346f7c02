"""Records, approvals, reservations and fences on a real chain."""

import os
from dataclasses import replace

import pytest

from ledger.account import address_of, new_key
from ledger.calls import ContractRefused
from ledger.chain import Addresses, Chain, Kind, Reservation
from ledger.provenance import Cap, Item
from tests.simulators.ledger.network import FOUNDING
from twinward.errors import LedgerError


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


def test_a_plan_is_approved_by_as_many_hospitals_as_it_asks_for(network):
    plan, run = os.urandom(32), os.urandom(32)
    network.coordinator.record(plan, Kind.PLAN, quorum=3)
    assert network.coordinator.quorum(plan) == 3
    first, second, third = network.hospitals[:3]
    for hospital in (first, second):
        hospital.approve(plan)
        assert not hospital.is_approved(plan)
        refused("NotApproved", lambda: first.reserve(run, plan=plan, micro_mu2=1))
    third.approve(plan)
    assert first.is_approved(plan)
    first.reserve(run, plan=plan, micro_mu2=1)
    # Who has not approved it reserves nothing for it, however many others have.
    refused("NotApproved", lambda: network.hospitals[3].reserve(run, plan=plan, micro_mu2=1))


def test_a_study_and_a_plan_ask_for_approval_and_nothing_else_does(network):
    for kind, quorum in ((Kind.PLAN, 0), (Kind.STUDY, 0), (Kind.MODEL, 1)):
        digest = os.urandom(32)
        refused(
            "WrongQuorum",
            lambda d=digest, k=kind, q=quorum: network.coordinator.record(d, k, quorum=q),
        )
    model = os.urandom(32)
    network.coordinator.record(model, Kind.MODEL)
    assert not network.coordinator.is_approved(model)
    assert not network.coordinator.is_approved(os.urandom(32))


def test_nothing_is_reserved_beyond_the_cap(network, plan):
    hospital = network.hospitals[2]
    before, spent = hospital.cap(hospital.account), hospital.spent_by(hospital.account)
    hospital.state_cap(spent + 100)
    hospital.reserve(os.urandom(32), plan=plan, micro_mu2=60)
    refused("OverCap", lambda: hospital.reserve(os.urandom(32), plan=plan, micro_mu2=41))
    hospital.reserve(os.urandom(32), plan=plan, micro_mu2=40)
    refused("OverCap", lambda: hospital.reserve(os.urandom(32), plan=plan, micro_mu2=1))
    assert hospital.spent_by(hospital.account) == spent + 100
    assert before.micro_mu2 > spent + 100


def test_a_cap_is_lowered_at_once_and_raised_only_after_thirty_days(node, plan, network):
    hospital = network.hospitals[1]
    spent = hospital.spent_by(hospital.account)
    hospital.state_cap(spent + 10)
    hospital.state_cap(spent + 500)
    cap = hospital.cap(hospital.account)
    assert (cap.micro_mu2, cap.coming) == (spent + 10, spent + 500)
    refused("OverCap", lambda: hospital.reserve(os.urandom(32), plan=plan, micro_mu2=11))
    hospital.state_cap(spent + 300)  # the newest statement replaces the one that waits
    node.clock.at = hospital.cap(hospital.account).coming_at - 1_000
    hospital.raise_fence()  # a block before that time
    refused("OverCap", lambda: hospital.reserve(os.urandom(32), plan=plan, micro_mu2=11))
    node.clock.at += 2_000
    hospital.raise_fence()
    hospital.reserve(os.urandom(32), plan=plan, micro_mu2=300)
    assert hospital.cap(hospital.account) == Cap(spent + 300)
    hospital.state_cap(0)
    refused("OverCap", lambda: hospital.reserve(os.urandom(32), plan=plan, micro_mu2=1))


def test_one_bad_record_of_a_batch_stops_no_other(network, plan):
    good, child, orphan = os.urandom(32), os.urandom(32), os.urandom(32)
    problems = network.coordinator.record_batch(
        [
            Item(good, Kind.DATASET, (plan,)),
            Item(plan, Kind.MODEL),
            Item(orphan, Kind.MODEL, (os.urandom(32),)),
            Item(child, Kind.MODEL, (good,)),
        ]
    )
    assert [problem and problem.name for problem in problems] == [
        *(None, "AlreadyRecorded", "NotRecorded", None)
    ]
    assert network.coordinator.recorded(child) is Kind.MODEL
    assert network.coordinator.recorded(orphan) is None


def test_one_bad_reservation_of_a_batch_stops_no_other(network, plan):
    hospital = network.hospitals[0]
    spent, run, model = hospital.spent_by(hospital.account), os.urandom(32), os.urandom(32)
    problems = hospital.reserve_batch(
        [
            (run, Reservation(plan, 3)),
            (run, Reservation(plan, 4)),
            (os.urandom(32), Reservation(model, 5)),
            (os.urandom(32), Reservation(plan, 2**60)),
            (os.urandom(32), Reservation(plan, 6)),
        ]
    )
    assert [problem and problem.name for problem in problems] == [
        *(None, "AlreadyReserved", "NotAPlan", "OverCap", None)
    ]
    assert hospital.spent_by(hospital.account) == spent + 9
    refused(
        "NotAHospital", lambda: network.coordinator.reserve_batch([(run, Reservation(plan, 1))])
    )


def test_a_successor_forgets_no_record_no_spend_no_cap_and_no_fence(network, plan):
    hospital, run = network.hospitals[0], os.urandom(32)
    hospital.reserve(run, plan=plan, micro_mu2=7)
    key = new_key()
    fresh = Addresses.of(address_of(key))
    contracts = replace(fresh, before=network.contracts.provenance)
    deployer = Chain.connect(network.url, genesis=network.genesis, contracts=contracts, key=key)
    deployer.deploy(founding_digest=FOUNDING, members=network.members)
    moved = Chain.connect(
        network.url, genesis=network.genesis, contracts=contracts, key=network.keys[1]
    )
    assert moved.recorded(plan) is Kind.PLAN
    assert moved.reservation(moved.account, run) == Reservation(plan, 7)
    assert moved.spent_by(moved.account) == hospital.spent_by(hospital.account)
    assert moved.cap(moved.account) == hospital.cap(hospital.account)
    assert moved.raise_fence() == hospital.fence(hospital.account) + 1
    # Approvals are given anew, and a run is not reserved twice.
    refused("NotApproved", lambda: moved.reserve(os.urandom(32), plan=plan, micro_mu2=1))
    moved.approve(plan)
    refused("AlreadyReserved", lambda: moved.reserve(run, plan=plan, micro_mu2=8))
    moved.reserve(os.urandom(32), plan=plan, micro_mu2=2)
    assert moved.spent_by(moved.account) == hospital.spent_by(hospital.account) + 2
    # A successor that does not read its predecessor is another contract than the one agreed on.
    moved.contracts = fresh
    with pytest.raises(LedgerError) as foreign:
        moved.check_contracts(founding_digest=FOUNDING)
    assert foreign.value.code == "TW5023"
    for chain in (deployer, moved):
        chain.close()
