"""A plan of local training is complete, priced for every local step, and no plan of sums."""

import dataclasses
import math

import pytest

from models.cardiac_risk import made_up
from models.mlp_risk import recipe
from twinward.errors import UsageError
from twinward.plan import KIND, Evaluation, Plan
from twinward.signing import Document

SITES = tuple(hospital.name for hospital in made_up.HOSPITALS)


def the_plan(**changed):
    made = recipe.local_plan(
        network="00" * 32, study="heart-fedavg", sites=SITES, divisor=720,
        purpose="heart-research", grades=("signed-on-device",),
    )  # fmt: skip
    return dataclasses.replace(made, **changed)


def refused(**changed):
    payload = the_plan().to_document().payload
    with pytest.raises(UsageError) as refusal:
        Plan.from_document(Document(KIND, {**payload, **changed}))
    assert refusal.value.code == "TW1020"
    return refusal.value.diagnostic.message


def test_it_survives_its_document():
    plan = the_plan()
    assert Plan.from_document(Document.decode(plan.to_document().encode(), kind=KIND)) == plan


def test_every_local_step_of_every_attempt_is_paid_for():
    plan = the_plan()
    assert plan.releases == 7 * 3
    assert math.isclose(plan.noise_multiplier, math.sqrt(21) / plan.mu)
    assert math.isclose(plan.mu2_per_attempt * plan.attempts, plan.mu**2)


def test_sums_are_bounded_by_the_cut_and_not_by_patients():
    assert the_plan().max_abs_sum == 4 * 65536
    assert the_plan(max_patients_per_hospital=10**7).max_abs_sum == 4 * 65536


def test_its_evaluation_is_a_plain_sum():
    numbers = the_plan(evaluation=Evaluation(0.2, 3.0, 8, 1)).for_evaluation()
    assert (numbers.aggregate, numbers.fedavg) == ("secure_sum", None)


@pytest.mark.parametrize(
    "changed",
    [
        {"local_steps": 0}, {"local_steps": 1001}, {"momentum": 1.0}, {"momentum": -0.1},
        {"proximal": -1.0}, {"max_update_norm": 0.0}, {"local_learning_rate": 0.0},
        {"proximal": 3.0}, {"no_noise": True},
    ],
    ids=str,
)  # fmt: skip
def test_numbers_that_make_no_sense_are_refused(changed):
    refused(fedavg={**dataclasses.asdict(the_plan().fedavg), **changed})


def test_the_mode_and_its_numbers_belong_together():
    assert "only there" in refused(aggregate="secure_sum")
    assert "only there" in refused(fedavg=None)


def test_more_releases_than_can_be_accounted_are_refused():
    local = dataclasses.asdict(the_plan().fedavg)
    refused(steps=1000, fedavg={**local, "local_steps": 1000})
