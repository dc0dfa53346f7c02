"""Plans that sample, and models with other engines, are attacked by the whole audit as well."""

import dataclasses

import numpy as np
import pytest

from hospital_node.privacy.audit.canaries import hostile, loud, reach
from hospital_node.privacy.audit.report import Size, audit
from hospital_node.privacy.audit.subject import Subject
from hospital_node.privacy.mechanism import Mechanism
from models.cardiac_ecg import recipe as ecg_recipe
from models.cardiac_risk import recipe
from models.mlp_risk import recipe as mlp_recipe
from twinward.plan import Sampling

pytestmark = pytest.mark.usefixtures("same_noise")
TERMS = {
    "network": "00" * 32, "study": "heart-risk", "sites": ["north", "east", "south", "west"],
    "purpose": "health research", "divisor": 900, "grades": ["staff_attested"],
}  # fmt: skip
SAMPLED = dataclasses.replace(
    recipe.plan(**TERMS),
    sampling=Sampling(rate=0.25, noise_multiplier=5.61563, charged_mu=0.277302),
)
SIZE = Size(own=30, magnified=30, hostile=4, draws=60_000)


def refuted(plan, subject=None, *, size=SIZE):
    found = audit(plan, subject=subject, size=size)
    assert len(found.checks) <= 40
    return {check.name for check in found.checks if check.refuted}


class EveryoneIsDrawn(Mechanism):
    def release(self, clipped_sum, weights, permitted, members):
        return self._noised(clipped_sum(weights, permitted), members)


class OneSampleTwice(Mechanism):
    """Draws for two attempts at once."""

    _dice, _kept = np.random.default_rng(1), None

    def release(self, clipped_sum, weights, permitted, members):
        if self._kept is None:
            self._kept = permitted & (self._dice.random(permitted.size) < 0.25)
            return self._noised(clipped_sum(weights, self._kept), members)
        kept, self._kept = self._kept, None
        return self._noised(clipped_sum(weights, kept), members)


class BatchesOfOneSize(Mechanism):
    """As many as Poisson sampling draws on average, and always as many."""

    _dice = np.random.default_rng(2)

    def release(self, clipped_sum, weights, permitted, members):
        those = np.flatnonzero(permitted)
        chosen = self._dice.choice(those, size=those.size // 4, replace=False)
        drawn = np.isin(np.arange(permitted.size), chosen)
        return self._noised(clipped_sum(weights, drawn), members)


class NoiseOfAnotherPlan(Mechanism):
    def _noised(self, clipped, members):
        honest = super()._noised(clipped, members)
        noise = 0.5 * (honest.vector * self._plan.grid - clipped)
        steps = np.rint((clipped + noise) / self._plan.grid).astype(np.int64)
        return dataclasses.replace(honest, vector=steps)


def test_a_sampled_plan_passes():
    assert refuted(SAMPLED) == set()


@pytest.mark.parametrize(
    ("fault", "caught_by"),
    [
        (EveryoneIsDrawn, "sampler: rate"),
        (OneSampleTwice, "sampler: attempts 1 and 2, 3 and 4 ..."),
        (BatchesOfOneSize, "sampler: two patients"),
        (NoiseOfAnotherPlan, "noise of 4 members: width"),
    ],
)
def test_a_sampled_plan_that_costs_more_than_it_says_is_caught(fault, caught_by):
    assert caught_by in refuted(SAMPLED, Subject(mechanism=fault))


def test_a_network_passes_with_the_engine_its_layers_get():
    plan = mlp_recipe.plan(**TERMS)
    assert Subject.of(plan).width(plan) < plan.dimension
    assert refuted(plan) == set()


def test_a_network_whose_patients_are_clipped_to_twice_the_norm_is_caught():
    plan = mlp_recipe.plan(**TERMS)
    honest = Subject.of(plan)

    def clip_doubled(x, y, *, max_grad_norm, owner):
        lying = honest.engine(x, y, max_grad_norm=2 * max_grad_norm, owner=owner)
        lying.sensitivity = max_grad_norm
        return lying

    # With 30 games the canary once missed by the luck of the noise.
    size = dataclasses.replace(SIZE, own=60, magnified=60)
    names = refuted(plan, dataclasses.replace(honest, engine=clip_doubled), size=size)
    assert {"reach of one patient: loud, 1 record", "canary at epsilon 20: loud, 1 record"} <= names


def test_a_network_over_recordings_is_moved_by_no_one_further_than_the_claim_allows():
    plan = ecg_recipe.plan(**TERMS)  # whole games take a minute with its layers
    subject = Subject.of(plan)
    assert subject.width(plan) == 12 * 80
    for canary in (loud(subject, plan), loud(subject, plan, records=3), *hostile(subject, plan)):
        assert reach(subject, plan, canary) <= 1.0
    assert reach(subject, plan, loud(subject, plan)) > 0.3
