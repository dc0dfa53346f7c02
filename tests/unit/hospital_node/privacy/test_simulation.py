"""Many trainings at once do what one training of the network does."""

import dataclasses

import numpy as np
import pytest

from hospital_node.privacy import experiment, simulation
from hospital_node.privacy.clipped_sum import LogisticClippedSum
from hospital_node.privacy.experiment import Cohort
from hospital_node.privacy.mechanism import Mechanism
from hospital_node.privacy.simulation import Setting
from models.cardiac_risk import recipe
from twinward import descent

pytestmark = pytest.mark.usefixtures("same_noise")
SITES = ("north", "east", "south", "west")


def plan_for(epsilon=1.0):
    return recipe.plan(
        network="00" * 32, study="heart-risk", sites=SITES, divisor=120,
        purpose="health research", grades=["staff_attested"], epsilon=epsilon,
    )  # fmt: skip


def patients(dimension, size=120):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(size, dimension))
    return x, (x @ rng.normal(size=dimension) + rng.normal(size=size) > 0).astype(float)


def test_without_noise_it_is_the_clipped_sum_and_the_descent_of_the_network():
    plan = plan_for()
    x, y = patients(plan.dimension)
    include = np.random.default_rng(1).random((120, 3)) < 0.5
    settings = [Setting(0.0, rate) for rate in (0.45, 0.1, 0.45)]
    found = simulation.train_many(x, y, plan=plan, settings=settings, include=include)
    clipped = LogisticClippedSum(x, y, max_grad_norm=plan.max_grad_norm)
    for weights, setting, mask in zip(found, settings, include.T, strict=True):
        own = dataclasses.replace(plan, learning_rate=setting.learning_rate)
        now, iterates = own.start, []
        for _ in range(own.steps):
            words = np.rint(clipped(now, mask) / own.grid).astype(np.int64)
            now = descent.step(own, now, words)
            iterates.append(now)
        assert weights == pytest.approx(descent.release(own, iterates), abs=1e-9)


@pytest.mark.parametrize("hospitals", [3, 4, 30])
def test_the_noise_on_the_sum_is_what_that_many_mechanisms_add(hospitals):
    plan = dataclasses.replace(plan_for(), sites=tuple(f"site-{n}" for n in range(hospitals)))
    share = Mechanism(plan).guarantee(hospitals).share_sd
    whole = simulation.distributed_noise(plan, hospitals=hospitals)
    assert whole == pytest.approx(np.sqrt(hospitals) * share, rel=5e-3)
    assert simulation.local_noise(plan, hospitals=hospitals) > whole


def test_with_noise_released_weights_spread_as_those_of_the_network():
    plan = plan_for()
    x, y = patients(plan.dimension)
    sd = simulation.distributed_noise(plan, hospitals=4)
    many = simulation.train_many(x, y, plan=plan, settings=[Setting(sd, plan.learning_rate)] * 400)
    parts = {name: Cohort(x[n::4], y[n::4]) for n, name in enumerate(SITES)}
    scaled = dataclasses.replace(plan, divisor=round(120 / experiment.TRAIN_SHARE))
    single = np.array([experiment.together(parts, plan=scaled) for _ in range(150)])
    ratio = many.std(axis=0).mean() / single.std(axis=0).mean()
    assert ratio == pytest.approx(1.0, abs=0.08)
    gap = many.mean(axis=0) - single.mean(axis=0)
    assert np.abs(gap).max() < 5 * single.std(axis=0).max() / np.sqrt(150)
