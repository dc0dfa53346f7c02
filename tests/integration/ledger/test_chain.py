"""The client: safe to repeat, honest about what it does not know, and bound to one network."""

import os

import pytest

from ledger.account import address_of, new_key
from ledger.chain import Chain, ContractRefused, Kind
from ledger.rpc import Rpc, RpcError
from tests.simulators.ledger.liar import LyingNode
from tests.simulators.ledger.network import FOUNDING, Patient
from twinward.errors import LedgerError, LedgerUnreachable


@pytest.fixture
def liar(node):
    lying = LyingNode(node.url)
    yield lying
    lying.stop()


def connect(network, url, key=None, *, timeout=10.0):
    return network.connect(key, url=url, timeout=timeout)


class CutOff(Exception):
    """Raised by a twist: the answer is lost on its way."""


def losing(liar, lost, *, times):
    """Let the first answers to a method be lost after the node has done what was asked."""
    left = [times]

    def twist(method, params, result):
        if method == lost and left[0]:
            left[0] -= 1
            raise CutOff
        return result

    liar.twist = twist


def test_a_node_of_another_network_is_refused(network):
    with pytest.raises(LedgerError) as refusal:
        Chain.connect(network.url, genesis=os.urandom(32), contracts=network.contracts)
    assert refusal.value.code == "TW5021"


def test_no_node_is_said_to_be_unreachable(network):
    with pytest.raises(LedgerUnreachable) as refusal:
        Chain.connect("http://127.0.0.1:9", genesis=network.genesis, contracts=network.contracts)
    assert refusal.value.code == "TW5001"
    assert refusal.value.exit_status == 5


def test_an_address_that_speaks_no_json_rpc_is_said_to_be_so(network, liar):
    chain = connect(network, liar.url)
    liar.twist = lambda method, params, result: "nonsense"
    with pytest.raises(LedgerError):
        chain.tip()


def test_a_connection_without_a_key_only_reads(network):
    reader = connect(network, network.url)
    assert reader.tip().number >= 3
    with pytest.raises(LedgerError) as refusal:
        reader.raise_fence()
    assert refusal.value.code == "TW5024"


def test_deploying_again_changes_nothing(network):
    before = network.coordinator.tip()
    network.coordinator.deploy(founding_digest=FOUNDING, members=network.members)
    assert network.coordinator.tip() == before


def test_only_the_coordinators_account_deploys(network):
    with pytest.raises(LedgerError) as refusal:
        network.hospitals[0].deploy(founding_digest=FOUNDING, members=network.members)
    assert refusal.value.code == "TW5022"


@pytest.mark.parametrize(
    "lost", ["eth_sendRawTransaction", "eth_getTransactionReceipt", "eth_getTransactionCount"]
)
def test_an_answer_that_is_lost_changes_nothing(network, liar, lost):
    chain = connect(network, liar.url, network.keys[1])
    fence = chain.fence(chain.account)
    losing(liar, lost, times=1)
    if lost == "eth_sendRawTransaction":
        assert chain.raise_fence() == fence + 1
    else:
        with pytest.raises(LedgerUnreachable):
            chain.raise_fence()


def test_a_reservation_whose_answer_was_lost_can_be_repeated(network, liar):
    plan, run = os.urandom(32), os.urandom(32)
    network.coordinator.record(plan, Kind.PLAN)
    network.hospitals[0].approve(plan)
    chain = connect(network, liar.url, network.keys[1])
    spent = chain.spent_by(chain.account)
    losing(liar, "eth_getTransactionReceipt", times=1)
    with pytest.raises(LedgerUnreachable):
        chain.reserve(run, plan=plan, micro_mu2=7)
    chain.reserve(run, plan=plan, micro_mu2=7)
    assert chain.spent_by(chain.account) == spent + 7


def test_grants_whose_answer_was_lost_can_be_relayed_again(network, liar):
    chain = connect(network, liar.url, network.keys[1])
    patients = [Patient(network, study=os.urandom(32)) for _ in range(3)]
    items = [patient.signed_grant() for patient in patients]
    losing(liar, "eth_getTransactionReceipt", times=1)
    with pytest.raises(LedgerUnreachable):
        chain.relay_grants(items)
    before = chain.consent_head()
    assert [why for _, why in chain.relay_grants(items)] == [None] * 3
    assert chain.consent_head() == before


def test_withdrawals_can_be_repeated(network):
    patient = Patient(network, study=os.urandom(32))
    network.hospitals[0].relay_grants([patient.signed_grant()])
    for _ in range(2):
        network.coordinator.relay_withdrawal(*patient.signed_withdrawal())
    network.hospitals[0].relay_grants([patient.signed_grant(nonce=2)])
    for _ in range(2):
        network.hospitals[0].attest_withdrawal(patient.study, patient.subject)


def test_more_grants_than_one_transaction_holds(network, monkeypatch):
    monkeypatch.setattr("ledger.consents.GRANTS_A_TRANSACTION", 4)
    patients = [Patient(network, study=os.urandom(32)) for _ in range(10)]
    items = [patient.signed_grant() for patient in patients]
    results = network.hospitals[0].relay_grants(items)
    assert [digest for digest, _ in results] == [
        patient.digest(values) for patient, (values, _) in zip(patients, items, strict=True)
    ]
    assert network.hospitals[0].relay_grants([]) == []


def test_a_refusal_is_named_and_costs_no_block(network):
    before = network.coordinator.tip()
    with pytest.raises(ContractRefused) as refusal:
        network.coordinator.approve(os.urandom(32))
    assert refusal.value.code == "TW5030"
    assert refusal.value.name == "NotAHospital"
    assert network.coordinator.account in str(refusal.value)
    assert network.coordinator.tip() == before


def test_two_processes_on_one_account_do_not_lose_a_write(network):
    twins = [connect(network, network.url, network.keys[2]) for _ in range(2)]
    for chain in twins * 3:
        chain.record(os.urandom(32), Kind.DATASET)
    assert twins[0].raise_fence() + 1 == twins[1].raise_fence()


def test_the_account_is_the_keys(network):
    key = new_key()
    assert connect(network, network.url, key).account == address_of(key)


def test_a_raw_call_that_is_refused_carries_the_nodes_code(network):
    rpc = Rpc(network.url)
    with pytest.raises(RpcError) as refusal:
        rpc.call("eth_nonsense")
    assert refusal.value.rpc_code == -32601
    rpc.close()
