"""The evaluation in a plan: read strictly, priced apart, and summed under its own name."""

from dataclasses import replace

import pytest

from hospital_node.policy import require
from hospital_node.policy_rules import Asked, Moment
from hospital_node.policy_terms import SitePolicy, StudyPolicy
from models.cardiac_risk import recipe
from server import studies
from twinward import gdp
from twinward.errors import TrainingError, UsageError
from twinward.plan import Evaluation, Plan, evaluation_run
from twinward.signing import Document


def made(evaluation=recipe.EVALUATION):
    return recipe.plan(
        network="0" * 64, study="heart-risk", sites=("bern", "chur", "genf"), divisor=600,
        purpose="heart-research", grades=("signed-on-device",), evaluation=evaluation,
    )  # fmt: skip


def changed(**fields):
    document = made().to_document()
    evaluation = {**document.payload["evaluation"], **fields}
    return Document(document.kind, {**document.payload, "evaluation": evaluation})


def test_a_plan_comes_back_with_its_evaluation():
    for evaluation in (recipe.EVALUATION, None):
        plan = made(evaluation)
        again = Plan.from_document(plan.to_document())
        assert again == plan
        assert again.digest == plan.digest
        assert again.holdout_share == (0.2 if evaluation else 0.0)


@pytest.mark.parametrize(
    "fields",
    [
        {"holdout_share": 0.0}, {"holdout_share": 0.6}, {"holdout_share": -0.1}, {"epsilon": 0.0},
        {"epsilon": 21.0}, {"bins": 1}, {"bins": 65}, {"spare_attempts": -1}, {"more": 1},
    ],
)  # fmt: skip
def test_an_evaluation_that_is_none_is_refused(fields):
    with pytest.raises(UsageError) as refused:
        Plan.from_document(changed(**fields))
    assert refused.value.code == "TW1020"


def test_its_price_is_its_own_and_covers_every_attempt():
    numbers = made().for_evaluation()
    assert numbers.attempts == 2
    assert numbers.dimension == 16
    assert numbers.mu2_per_attempt * 2 == pytest.approx(gdp.mu_of(3.0, 1e-5) ** 2)
    assert numbers.noise_multiplier == pytest.approx(2**0.5 / gdp.mu_of(3.0, 1e-5))
    assert numbers.max_abs_sum > 3 * 4096 * 65536  # every patient of every hospital in one bin
    assert made().mu2_per_attempt == made(None).mu2_per_attempt


def test_a_plan_without_evaluation_has_no_numbers_for_one():
    with pytest.raises(ValueError, match="no evaluation"):
        made(None).for_evaluation()


def test_evaluations_of_two_runs_have_two_names_that_are_no_runs():
    runs = [bytes([i]) * 32 for i in range(3)]
    names = {evaluation_run(run) for run in runs}
    assert len(names | set(runs)) == 6
    assert all(len(name) == 32 for name in names)


def test_a_hospital_refuses_an_evaluation_beyond_its_own_limit():
    def ask(plan, **limits):
        study = StudyPolicy(
            study="heart-risk", models=("cardiac_risk/1",), purposes=("heart-research",), **limits
        )
        require(SitePolicy(studies=(study,)), Asked(plan, "bern", 0.0), at=Moment.PLAN)

    ask(made())
    ask(made(None), max_evaluation_epsilon=0.0)
    with pytest.raises(TrainingError) as refused:
        ask(made(), max_evaluation_epsilon=2.9)
    assert refused.value.code == "TW6003"
    assert "max_evaluation_epsilon" in str(refused.value)


@pytest.mark.parametrize(
    ("asked", "share", "epsilon", "divisor"),
    [
        ({}, 0.2, 3.0, 720),
        ({"holdout_share": 0.0}, 0.0, None, 900),
        ({"holdout_share": 0.5, "evaluation_epsilon": 1.0}, 0.5, 1.0, 450),
    ],
)
def test_a_study_divides_by_who_is_expected_to_be_trained_on(asked, share, epsilon, divisor):
    from tests.simulators.finished_run import HOSPITALS, found
    from twinward.signing import Identity

    founding = found({org: Identity.generate() for org in ("coordinator", *HOSPITALS)})
    _, plan = studies.make(
        studies.template("heart-risk"), name="heart-risk", founding=founding, epsilon=1.0,
        slot_seconds=0.1, expected_patients=None, now=0.0, **asked,
    )  # fmt: skip
    assert plan.holdout_share == share
    assert (plan.evaluation and plan.evaluation.epsilon) == epsilon
    assert plan.divisor == divisor


def test_a_plan_accepts_the_grades_of_consent_that_it_is_told_and_by_itself_signatures_only():
    from tests.simulators.finished_run import HOSPITALS, found
    from twinward.signing import Identity

    founding = found({org: Identity.generate() for org in ("coordinator", *HOSPITALS)})

    def grades(**asked):
        return studies.make(
            studies.template("heart-risk"), name="heart-risk", founding=founding, epsilon=1.0,
            slot_seconds=0.1, expected_patients=None, now=0.0, **asked,
        )[1].grades  # fmt: skip

    assert grades() == ("signed-on-device",)
    both = ("staff-attested", "signed-on-device", "staff-attested")
    assert grades(grades=both) == ("signed-on-device", "staff-attested")


def test_a_word_too_small_for_the_histogram_is_refused_with_the_plan():
    plan = replace(made(), word_bits=32, max_patients_per_hospital=20_000)
    with pytest.raises(UsageError):
        plan.require_consistent()
    assert isinstance(plan.evaluation, Evaluation)
