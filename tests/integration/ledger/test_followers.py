"""A hospital's node follows the operator's, executes every block again, and notices all else."""

import time
from contextlib import closing

import pytest
import rlp

from ledger.embedded.check import check
from ledger.embedded.engine import Engine
from ledger.embedded.methods import Methods
from ledger.embedded.node import Node, Refused
from ledger.embedded.store import Store
from ledger.rpc import Rpc
from ledger.witness import require_sound
from tests.simulators.ledger.followers import Follower
from tests.simulators.ledger.liar import LyingNode
from tests.simulators.ledger.network import LedgerNetwork, Patient, RunningNode
from twinward.errors import LedgerError, LedgerUnreachable


@pytest.fixture
def operator(tmp_path):
    (tmp_path / "operator").mkdir()
    running = RunningNode(tmp_path / "operator")
    yield running
    running.stop()


@pytest.fixture
def network(operator):
    network = LedgerNetwork(operator.url, genesis=operator.genesis.hash(), hospitals=3)
    yield network
    network.close()


@pytest.fixture
def follower(tmp_path, operator):
    follower = Follower(tmp_path / "follower", operator.url, genesis=operator.genesis)
    yield follower
    follower.stop()


def heads(*nodes):
    return {node.engine.head.hash for node in nodes}


def test_a_follower_computes_the_same_chain_and_shows_the_same_state(network, operator, follower):
    network.hospitals[0].relay_grants([Patient(network).signed_grant()])
    follower.following.catch_up()
    assert len(heads(operator, follower)) == 1
    asked = ("eth_getProof", network.contracts.consent, ["0x1"], "latest")
    with closing(Rpc(operator.url)) as upstream:
        assert follower.rpc.call(*asked) == upstream.call(*asked)
    assert network.connect(url=follower.url).consent_head() != bytes(32)
    assert check(follower.folder / "chain.sqlite").faults == ()


def test_a_follower_makes_no_blocks_of_its_own(network, follower):
    follower.following.catch_up()
    before = follower.engine.head.hash
    with pytest.raises(Refused, match="follows another"):
        follower.node.submit(b"\x02")
    assert follower.engine.head.hash == before


def test_a_follower_that_was_away_goes_on_after_its_last_block(
    tmp_path, network, operator, follower
):
    follower.following.catch_up()
    follower.stop()
    network.hospitals[0].raise_fence()
    again = Follower(tmp_path / "follower", operator.url, genesis=operator.genesis)
    assert again.engine.head.block_number == operator.engine.head.block_number - 1
    again.following.catch_up()
    assert len(heads(operator, again)) == 1
    again.stop()


def test_an_operator_that_changes_the_state_by_itself_is_found_out(network, operator, follower):
    """It gives an account coins that nobody sent: the next block executes otherwise here."""
    follower.following.catch_up()
    good = follower.engine.head
    real = operator.engine.chain.get_vm

    def tampering(header):
        vm = real(header)
        vm.state.set_balance(b"\x99" * 20, 10**18)
        return vm

    operator.engine.chain.get_vm = tampering
    network.hospitals[0].raise_fence()
    with pytest.raises(LedgerError, match="state_root") as refusal:
        follower.following.catch_up()
    assert refusal.value.code == "TW3550"
    assert follower.engine.head == good
    kept = follower.folder / f"wrong-block-{good.block_number + 1}.rlp"
    assert kept.read_bytes() == operator.engine.raw_block(good.block_number + 1)


def changed_header(**changes):
    """Twist a raw block: other header fields, a hash that fits them."""

    def twist(method, params, result):
        if method != "debug_getRawBlock":
            return result
        fields, *rest = rlp.decode(bytes.fromhex(result[2:]))
        for place, value in changes.values():
            fields[place] = value
        return f"0x{rlp.encode([fields, *rest]).hex()}"

    return twist


