"""From sums to weights: the same bits here, at every hospital, and in the offline verifier."""

import hashlib
import struct

import numpy as np
import pytest

from tests.unit.twinward.test_plan import the_plan
from twinward import descent

PLAN = the_plan()


def sums(count, *, seed=7):
    generator = np.random.default_rng(seed)
    high = PLAN.max_abs_sum
    return [
        generator.integers(-high, high, size=PLAN.dimension, dtype=np.int64, endpoint=True)
        for _ in range(count)
    ]


def by_hand(plan, totals):
    """The same in Python's own floats, one operation at a time, as the verifier does it."""
    weights, iterates = list(plan.start_weights), []
    rate = plan.learning_rate / plan.divisor
    for total in totals:
        weights = [
            w - rate * (float(int(t)) * plan.grid) for w, t in zip(weights, total, strict=True)
        ]
        iterates.append(weights)
    tail = iterates[-plan.averaged_steps :]
    released = [0.0] * plan.dimension
    for weights in tail:
        released = [a + b for a, b in zip(released, weights, strict=True)]
    return [value / float(len(tail)) for value in released]


@pytest.mark.parametrize("seed", range(5))
def test_thirty_steps_give_the_bits_that_plain_floats_give(seed):
    weights, iterates = PLAN.start, []
    totals = sums(PLAN.steps, seed=seed)
    for total in totals:
        weights = descent.step(PLAN, weights, total)
        iterates.append(weights)
    released = descent.release(PLAN, iterates)
    hand = by_hand(PLAN, totals)
    assert descent.to_bytes(released) == struct.pack(f"<{PLAN.dimension}d", *hand)
    assert descent.digest(released) == hashlib.sha256(descent.to_bytes(released)).digest()


def test_a_step_leaves_what_it_was_given_as_it_was():
    total, weights = sums(1)[0], PLAN.start.copy()
    before = (total.copy(), weights.copy())
    descent.step(PLAN, weights, total)
    assert (total == before[0]).all()
    assert (weights == before[1]).all()


def test_only_the_last_iterates_are_averaged():
    weights = [np.full(PLAN.dimension, float(i)) for i in range(PLAN.steps)]
    tail = PLAN.averaged_steps
    mean = sum(range(PLAN.steps - tail, PLAN.steps)) / tail
    assert (descent.release(PLAN, weights) == mean).all()


def test_one_unit_of_one_sum_moves_the_weights_and_so_the_digest():
    total = sums(1)[0]
    other = total.copy()
    other[0] += 1
    one, two = (descent.step(PLAN, PLAN.start, each) for each in (total, other))
    assert descent.digest(one) != descent.digest(two)


def test_weights_travel_as_little_endian_doubles_of_exactly_the_right_number():
    data = descent.to_bytes(PLAN.start)
    assert len(data) == 8 * PLAN.dimension
    assert (descent.from_bytes(data, dimension=PLAN.dimension) == PLAN.start).all()
    for wrong in (data[:-8], data + bytes(8)):
        with pytest.raises(ValueError, match="weights"):
            descent.from_bytes(wrong, dimension=PLAN.dimension)
