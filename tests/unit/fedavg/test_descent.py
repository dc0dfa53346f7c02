"""Server momentum on summed updates: the bits of the offline verifier, and the textbook's rule."""

import dataclasses

import numpy as np

from ledger import verify
from tests.unit.fedavg.test_plan import the_plan
from twinward import descent


def sums(plan, count, seed=3):
    generator = np.random.default_rng(seed)
    high = plan.max_abs_sum
    return [generator.integers(-high, high, plan.dimension, endpoint=True) for _ in range(count)]


def test_hospitals_and_verifier_come_to_the_same_bits():
    plan = the_plan()
    payload, totals = plan.to_document().payload, sums(plan, 6)
    weights, before = [float(weight) for weight in payload["start_weights"]], None
    for total, ours in zip(totals, descent.follow(plan, totals), strict=True):
        words = [int(word) for word in total]
        weights, before = verify.take_step(payload, weights, words, before), weights
        assert np.array(weights).tobytes() == ours.tobytes()


def test_it_is_the_velocity_of_the_paper():
    """FedAvgM: velocity = momentum * velocity + mean update; weights += rate * velocity."""
    plan = dataclasses.replace(the_plan(), learning_rate=0.7)
    totals = sums(plan, 6)
    velocity, weights = np.zeros(plan.dimension), plan.start
    for total, found in zip(totals, descent.follow(plan, totals), strict=True):
        velocity = 0.3 * velocity + total * plan.fedavg.grid / 4
        weights = weights + 0.7 * velocity
        np.testing.assert_allclose(found, weights, rtol=1e-12, atol=1e-12)


def test_without_momentum_it_is_the_mean_of_the_updates():
    plan = the_plan()
    plan = dataclasses.replace(plan, fedavg=dataclasses.replace(plan.fedavg, momentum=0.0))
    (total,) = sums(plan, 1)
    moved = descent.follow(plan, [total, np.zeros_like(total)])
    np.testing.assert_array_equal(moved[0], moved[1])
    np.testing.assert_allclose(moved[0] - plan.start, total * plan.fedavg.grid / 4, atol=1e-12)