@pytest.mark.parametrize(
    ("field", "place", "value"),
    [
        ("parent_hash", 0, b"\x01" * 32),
        ("coinbase", 2, b"\x02" * 20),
        ("state_root", 3, b"\x03" * 32),
        ("receipt_root", 5, b"\x04" * 32),
        ("bloom", 6, b"\x05" * 256),
        ("gas_used", 10, b"\x06"),
        ("timestamp", 11, b"\x07"),
        ("extra_data", 12, b"by the operator"),
    ],
)
def test_every_part_of_a_header_is_computed_again(tmp_path, network, operator, field, place, value):
    liar = LyingNode(operator.url)
    liar.twist = changed_header(it=(place, value))
    follower = Follower(tmp_path / "f", liar.url, genesis=operator.genesis)
    with pytest.raises(LedgerError, match=field) as refusal:
        follower.following.catch_up()
    assert refusal.value.code == "TW3550"
    assert follower.engine.head.block_number == 0
    follower.stop()
    liar.stop()


@pytest.mark.parametrize("raw", ["0x", "0xc0", "0x" + "c1" * 3_000 + "c0", "0xzz", "0x00"])
def test_what_is_no_block_is_refused(tmp_path, network, operator, raw):
    liar = LyingNode(operator.url)
    liar.twist = lambda method, params, result: raw if method == "debug_getRawBlock" else result
    follower = Follower(tmp_path / "f", liar.url, genesis=operator.genesis)
    with pytest.raises(LedgerError) as refusal:
        follower.following.catch_up()
    assert refusal.value.code == "TW3553"
    follower.stop()
    liar.stop()


@pytest.mark.parametrize("further", [0, 1])
def test_another_history_is_found_out(tmp_path, network, operator, follower, further):
    follower.following.catch_up()
    (tmp_path / "other").mkdir()
    other = RunningNode(tmp_path / "other", genesis=operator.genesis)
    twin = LedgerNetwork(other.url, genesis=network.genesis, hospitals=3)
    for _ in range(further):
        twin.hospitals[0].raise_fence()
    follower.point_at(other.url)
    with pytest.raises(LedgerError) as refusal:
        follower.following.catch_up()
    assert refusal.value.code == "TW3551"
    twin.close()
    other.stop()


def test_a_ledger_that_takes_blocks_back_is_found_out(tmp_path, network, operator, follower):
    follower.following.catch_up()
    (tmp_path / "empty").mkdir()
    empty = RunningNode(tmp_path / "empty", genesis=operator.genesis)
    follower.point_at(empty.url)
    with pytest.raises(LedgerError) as refusal:
        follower.following.catch_up()
    assert refusal.value.code == "TW3552"
    empty.stop()


def test_what_was_found_is_told_and_nothing_more_is_taken(network, operator, follower):
    follower.following.start()
    eventually(lambda: len(heads(operator, follower)) == 1)
    require_sound(follower.rpc)
    real = operator.engine.chain.get_vm

    def tampering(header):
        vm = real(header)
        vm.state.set_balance(b"\x99" * 20, 10**18)
        return vm

    good = follower.engine.head
    operator.engine.chain.get_vm = tampering
    network.hospitals[0].raise_fence()
    eventually(lambda: follower.following.standing.trouble is not None)
    with pytest.raises(LedgerError) as refusal:
        require_sound(follower.rpc)
    assert refusal.value.code == "TW3550"
    network.hospitals[1].raise_fence()
    assert follower.engine.head == good


def test_a_follower_goes_on_after_an_operator_whose_last_word_was_an_internal_error(
    network, operator, follower
):
    follower.following.start()
    eventually(lambda: len(heads(operator, follower)) == 1)
    operator.node.close()  # as while its process ends: it still answers, over a closed database
    eventually(lambda: follower.following.standing.trouble is not None)
    assert follower.following.standing.trouble.code == "TW5003"
    operator.engine = Engine(Store(operator.folder / "chain.sqlite"), operator.genesis)
    operator.node = Node(operator.engine, clock=operator.clock)
    operator.server.methods = Methods(operator.node)
    network.hospitals[0].raise_fence()
    eventually(lambda: len(heads(operator, follower)) == 1)
    eventually(lambda: follower.following.standing.trouble is None)


def test_a_node_that_ends_gives_no_answer_rather_than_a_wrong_one(operator):
    with closing(Rpc(operator.url)) as rpc:
        assert rpc.call("eth_blockNumber") == "0x0"
        operator.server.shutdown()
        with pytest.raises(LedgerUnreachable):
            rpc.call("eth_blockNumber")


def eventually(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
