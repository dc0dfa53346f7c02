"""Local steps over secret samples: drawn afresh in each, accounted as many as there are."""

import dataclasses

import numpy as np
import pytest

from hospital_node import local_training
from hospital_node.privacy.mechanism import Mechanism
from tests.unit.fedavg.test_plan import the_plan
from twinward.accounting.sampled import calibrate
from twinward.errors import BudgetError


@pytest.fixture(scope="module")
def sampled():
    plan = the_plan()
    sampling = calibrate(epsilon=1.0, delta=1e-5, rate=0.2, attempts=plan.releases)
    return dataclasses.replace(plan, sampling=sampling)


class Counting:
    """Remembers who was drawn."""

    patients, sensitivity = 500, 2.0

    def __init__(self):
        self.drawn = []

    def __call__(self, weights, include):
        self.drawn.append(include)
        return np.zeros(weights.size)


def test_every_local_step_draws_its_own_patients(sampled):
    counting = Counting()
    permitted = np.arange(500) % 5 != 0
    local_training.update(
        sampled, sampled.fedavg, mechanism=Mechanism(sampled), clipped_sum=counting,
        weights=sampled.start, permitted=permitted, members=4,
    )  # fmt: skip
    assert len(counting.drawn) == 3
    assert not any((drawn & ~permitted).any() for drawn in counting.drawn)
    assert all(30 < drawn.sum() < 140 for drawn in counting.drawn)
    assert (counting.drawn[0] != counting.drawn[1]).any()


def test_a_plan_that_pays_for_rounds_instead_of_steps_is_refused(sampled):
    Mechanism(sampled)
    cheap = calibrate(epsilon=1.0, delta=1e-5, rate=0.2, attempts=sampled.attempts)
    with pytest.raises(BudgetError) as refusal:
        Mechanism(dataclasses.replace(sampled, sampling=cheap))
    assert refusal.value.code == "TW4300"
