"""What a hospital's round is: noised steps, the pull back, a cut that nothing escapes."""

import dataclasses
import math

import numpy as np
import pytest

from hospital_node import local_training
from hospital_node.privacy.mechanism import Mechanism
from hospital_node.privacy.validate import engine_for
from models import registry
from models.cardiac_risk import made_up
from tests.unit.fedavg.test_plan import SITES, the_plan
from twinward.errors import BudgetError

MODEL = registry.get("mlp_risk/1")
PATIENTS = made_up.patients(made_up.HOSPITALS[0])
X = MODEL.encode(PATIENTS, site=SITES[0], sites=SITES)
Y = MODEL.labels(PATIENTS)
pytestmark = pytest.mark.usefixtures("same_noise")
EVERYONE = np.ones(len(Y), dtype=bool)


def engine(plan):
    return engine_for(MODEL.module(SITES), X, Y, max_grad_norm=plan.max_grad_norm)


def fixed(seed=1):
    calls = iter(range(seed, 10**6))
    return lambda count: next(calls).to_bytes(count, "big")


def round_of(plan, *, permitted=EVERYONE, seed=1, clipped_sum=None):
    mechanism = Mechanism(plan, entropy_for_tests_only=fixed(seed))
    return local_training.update(
        plan, plan.fedavg, mechanism=mechanism, clipped_sum=clipped_sum or engine(plan),
        weights=plan.start, permitted=permitted, members=4,
    )  # fmt: skip


def changed(plan, **local):
    return dataclasses.replace(plan, fedavg=dataclasses.replace(plan.fedavg, **local))


def test_a_round_is_noised_descent_with_a_pull_back_then_a_cut_and_a_grid():
    plan = changed(the_plan(), max_update_norm=0.5)
    mechanism, clipped_sum = Mechanism(plan, entropy_for_tests_only=fixed()), engine(plan)
    here = plan.start.copy()
    for _ in range(3):
        noised = mechanism.release(clipped_sum, here, EVERYONE, 4).vector
        here = here - 0.45 * (noised * (plan.grid / 180) + 0.1 * (here - plan.start))
    move = here - plan.start
    assert np.linalg.norm(move) > 0.5  # so that the cut is there to see
    expected = np.rint(move * 0.5 / np.linalg.norm(move) / (0.5 / 65536))
    np.testing.assert_array_equal(round_of(plan), expected)


def test_each_hospital_adds_all_of_the_noise_alone():
    """Nobody else's noise is in a local step: a share of it would protect a patient too little."""
    plan = the_plan()
    given = Mechanism(plan).guarantee(4)
    assert given.share_sd >= plan.noise_multiplier * plan.max_grad_norm
    assert given.members - given.colluders == 1

    class Nothing:
        patients, sensitivity = len(Y), plan.max_grad_norm

        def __call__(self, weights, include):
            return np.zeros(weights.size)

    # One local step over no gradient at all is noise alone, of the width that is claimed.
    alone = changed(plan, local_steps=1, proximal=0.0, max_update_norm=10.0)
    sd = Mechanism(alone).guarantee(4).share_sd
    draws = np.concatenate(
        [round_of(alone, seed=s, clipped_sum=Nothing()) for s in range(0, 900, 9)]
    )
    seen = draws * alone.fedavg.grid / (0.45 / 180)
    assert seen.std() == pytest.approx(sd, rel=0.05)
    assert sd == pytest.approx(math.sqrt(7) / alone.mu * 2.0, rel=5e-3)


@pytest.mark.parametrize("norm", [1e-3, 0.5, 100.0])
def test_an_update_is_never_longer_than_its_bound(norm):
    plan = changed(the_plan(), max_update_norm=norm)
    vector = round_of(plan)
    assert np.abs(vector).max() <= 65536
    rounding = math.sqrt(vector.size) / 2
    assert np.linalg.norm(vector) <= 65536 + rounding


def test_the_pull_back_keeps_a_round_near_its_start():
    free, held = changed(the_plan(), proximal=0.0), changed(the_plan(), proximal=2.0)
    assert np.linalg.norm(round_of(held)) < 0.8 * np.linalg.norm(round_of(free))


def test_who_withdrew_is_in_no_local_step():
    plan, without = the_plan(), EVERYONE.copy()
    without[7] = False
    x, y = X.copy(), Y.copy()
    x[7], y[7] = 2.0, 1.0 - y[7]
    other = engine_for(MODEL.module(SITES), x, y, max_grad_norm=plan.max_grad_norm)
    one = round_of(plan, permitted=without)
    np.testing.assert_array_equal(one, round_of(plan, permitted=without, clipped_sum=other))
    assert (one != round_of(plan)).any()


def test_noise_is_fresh_in_every_round():
    plan = the_plan()
    mechanism, clipped_sum = Mechanism(plan), engine(plan)
    first, second = (
        local_training.update(
            plan, plan.fedavg, mechanism=mechanism, clipped_sum=clipped_sum, weights=plan.start,
            permitted=EVERYONE, members=4,
        )
        for _ in range(2)
    )  # fmt: skip
    assert (first != second).mean() > 0.99


def test_an_engine_that_clips_to_another_norm_is_refused():
    plan = the_plan()
    with pytest.raises(BudgetError) as refusal:
        round_of(plan, clipped_sum=engine(dataclasses.replace(plan, max_grad_norm=1.0)))
    assert refusal.value.code == "TW4303"
