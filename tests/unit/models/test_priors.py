"""Priors of twins as what a network trains: bounded, each row of one patient alone, one release."""

import numpy as np
import pytest

from models import prior_recipe, registry
from models.glucose import prior, virtual_diary
from models.twin import Series
from twinward import descent
from twinward.errors import TwinModelError

AGREED = {
    "network": "00" * 32, "study": "glucose-prior", "purpose": "diabetes-research",
    "sites": ("harbour", "meadow", "summit", "station"), "grades": ("signed-on-device",),
}  # fmt: skip
NAMES = ("glucose_prior/1", "glucose_forecast_step/1")


@pytest.fixture(scope="module")
def histories():
    return virtual_diary.examples(people=4, days=2, seed=3)


def part(series, rows):
    return Series(series.minutes[:rows], {n: c[:rows] for n, c in series.values.items()})


@pytest.mark.parametrize("name", NAMES)
def test_what_a_patient_says_is_bounded_and_depends_on_nobody_else(name, histories):
    model = registry.prior(name)
    together = model.vectors(histories)
    assert together.shape == (4, model.start({}).size)
    assert (np.linalg.norm(together, axis=1) <= model.length * (1 + 1e-12)).all()
    assert np.linalg.norm(together, axis=1).min() > 0
    others = [part(each, 400) for each in histories[:3]]
    np.testing.assert_array_equal(model.vectors([*others, histories[3]])[3], together[3])
    np.testing.assert_array_equal(model.vectors(histories[:1])[0], together[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_patient_without_anything_to_learn_from_says_nothing(name, histories):
    nothing = Series(np.arange(400.0) * 5, {"glucose": np.full(400, np.nan)})
    found = registry.prior(name).vectors([nothing, part(histories[0], 20), histories[0]])
    assert not found[:2].any()
    assert found[2].any()


@pytest.mark.parametrize("name", NAMES)
def test_one_step_ends_at_the_mean_and_no_second_attempt_is_charged(name):
    plan = prior_recipe.plan(prior=registry.prior(name), divisor=40, **AGREED)
    assert (plan.attempts, plan.evaluation, plan.max_grad_norm) == (
        1, None, registry.prior(name).length,
    )  # fmt: skip
    vectors = np.random.default_rng(1).standard_normal((40, plan.dimension)) / 100
    gradients = np.rint((plan.start - vectors) / plan.grid).astype(np.int64)
    (found,) = descent.follow(plan, [gradients.sum(axis=0)])
    np.testing.assert_allclose(descent.release(plan, [found]), vectors.mean(axis=0), atol=1e-5)


def test_the_released_numbers_are_the_twin_s_population(histories):
    model = registry.prior("glucose_prior/1")
    weights = model.vectors(histories).mean(axis=0)
    found = model.population(weights, noise_variance=0.1)
    known = prior.learnt(weights, noise_variance=0.1)
    np.testing.assert_array_equal(found["mean"], known.mean)
    assert (np.diag(found["covariance"]) > np.diag(prior.TIGHT.covariance)).all()


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"divisor": 23}, "TW7138"),
        ({"divisor": 40, "epsilon": 0.5}, "TW7138"),
        ({"divisor": 40, "evaluation": prior_recipe.Evaluation(0.2, 3.0, 8, 1)}, "TW7135"),
    ],
)
def test_a_prior_that_would_be_noise_or_is_to_be_scored_makes_no_plan(changed, code):
    with pytest.raises(TwinModelError) as refusal:
        prior_recipe.plan(prior=registry.prior(NAMES[0]), **AGREED, **changed)
    assert refusal.value.code == code


def test_a_prior_is_no_model_of_risk():
    with pytest.raises(TwinModelError) as refusal:
        registry.risk("glucose_prior/1")
    assert refusal.value.code == "TW7135"
    assert registry.get("glucose_prior/1").kind == "prior"
