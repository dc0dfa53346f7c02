"""What a hospital's twins start from: a release that helps here, the centre's own layer, or not."""

import numpy as np
import pytest

from hospital_node.twins import deployment
from hospital_node.twins.released import Released
from hospital_node.twins.store import TwinStore
from models import registry, twins
from models.glucose import virtual_diary
from models.twin import Series
from twinward.errors import TwinModelError

FORECAST, GLUCOSE = "glucose-forecast/1", "glucose/1"


@pytest.fixture(scope="module")
def histories():
    return virtual_diary.examples(people=4, days=3, seed=11)


@pytest.fixture
def store(tmp_path):
    store = TwinStore(tmp_path / "twins.sqlite", key=bytes(32))
    yield store
    store.close()


def released(twin, weights):
    prior = registry.prior_of(twin)
    population = prior.population(weights, noise_variance=1e-6, divisor=40)
    return Released(prior, "ab" * 32, population, noise_sd=1e-3, epsilon=1.0)


def of_these(histories):
    """The step that these patients themselves would take: it helps them if anything does."""
    return registry.prior_of(FORECAST).vectors(histories).mean(axis=0)


def refused(call, code):
    with pytest.raises(TwinModelError) as refusal:
        call()
    assert refusal.value.code == code


def test_before_anything_is_taken_over_twins_start_from_what_is_public(store):
    twin = twins.get(GLUCOSE)
    label, arrays = deployment.start(store.populations, twin)
    assert label == "public"
    np.testing.assert_array_equal(arrays["mean"], twin.population()["mean"])


def test_a_released_prior_is_what_new_twins_start_from_and_old_ones_keep_theirs(store):
    twin = twins.get(GLUCOSE)
    first, second = (released(GLUCOSE, np.full(7, each)) for each in (0.1, 0.2))
    labels = []
    for each in (first, second):
        deployment.take_over(store.populations, each)
        assert deployment.deploy(store.populations, GLUCOSE, []).private
        label, arrays = deployment.start(store.populations, twin)
        np.testing.assert_array_equal(arrays["mean"], each.population["mean"])
        labels.append(label)
    assert labels[0] != labels[1]
    known = deployment.named(store.populations, twin, labels[0])
    np.testing.assert_array_equal(known["mean"], first.population["mean"])


def test_a_step_that_helps_this_centre_is_kept_and_one_that_does_not_is_not(store, histories):
    public = deployment.deploy(store.populations, FORECAST, histories)
    assert not public.private
    step = of_these(histories)
    for weights, kept in ((step, True), (-20 * step, False)):
        deployment.take_over(store.populations, released(FORECAST, weights))
        assert deployment.deploy(store.populations, FORECAST, histories).private is kept
        label, _ = deployment.start(store.populations, twins.get(FORECAST))
        assert label.startswith("abab" if kept else "public+")


def test_the_centre_s_own_layer_is_in_what_its_forecasters_start_from(store, histories):
    made = deployment.deploy(store.populations, FORECAST, histories)
    assert made.figures["people"] == 4
    assert made.figures["error_over_stays_60_min"] < 1
    _, start = deployment.start(store.populations, twins.get(FORECAST))
    assert np.abs(start["weights"] - twins.get(FORECAST).population()["weights"]).max() > 0.01


def test_where_nothing_can_be_forecast_the_forecaster_is_no_longer_used(store, histories):
    deployment.deploy(store.populations, FORECAST, histories)
    generator = np.random.default_rng(2)
    minutes = np.arange(0.0, 3 * 1440, 15)
    walks = [
        np.clip(140 + np.cumsum(generator.choice([-6.0, 6.0], minutes.size)), 60, 300)
        for _ in range(4)
    ]
    chance = [Series(minutes, {"glucose": walk}) for walk in walks]
    refused(lambda: deployment.deploy(store.populations, FORECAST, chance), "TW7139")
    refused(lambda: deployment.start(store.populations, twins.get(FORECAST)), "TW7139")
    deployment.deploy(store.populations, FORECAST, histories)
    assert deployment.start(store.populations, twins.get(FORECAST))[0].startswith("public+")


def test_too_few_patients_leave_everything_as_it_is(store, histories):
    deployment.take_over(store.populations, released(FORECAST, of_these(histories)))
    refused(lambda: deployment.deploy(store.populations, FORECAST, histories[:2]), "TW7186")
    assert deployment.start(store.populations, twins.get(FORECAST))[0] == "public"


def test_a_twin_that_nobody_can_teach_is_not_deployed(store):
    refused(lambda: deployment.deploy(store.populations, "haemodynamic/1", []), "TW7189")
