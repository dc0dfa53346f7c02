"""What the verifier does by itself equals what hospitals and coordinator do, to the bit."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import verify
from tests.simulators.finished_run import found, make_plan
from twinward import descent, gdp
from twinward.secsum import messages, profile, transcript
from twinward.secsum.words import WordFormat
from twinward.signing import Identity

HEADS = {
    "offer": messages.Offer,
    "advertise": messages.Advertise,
    "roster": messages.Roster,
    "masked": messages.Masked,
    "sum": messages.Sum,
    "close": messages.Close,
}
SIZES = st.sampled_from([(32, 1), (32, 5), (64, 1), (64, 4)])


@pytest.fixture(scope="module")
def plan():
    orgs = ("coordinator", "basel", "bern", "chur")
    return make_plan(found({org: Identity.generate() for org in orgs}), steps=6)


@pytest.mark.parametrize("name", HEADS)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_every_head_is_read_as_it_was_written(name, data):
    kind = HEADS[name]
    fields = {
        field: data.draw(st.binary(min_size=32, max_size=32) if letter == "32s" else
                         st.integers(0, 2**32 - 1))
        for field, letter in verify._COMMON + verify._HEADS[name][1]
    }  # fmt: skip
    head = kind(**fields).encode()
    assert verify.read_head(name, head) == fields
    assert kind.KIND.signed_as == f"twinward/secsum-a/{name}/v1"
    if "sender" in fields:
        assert head[verify._SENDER] == fields["sender"]
    for other in set(HEADS) - {name}:
        with pytest.raises(ValueError, match="not a"):
            verify.read_head(other, head)


@given(SIZES, st.integers(3, 8), st.integers(0, 2**32))
def test_vectors_add_up_as_at_the_coordinator(size, members, seed):
    words = WordFormat(*size)
    rng = np.random.default_rng(seed)
    vectors = [rng.bytes(words.data_bytes) for _ in range(members)]
    added = np.sum([words.from_bytes(vector) for vector in vectors], axis=0, dtype=words.dtype)
    total = added.tobytes()
    assert verify.sum_of_vectors(vectors, size[0]) == total


@given(SIZES, st.integers(0, 2**32))
def test_sums_are_read_and_hashed_as_at_the_hospitals(size, seed):
    words, rng = WordFormat(*size), np.random.default_rng(seed)
    integers = rng.integers(-(2**31), 2**31, size[1], dtype=np.int64)
    (sent,) = words.pieces_of(integers)
    data = sent.tobytes()
    assert verify.signed_words(data, size[0]) == (integers.tolist(), True)
    assert not verify.signed_words(data[:-1] + b"\1", size[0])[1]
    members = [rng.bytes(32) for _ in range(3)]
    total = rng.bytes(32)
    there = transcript.history_next(bytes(32), epoch=2, step=9, members=members, total=total)
    assert verify.history_next(bytes(32), 2, 9, members, total) == there


@given(st.lists(st.lists(st.integers(-(2**62), 2**62), min_size=3, max_size=3), min_size=2))
@settings(max_examples=60, deadline=None)
def test_the_descent_gives_the_same_bits(plan, sums):
    weights, iterates = plan.start, []
    mine, mine_all = list(plan.start_weights), []
    payload = plan.to_document().payload
    for words in sums:
        weights = descent.step(plan, weights, np.array(words, dtype=np.int64))
        iterates.append(weights)
        mine = verify.take_step(payload, mine, words)
        mine_all.append(mine)
    released = verify.released_weights(payload, mine_all)
    assert np.array(released).tobytes() == descent.release(plan, iterates).tobytes()
    assert verify._weights_digest(released) == descent.digest(descent.release(plan, iterates))


@given(st.floats(0.05, 10), st.floats(1e-9, 1e-3))
@settings(max_examples=60, deadline=None)
def test_the_price_in_privacy_agrees_with_the_accountant(epsilon, delta):
    mu = verify.mu_of(epsilon, delta)
    assert math.isclose(mu, gdp.mu_of(epsilon, delta), rel_tol=1e-7)
    assert math.isclose(verify.epsilon_of(mu, delta), epsilon, rel_tol=1e-7)
    assert math.isclose(verify.epsilon_of(2 * mu, delta), gdp.epsilon_of(2 * mu, delta),
                        rel_tol=1e-7)  # fmt: skip


def test_published_values_of_mu():
    assert round(verify.mu_of(1, 1e-5), 4) == 0.2681
    assert round(verify.mu_of(3, 1e-5), 4) == 0.7191
    assert round(verify.mu_of(8, 1e-5), 4) == 1.6660


def test_the_rule_on_colluders_is_the_one_that_hospitals_follow():
    for members in range(3, 65):
        assert verify.colluders(members) == profile.colluders(members)


def test_the_public_range_of_a_sum_is_the_plans(plan):
    run = verify._Run(bytes(32), plan.to_document().payload, plan.digest)
    assert plan.max_abs_sum <= run.largest_sum <= plan.max_abs_sum * (1 + 1e-5) + 2


def digest_of(hash_of_size, data):
    state = hash_of_size(len(data))
    for at in range(len(data)):  # piece by piece, as it travels
        state.update(data[at : at + 1])
    return state.digest()


def test_which_vectors_a_pack_must_hold_is_the_coordinators_rule():
    assert verify._KEPT_DIMENSION == profile.KEPT_DIMENSION


def test_every_hash_is_that_of_the_transcript(plan):
    assert verify.tagged_hash("secsum-a/roster/v1", b"a" * 64) == transcript.roster_digest(
        [b"a" * 32, b"a" * 32]
    )
    assert verify.tagged_hash("secsum-a/setup/v1", b"o", b"1", b"2") == transcript.setup_digest(
        b"o", [b"1", b"2"]
    )
    start = verify.tagged_hash("secsum-a/start/v1", bytes(32), plan.digest)
    assert start == transcript.history_start(bytes(32), plan.digest)
    assert verify.tagged_hash("secsum-a/vector/v1", b"y") == digest_of(transcript.vector_hash, b"y")
    assert verify.tagged_hash("secsum-a/total/v1", b"S") == digest_of(transcript.total_hash, b"S")
    assert verify.tagged_hash("secsum-a/heads/v1", b"1", b"2") == transcript.heads_digest(
        [b"1", b"2"]
    )
