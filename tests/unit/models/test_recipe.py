"""The plan that the recipe makes is a plan, with the settings of the design."""

import numpy as np
import pytest

from models import registry
from models.cardiac_risk import recipe
from twinward.errors import UsageError
from twinward.plan import Plan

SITES = ("cleveland", "hungarian", "switzerland", "va")
STUDY = {
    "network": "00" * 32, "study": "heart-risk", "purpose": "health research",
    "grades": ("staff_attested",), "divisor": 900,
}  # fmt: skip


def test_the_plan_of_the_design():
    plan = recipe.plan(sites=SITES, **STUDY)
    assert (plan.steps, plan.spare_attempts, plan.averaged_steps) == (30, 3, 15)
    assert (plan.max_grad_norm, plan.learning_rate, plan.epsilon) == (2.0, 0.45, 1.0)
    assert plan.noise_multiplier == pytest.approx(21.43, abs=0.01)
    assert plan.dimension == 27
    assert (plan.slot_seconds, plan.deadline_seconds) == (0.005, 1.0)
    assert Plan.from_document(plan.to_document()) == plan
    model = registry.require_same_spec(plan.model, plan.model_spec, sites=plan.sites)
    assert np.array_equal(plan.start, model.start(plan.model_spec))


def test_a_deadline_that_vectors_cannot_keep_makes_no_plan():
    assert recipe.plan(sites=SITES, slot_seconds=0.5, **STUDY).deadline_seconds == 1.0
    with pytest.raises(UsageError, match="deadline_seconds") as refusal:
        recipe.plan(sites=SITES, slot_seconds=0.6, **STUDY)
    assert refusal.value.code == "TW1020"


def test_half_the_epsilon_takes_half_the_step():
    assert recipe.plan(sites=SITES, epsilon=0.5, **STUDY).learning_rate == 0.225
    assert recipe.plan(sites=SITES, epsilon=3.0, **STUDY).learning_rate == 0.45


def test_three_hospitals_make_a_plan_and_two_do_not():
    assert recipe.plan(sites=SITES[:3], **STUDY).dimension == 26
    with pytest.raises(UsageError) as refusal:
        recipe.plan(sites=SITES[:2], **STUDY)
    assert refusal.value.code == "TW1020"
