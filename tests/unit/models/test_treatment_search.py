"""A search says which plan copies agree on, and says nothing where they do not."""

import numpy as np
import pytest

from models.treatment_search import (
    GLUCOSE,
    require_may_be_searched,
    spread_to_hold,
    weigh,
)
from models.twin import AS_PLANNED, Scenario, Trajectories
from models.twins import get
from twinward.errors import TwinModelError

COPIES, STEPS = 200, 48


def level(value, *, spread=5.0, seed=0):
    """Copies that stay at about one level."""
    noise = np.random.default_rng(seed).standard_normal((COPIES, 1))
    return np.repeat(value + spread * noise, STEPS, axis=1)


def test_utility_is_time_in_range_less_three_times_the_time_below():
    course = np.array([60.0] * 12 + [100.0] * 24 + [200.0] * 12)
    assert GLUCOSE.utility(course) == pytest.approx(24 / 48 - 3 * 12 / 48)
    assert GLUCOSE.harmed(course)
    assert not GLUCOSE.harmed(np.full(STEPS, 70.0))


def test_a_plan_that_every_copy_fares_better_under_stands_out():
    found = weigh(["high", "in range"], np.stack([level(250), level(120)]), GLUCOSE)
    assert found.stands_out == "in range"
    high, good = found.plans
    assert (good.best, high.best) == (1.0, 0.0)
    assert good.gain == (1.0, 1.0, 1.0)
    assert good.harm == good.worse == 0.0


def test_it_abstains_where_copies_do_not_agree():
    found = weigh(["high", "lower"], np.stack([level(200), level(180, spread=30)]), GLUCOSE)
    assert found.stands_out is None
    assert "do not separate" in found.reason
    assert 0.3 < found.plans[1].best < 0.9


def test_plans_that_are_equally_good_share_the_copies_and_none_stands_out():
    found = weigh(["a", "b"], np.stack([level(120), level(125)]), GLUCOSE)
    assert found.stands_out is None
    assert [plan.best for plan in found.plans] == [0.5, 0.5]


def test_a_plan_that_leads_and_harms_more_copies_does_not_stand_out():
    better = level(120)
    better[:8, 0] = 65.0
    found = weigh(["high", "lower"], np.stack([level(250), better]), GLUCOSE)
    assert found.stands_out is None
    assert "harms more" in found.reason
    assert found.plans[1].harm == pytest.approx(0.04)


def test_a_few_copies_are_no_evidence():
    courses = np.stack([level(250)[:20], level(120)[:20]])
    assert "too few" in weigh(["high", "in range"], courses, GLUCOSE).reason


def trajectories(samples):
    return Trajectories("glucose", np.arange(STEPS) * 5.0, samples, samples.std(axis=1) + 5.0)


def test_copies_are_spread_until_their_interval_is_the_calibrated_one():
    told = trajectories(np.stack([level(150, spread=8, seed=3), level(110, spread=8, seed=4)]))
    reach = np.full(STEPS, 4.0)
    spread = spread_to_hold(told, reach)
    half = np.diff(np.percentile(spread[0], [5, 95], axis=0), axis=0)[0] / 2
    np.testing.assert_allclose(half, reach * told.scale[0], rtol=0.12)
    np.testing.assert_allclose(spread.mean(axis=1), told.samples.mean(axis=1))
    effect = told.samples[1] - told.samples[0]
    np.testing.assert_allclose(spread[1] - spread[0], effect)


def test_copies_are_never_moved_closer():
    told = trajectories(np.stack([level(150), level(110)]))
    np.testing.assert_allclose(spread_to_hold(told, np.zeros(STEPS)), told.samples)


def test_before_calibration_knows_anything_nothing_stands_out():
    told = trajectories(np.stack([level(250), level(120)]))
    courses = spread_to_hold(told, np.full(STEPS, np.inf))
    found = weigh(["high", "in range"], courses, GLUCOSE)
    assert found.stands_out is None
    assert "too little is known" in found.reason


@pytest.mark.parametrize("plans", [(AS_PLANNED,), (AS_PLANNED, AS_PLANNED)])
def test_one_plan_or_the_same_twice_is_no_search(plans):
    with pytest.raises(TwinModelError) as refusal:
        require_may_be_searched(get("glucose/1").spec, plans, horizon_minutes=240)
    assert refusal.value.code == "TW7140"


def test_a_plan_that_the_twin_cannot_be_asked_about_is_refused():
    plans = (AS_PLANNED, Scenario("aspirin", ((0, "aspirin", 1.0),)))
    with pytest.raises(TwinModelError) as refusal:
        require_may_be_searched(get("glucose/1").spec, plans, horizon_minutes=240)
    assert refusal.value.code == "TW7111"
