"""Priors of twins as what a network trains: bounded, each row of one patient alone, one release."""

import numpy as np
import pytest

from models import prior_recipe, registry, twins
from models.baseline import made_up
from models.baseline.twin import usual_of
from models.census.stays import observed
from models.glucose import prior, virtual_diary
from models.twin import Series
from twinward import descent
from twinward.errors import TwinModelError

AGREED = {
    "network": "00" * 32, "study": "glucose-prior", "purpose": "diabetes-research",
    "sites": ("harbour", "meadow", "summit", "station"), "grades": ("signed-on-device",),
}  # fmt: skip
NAMES = (
    "glucose_prior/1", "glucose_forecast_step/1", "vitals_start/1", "wellness_start/1",
    "ward_counts/1",
)  # fmt: skip


@pytest.fixture(scope="module")
def diaries():
    return virtual_diary.examples(people=4, days=2, seed=3)


@pytest.fixture
def histories(name, diaries):
    """Four patients of this prior's twin; there are more than 400 rows of each but admissions."""
    if name == "ward_counts/1":
        return [
            observed(np.arange(4.0) * 9000 + at, np.arange(4.0) * 9000 + 4000) for at in range(4)
        ]
    if name in {"vitals_start/1", "wellness_start/1"}:
        twin = twins.get(registry.prior(name).twin)
        people = made_up.region(twin, 1)
        return [made_up.patient(twin, people, days=20, seed=seed) for seed in range(4)]
    return diaries


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
    short = part(histories[0], 1 if name == "ward_counts/1" else 11)
    found = registry.prior(name).vectors([nothing, short, histories[0]])
    assert not found[:2].any()
    assert found[2].any()


@pytest.mark.parametrize("name", NAMES)
def test_one_step_ends_at_the_mean_and_no_second_attempt_is_charged(name):
    plan = prior_recipe.plan(prior=registry.prior(name), divisor=200, **AGREED)
    assert (plan.attempts, plan.evaluation, plan.max_grad_norm) == (
        1, None, registry.prior(name).length,
    )  # fmt: skip
    vectors = np.random.default_rng(1).standard_normal((200, plan.dimension)) / 100
    gradients = np.rint((plan.start - vectors) / plan.grid).astype(np.int64)
    (found,) = descent.follow(plan, [gradients.sum(axis=0)])
    np.testing.assert_allclose(descent.release(plan, [found]), vectors.mean(axis=0), atol=1e-5)


def test_the_released_numbers_are_the_twin_s_population(diaries):
    model = registry.prior("glucose_prior/1")
    weights = model.vectors(diaries).mean(axis=0)
    found = model.population(weights, noise_variance=0.1, divisor=40)
    known = prior.learnt(weights, noise_variance=0.1)
    np.testing.assert_array_equal(found["mean"], known.mean)
    assert (np.diag(found["covariance"]) > np.diag(prior.TIGHT.covariance)).all()


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"divisor": 23}, "TW7138"),
        ({"divisor": 47, "prior": registry.prior("vitals_start/1")}, "TW7138"),
        ({"divisor": 40, "epsilon": 0.5}, "TW7138"),
        ({"divisor": 40, "evaluation": prior_recipe.Evaluation(0.2, 3.0, 8, 1)}, "TW7135"),
    ],
)
def test_a_prior_that_would_be_noise_or_is_to_be_scored_makes_no_plan(changed, code):
    with pytest.raises(TwinModelError) as refusal:
        prior_recipe.plan(**{"prior": registry.prior(NAMES[0]), **AGREED, **changed})
    assert refusal.value.code == code


def test_a_prior_is_no_model_of_risk():
    with pytest.raises(TwinModelError) as refusal:
        registry.risk("glucose_prior/1")
    assert refusal.value.code == "TW7135"
    assert registry.get("glucose_prior/1").kind == "prior"


@pytest.mark.parametrize("name", ["vitals_start/1", "wellness_start/1"])
def test_what_is_usual_of_a_region_is_learnt_from_many_and_not_from_noise(name):
    model = registry.prior(name)
    twin = twins.get(model.twin)
    people, textbook = made_up.region(twin, 3), usual_of(twin.population())
    step = twin.spec.step_minutes
    many = [
        made_up.patient(twin, people, days=step / 40, seed=seed, step_minutes=step)
        for seed in range(300)
    ]
    exact = usual_of(
        model.population(model.vectors(many).mean(axis=0), noise_variance=0.0, divisor=300)
    )
    off = (exact.mean - people.mean) / people.between
    assert np.abs(off).max() < 0.25
    assert np.abs((textbook.mean - people.mean) / people.between).max() > 0.5
    assert np.abs(np.log(exact.within / people.within)).max() < 0.15
    assert np.abs(np.log(exact.between / people.between)).max() < 0.3
    # The same numbers under noise that outweighs them move nothing.
    drowned = usual_of(
        model.population(model.vectors(many).mean(axis=0), noise_variance=1e4, divisor=300)
    )
    np.testing.assert_allclose(drowned.mean, textbook.mean, atol=0.05 * textbook.between.max())
    np.testing.assert_array_equal(exact.drift, textbook.drift)


@pytest.mark.parametrize("name", ["vitals_start/1", "wellness_start/1"])
def test_noise_alone_cannot_make_a_baseline_that_nobody_could_have(name):
    model = registry.prior(name)
    twin = twins.get(model.twin)
    for seed in range(50):
        noise = np.random.default_rng(seed).normal(0, 3.0, model.start({}).size)
        found = usual_of(model.population(noise, noise_variance=9.0, divisor=48))
        low = np.array([each.low for each in twin.spec.inputs])
        high = np.array([each.high for each in twin.spec.inputs])
        assert ((found.mean >= low) & (found.mean <= high)).all()
        textbook = usual_of(twin.population())
        assert (np.abs(found.mean - textbook.mean) < 1.5 * textbook.between).all()
        assert (found.between > 0).all()
        assert (found.within > 0).all()
