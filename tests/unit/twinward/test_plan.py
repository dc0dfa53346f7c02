"""A plan is complete and consistent, or it is no plan."""

import dataclasses
import json
import math

import pytest

from models.cardiac_risk import recipe
from twinward.errors import UsageError
from twinward.plan import KIND, Plan
from twinward.signing import Document


def the_plan(**changed):
    made = recipe.plan(
        network="ab" * 32,
        study="heart-risk",
        sites=("harbour", "meadow", "station"),
        divisor=900,
        purpose="heart-research",
        grades=("signed-on-device",),
    )
    return dataclasses.replace(made, **changed)


def read(payload):
    return Plan.from_document(Document(KIND, payload))


def payload(**changed):
    return {**the_plan().to_document().payload, **changed}


def test_a_plan_survives_its_document_bit_for_bit():
    plan = the_plan()
    again = Plan.from_document(Document.decode(plan.to_document().encode(), kind=KIND))
    assert again == plan
    assert again.digest == plan.digest
    assert again.start.tobytes() == plan.start.tobytes()


def test_all_attempts_share_what_a_run_may_cost():
    plan = the_plan()
    assert plan.attempts == plan.steps + plan.spare_attempts == 33
    assert math.isclose(plan.attempts * plan.mu2_per_attempt, plan.mu**2)
    assert math.isclose(plan.noise_multiplier, 1 / math.sqrt(plan.mu2_per_attempt))
    dearer = dataclasses.replace(plan, spare_attempts=30)
    assert dearer.noise_multiplier > plan.noise_multiplier  # spares are paid for in noise


@pytest.mark.parametrize("field", sorted(the_plan().to_document().payload))
def test_a_plan_that_lacks_a_field_is_refused_and_the_field_is_named(field):
    rest = {name: value for name, value in payload().items() if name != field}
    with pytest.raises(UsageError) as refused:
        read(rest)
    assert refused.value.code == "TW1020"
    assert field in refused.value.diagnostic.message


def test_a_field_that_nobody_knows_is_refused():
    with pytest.raises(UsageError, match="no_noise"):
        read(payload(no_noise=True))


@pytest.mark.parametrize(
    "changed",
    [
        {"epsilon": 0}, {"epsilon": -1}, {"epsilon": 21}, {"epsilon": "1"}, {"epsilon": True},
        {"delta": 0}, {"delta": 0.5}, {"steps": 0}, {"steps": 2.5}, {"spare_attempts": -1},
        {"averaged_steps": 31}, {"divisor": 0}, {"max_grad_norm": 0}, {"grid": 1e-3},
        {"learning_rate": 0}, {"word_bits": 16},
        {"word_bits": 32, "max_patients_per_hospital": 10**7},
        {"sites": ["harbour", "meadow"]}, {"sites": ["harbour", "meadow", "harbour"]},
        {"sites": ["harbour", "meadow", "../etc"]}, {"study": "Heart Risk"},
        {"aggregate": "fedavg"}, {"network": "ab"}, {"grades": []}, {"start_weights": []},
        {"deadline_seconds": 0}, {"slot_seconds": -1}, {"model": "cardiac_risk"},
    ],
    ids=str,
)  # fmt: skip
def test_numbers_that_make_no_sense_are_refused(changed):
    with pytest.raises(UsageError) as refused:
        read(payload(**changed))
    assert refused.value.code == "TW1020"


@pytest.mark.parametrize("number", ["1.0", "1e0", "10e-1"])
def test_the_same_number_spelled_otherwise_is_not_the_same_plan_in_disguise(number):
    """One plan, one digest: canonical JSON leaves a number one spelling."""
    text = the_plan().to_document().encode().decode()
    assert '"epsilon":1,' in text
    with pytest.raises(UsageError):
        Document.decode(text.replace('"epsilon":1,', f'"epsilon":{number},').encode(), kind=KIND)


@pytest.mark.parametrize("weight", [math.nan, math.inf])
def test_first_weights_that_are_no_numbers_are_refused(weight):
    first = list(the_plan().start_weights)
    first[0] = weight
    with pytest.raises(UsageError):
        the_plan(start_weights=tuple(first)).require_consistent()


def test_every_field_is_under_the_digest():
    plan = the_plan()
    other = {
        "epsilon": 0.5, "steps": 31, "divisor": 901, "purpose": "care", "study": "other-study",
        "max_grad_norm": 1.0, "slot_seconds": 0.02, "network": "cd" * 32,
    }  # fmt: skip
    digests = {dataclasses.replace(plan, **{name: value}).digest for name, value in other.items()}
    assert len(digests | {plan.digest}) == len(other) + 1


def test_an_honest_sum_always_fits_and_a_larger_one_is_known_as_such():
    plan = the_plan()
    everyone = len(plan.sites) * plan.max_patients_per_hospital * plan.max_grad_norm
    assert plan.max_abs_sum * plan.grid > everyone
    assert plan.max_abs_sum < 2 ** (plan.word_bits - 1)
    assert json.loads(plan.to_document().encode())["payload"]["word_bits"] == plan.word_bits


SAMPLED = {"rate": 0.25, "noise_multiplier": 5.6, "charged_mu": 0.28}


def test_a_sampled_plan_states_its_noise_and_its_price():
    plan = read(payload(sampling=SAMPLED))
    assert plan.sample_rate == 0.25
    assert plan.noise_multiplier == 5.6
    assert plan.mu == 0.28
    assert not plan.divisible
    assert the_plan().sample_rate == 1.0
    assert the_plan().divisible
    assert plan.digest != the_plan().digest
    assert Plan.from_document(plan.to_document()) == plan


def test_the_evaluation_of_a_sampled_plan_asks_every_held_out_patient():
    evaluation = {"holdout_share": 0.2, "epsilon": 3.0, "bins": 8, "spare_attempts": 1}
    plan = read(payload(sampling=SAMPLED, evaluation=evaluation))
    assert plan.for_evaluation().sampling is None
    assert plan.for_evaluation().mu > plan.mu


@pytest.mark.parametrize(
    "changed",
    [
        {"rate": 0.0}, {"rate": 1.0}, {"rate": 1.5}, {"rate": -0.1}, {"noise_multiplier": 0.0},
        {"charged_mu": 0.0}, {"charged_mu": -1.0}, {"charged_mu": "0.28"}, {"seed": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_sampling_that_is_none_is_refused(changed):
    with pytest.raises(UsageError) as refused:
        read(payload(sampling={**SAMPLED, **changed}))
    assert refused.value.code == "TW1020"
