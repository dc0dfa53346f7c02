"""Who may join: never by the coordinator's word alone."""

import os

import pytest

from ledger.account import address_of, new_key
from ledger.calls import ContractRefused
from ledger.chain import LedgerMember, Role
from tests.simulators.ledger.network import LedgerNetwork, RunningNode


@pytest.fixture
def fresh(tmp_path):
    running = RunningNode(tmp_path)
    networks = []

    def make(hospitals):
        networks.append(
            LedgerNetwork(running.url, genesis=running.genesis.hash(), hospitals=hospitals)
        )
        return networks[-1]

    yield make
    for network in networks:
        network.close()
    running.stop()


def candidate(**changes):
    values = {
        "id": os.urandom(32),
        "account": address_of(new_key()),
        "keys": os.urandom(32),
        "role": Role.HOSPITAL,
        **changes,
    }
    return LedgerMember(**values)


def test_the_founders_are_members(network):
    assert network.coordinator.members() == network.members
    assert network.coordinator.hospital_count() == 4
    for member in network.members:
        assert network.coordinator.member(member.id) == member
        assert network.coordinator.member_of(member.account) == member


def test_a_stranger_is_no_member(network):
    assert network.coordinator.member(os.urandom(32)) is None
    assert network.coordinator.member_of(address_of(new_key())) is None


@pytest.mark.parametrize(("hospitals", "needed"), [(2, 2), (3, 2), (4, 3), (6, 5)])
def test_all_hospitals_but_one_and_at_least_two_let_a_candidate_in(fresh, hospitals, needed):
    network, joining = fresh(hospitals), candidate()
    for voter in network.hospitals[: needed - 1]:
        voter.endorse(joining)
    assert network.coordinator.member(joining.id) is None
    network.hospitals[needed - 1].endorse(joining)
    assert network.coordinator.member(joining.id) == joining
    assert network.coordinator.hospital_count() == hospitals + 1


def test_a_hospital_alone_cannot_let_anybody_in(fresh):
    network, joining = fresh(1), candidate()
    network.hospitals[0].endorse(joining)
    network.hospitals[0].endorse(joining)
    assert network.coordinator.member(joining.id) is None


def test_the_coordinator_has_no_vote(network):
    with pytest.raises(ContractRefused) as refusal:
        network.coordinator.endorse(candidate())
    assert refusal.value.name == "NotAHospital"


def test_a_hospital_has_one_vote(network):
    joining = candidate()
    network.hospitals[0].endorse(joining)
    with pytest.raises(ContractRefused) as refusal:
        network.hospitals[0].write("Membership", "endorse", joining.as_tuple())
    assert refusal.value.name == "AlreadyVoted"


def test_votes_for_other_keys_do_not_add_up(network):
    joining = candidate()
    for n, voter in enumerate(network.hospitals):
        voter.endorse(LedgerMember(joining.id, joining.account, bytes([n + 1]) * 32, joining.role))
    assert network.coordinator.member(joining.id) is None


@pytest.mark.parametrize("taken", ["id", "account"])
def test_nobody_joins_under_a_members_identity_or_account(network, taken):
    joining = candidate(**{taken: getattr(network.members[1], taken)})
    with pytest.raises(ContractRefused) as refusal:
        network.hospitals[0].endorse(joining)
    assert refusal.value.name == "AlreadyMember"


@pytest.mark.parametrize(
    "missing", [{"id": bytes(32)}, {"account": "0x" + "00" * 20}, {"keys": bytes(32)}]
)
def test_an_incomplete_candidate_is_refused(network, missing):
    with pytest.raises(ContractRefused) as refusal:
        network.hospitals[0].endorse(candidate(**missing))
    assert refusal.value.name == "IncompleteMember"


def test_a_vote_after_joining_changes_nothing(fresh):
    network, joining = fresh(3), candidate()
    for voter in network.hospitals:
        voter.endorse(joining)
    assert network.coordinator.hospital_count() == 4
