"""Whatever is appended and sealed: each proof leads to the root that RFC 9162 defines."""

import contextlib
import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import verify
from ledger.log.entry import Draft
from ledger.log.store import Log

TOPICS = [f"run:{n}" for n in range(30)]
drafts = st.builds(
    lambda topics: Draft("step", tuple(topics), 7, bytes(32)),
    st.lists(st.sampled_from(TOPICS), min_size=1, max_size=3, unique=True),
)


def root_by_definition(leaves):
    """The recursive definition of section 2.1.1, as it stands there."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    halves = root_by_definition(leaves[:k]) + root_by_definition(leaves[k:])
    return hashlib.sha256(b"\1" + halves).digest()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(drafts, max_size=12), min_size=1, max_size=8), st.data())
def test_every_proof_holds_under_every_sealed_state(tmp_path_factory, batches, data):
    log = Log(tmp_path_factory.mktemp("log") / "log.sqlite", origin="twinward/test")
    sealed = []
    for batch in batches:
        log.append(batch)
        sealed.append(log.seal())
    leaves = log.leaves(0, log.size)
    hashes = [verify.leaf_hash(leaf) for leaf in leaves]
    for state in sealed:
        size = state.size
        assert state.root == root_by_definition(leaves[:size])
        for index in range(size):
            path = log.inclusion(index, size=size)
            assert verify.root_from_inclusion(hashes[index], index, size, path) == state.root
        rows = sorted(data.draw(st.sets(st.integers(0, max(size - 1, 0)), max_size=size)))
        nodes = log.rows_proof(rows, size=size)
        assert verify.root_of_rows(size, {r: hashes[r] for r in rows}, nodes) == state.root
        old = data.draw(st.sampled_from(sealed))
        proof = log.consistency(old.size, size)
        fits = verify.is_consistent(old.size, old.root, size, state.root, proof)
        assert fits == (old.size <= size)
        topic = data.draw(st.sampled_from(TOPICS))
        found = log.topic(topic, size=size)
        bucket = verify.bucket_hash(found.bucket)
        number = verify.bucket_of(verify.topic_key(topic))
        assert verify.map_root_from(number, bucket, found.siblings) == state.topics
        expected = [n for n, leaf in enumerate(leaves[:size]) if f'"{topic}"'.encode() in leaf]
        assert log.entries_of(topic, size=size) == expected
        assert found.count == len(expected)
    log.close()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.data())
def test_a_proof_with_one_other_hash_or_place_leads_elsewhere(tmp_path_factory, size, data):
    hashes = [hashlib.sha256(str(n).encode()).digest() for n in range(size)]
    root = verify.tree_root(hashes)
    rows = sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=9)))
    log = Log(tmp_path_factory.mktemp("log") / "log.sqlite", origin="twinward/test")
    log.append(Draft("step", ("run:1",), n, bytes(32)) for n in range(size))
    hashes = [verify.leaf_hash(leaf) for leaf in log.leaves(0, size)]
    root = log.seal().root
    nodes = log.rows_proof(rows, size=size)
    good = {row: hashes[row] for row in rows}
    assert verify.root_of_rows(size, good, nodes) == root
    row = data.draw(st.sampled_from(rows))
    assert verify.root_of_rows(size, {**good, row: bytes(32)}, nodes) != root
    if nodes:
        place = data.draw(st.integers(0, len(nodes) - 1))
        other = [*nodes[:place], bytes(32), *nodes[place + 1 :]]
        assert verify.root_of_rows(size, good, other) != root
    path = log.inclusion(row, size=size)
    wrong = data.draw(st.integers(0, size - 1).filter(lambda n: n != row)) if size > 1 else None
    if wrong is not None:
        with contextlib.suppress(ValueError):
            assert verify.root_from_inclusion(hashes[row], wrong, size, path) != root
    log.close()
