"""Two sums by what patients leave out are one sum over what they leave in, as bounded as it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hospital_node.privacy.clipped_sum import LogisticClippedSum
from hospital_node.privacy.sum_by_share import SumByShare
from hospital_node.shares import ALL, NOTHING

NORM, INPUTS = 0.5, 3
shares_of = st.lists(
    st.sampled_from([NOTHING, ALL, ALL + 1, ALL + 2, ALL + 3]), min_size=1, max_size=12
)


def left_in(x, shares):
    """The first two inputs are optional: a bit each."""
    bits = np.where(shares > ALL, shares - ALL, 0)[:, None] >> np.array([0, 1, 7]) & 1
    return np.where(bits, 0.0, x)


def made(seed, patients):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(scale=3, size=(patients, INPUTS)), rng.integers(0, 2, patients).astype(float)

    def narrowed(rows, shares):
        return LogisticClippedSum(left_in(x[rows], shares), y[rows], max_grad_norm=NORM)

    whole = LogisticClippedSum(x, y, max_grad_norm=NORM)
    return x, y, rng.normal(size=INPUTS), SumByShare(whole, narrowed)


@given(st.integers(0, 2**32), st.lists(shares_of, min_size=1, max_size=4))
def test_it_is_the_sum_over_what_each_left_in_whatever_came_before(seed, history):
    size = min(map(len, history))
    x, y, weights, by_share = made(seed, size)
    for shares in (np.array(each[:size], np.uint8) for each in history):
        by_share.follow(shares)
        include = shares != NOTHING
        expected = LogisticClippedSum(left_in(x, shares), y, max_grad_norm=NORM)(weights, include)
        assert np.allclose(by_share(weights, include), expected, rtol=1e-12, atol=1e-12)


@given(st.integers(0, 2**32), shares_of, st.data())
def test_one_patient_moves_it_by_no_more_than_the_norm(seed, shares, data):
    shares = np.array(shares, np.uint8)
    _, _, weights, by_share = made(seed, len(shares))
    assert (by_share.patients, by_share.sensitivity) == (len(shares), NORM)
    include = shares != NOTHING
    by_share.follow(shares)
    with_them = by_share(weights, include)
    patient = data.draw(st.integers(0, len(shares) - 1))
    without = include.copy()
    without[patient] = False
    assert np.linalg.norm(with_them - by_share(weights, without)) <= NORM
    shares[patient] = NOTHING
    by_share.follow(shares)
    assert np.array_equal(by_share(weights, without), by_share(weights, shares != NOTHING))


def test_whoever_is_forgotten_counts_as_zero_in_both():
    shares = np.array([ALL, ALL + 1, ALL + 1, ALL], np.uint8)
    _, _, weights, by_share = made(4, 4)
    by_share.follow(shares)
    one = np.array([False, False, True, False])
    assert by_share(weights, one).any()
    by_share.forget(2)
    assert not by_share(weights, one).any()
    assert by_share(weights, shares != NOTHING).any()


def test_who_narrowed_is_in_no_sum_if_the_second_cannot_be_made():
    def broken(rows, shares):
        raise MemoryError

    *_, weights, _ = made(5, 2)
    whole = LogisticClippedSum(np.ones((2, INPUTS)), np.zeros(2), max_grad_norm=NORM)
    by_share = SumByShare(whole, broken)
    with pytest.raises(MemoryError):
        by_share.follow(np.array([ALL, ALL + 1], np.uint8))
    both = np.array([True, True])
    first = by_share(weights, np.array([True, False]))
    assert np.array_equal(by_share(weights, both), first)
    by_share.follow(np.array([ALL, ALL], np.uint8))  # and is back once nothing is left out
    assert np.array_equal(by_share(weights, both), whole(weights, both))
