"""`AuditAnchor`: a log may only grow; proofs are checked against the RFC's own definitions."""

import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ledger.account import new_key
from ledger.calls import ContractRefused
from tests.simulators.ledger import merkle
from tests.simulators.ledger.network import LedgerNetwork

EXAMPLES = 10
EASY = settings(
    max_examples=EXAMPLES,
    phases=[Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def fresh(node):
    """Hospitals enough: `fresh()` gives the next one whose log nobody has anchored yet."""
    network = LedgerNetwork(node.url, genesis=node.genesis.hash(), hospitals=2 * EXAMPLES + 6)
    unused = iter(network.hospitals)
    yield lambda: next(unused)
    network.close()


def leaves(count):
    return [merkle.leaf_hash(os.urandom(8)) for _ in range(count)]


def anchor(chain, log, *, since=0):
    proof = merkle.consistency(since, log) if since else []
    chain.anchor(size=len(log), root=merkle.root(log), proof=proof)


def refused(name, call):
    with pytest.raises(ContractRefused) as refusal:
        call()
    assert refusal.value.name == name


def test_a_log_grows_and_the_newest_root_stands(fresh):
    hospital, log = fresh(), leaves(13)
    since = 0
    for size in (1, 2, 3, 7, 8, 13):
        anchor(hospital, log[:size], since=since)
        since = size
    number = hospital.number_of(hospital.account)
    assert hospital.anchored(number).root == merkle.root(log)
    assert hospital.anchored(number).size == 13
    assert hospital.anchored(1) is None  # the coordinator's own log is another one


def test_the_same_anchor_again_changes_nothing(fresh):
    hospital, log = fresh(), leaves(5)
    anchor(hospital, log)
    before = hospital.tip()
    anchor(hospital, log)
    assert hospital.tip() == before


@EASY
@given(sizes=st.tuples(st.integers(1, 20), st.integers(1, 20)), luck=st.integers(0, 10_000))
def test_a_fork_a_shorter_log_and_a_damaged_proof_are_refused(fresh, sizes, luck):
    old, new = sorted(sizes)
    hospital, log = fresh(), leaves(new)
    anchor(hospital, log[:old])
    forked = [*log]
    forked[luck % old] = os.urandom(32)
    refused("Inconsistent", lambda: anchor(hospital, forked, since=old))
    if old > 1:
        refused("Inconsistent", lambda: anchor(hospital, log[: old - 1]))
    proof = merkle.consistency(old, log)
    root = merkle.root(log)
    if new == old:  # exactly this stands already, whatever proof is brought
        anchor(hospital, log)
        return
    altered = [*proof]
    altered[luck % len(proof)] = os.urandom(32)
    for wrong in ([*proof, os.urandom(32)], proof[:-1], altered):
        refused(
            "Inconsistent",
            lambda wrong=wrong: hospital.write("AuditAnchor", "anchor", new, root, wrong),
        )
    anchor(hospital, log, since=old)


@EASY
@given(size=st.integers(1, 24), luck=st.integers(0, 10_000))
def test_inclusion_holds_for_each_entry_and_for_nothing_else(fresh, size, luck):
    hospital, log = fresh(), leaves(size)
    anchor(hospital, log)
    index, number = luck % size, hospital.number_of(hospital.account)
    path = merkle.inclusion(index, log)

    def holds(leaf, at, proof):
        return hospital.is_anchored(number, leaf=leaf, index=at, path=proof)

    assert holds(log[index], index, path)
    assert not holds(os.urandom(32), index, path)
    assert not holds(log[index], size, path)
    assert not holds(log[index], index, [*path, os.urandom(32)])
    assert not path or not holds(log[index], index, path[:-1])
    others = [other for other in range(size) if other != index]
    assert not any(holds(log[index], other, path) for other in others)


def test_strangers_have_no_log_and_nothing_is_no_log(network):
    stranger, member = network.connect(new_key()), network.coordinator
    refused("NotAMember", lambda: anchor(stranger, leaves(1)))
    refused("EmptyLog", lambda: member.anchor(size=0, root=os.urandom(32), proof=[]))
    refused("EmptyLog", lambda: member.anchor(size=1, root=bytes(32), proof=[]))
    refused(
        "Inconsistent",
        lambda: member.anchor(size=1, root=os.urandom(32), proof=[os.urandom(32)]),
    )
