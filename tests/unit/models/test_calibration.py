"""Intervals hold as often as they promise, also when everything changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration import FEWEST, RATE, Calibration, replay


def test_there_is_no_interval_before_enough_was_seen():
    calibration = replay(np.ones(FEWEST - 1))
    low, high = calibration.interval(np.array([100.0]), np.array([5.0]))
    assert low[0] == -np.inf
    assert high[0] == np.inf
    assert np.isnan(calibration.coverage)


def test_a_forecast_that_became_four_times_worse_is_covered_again():
    generator = np.random.default_rng(1)
    scores = np.abs(generator.standard_normal(6000))
    scores[2000:] *= 4
    after_change = replay(scores[:2300])
    late = after_change
    for score in scores[2300:]:
        late = late.after(score)
    inside = (late.inside - after_change.inside) / (late.seen - after_change.seen)
    assert inside == pytest.approx(0.9, abs=0.01)
    assert late.reach > 3 * replay(scores[:2000]).reach


@given(
    scores=st.lists(st.floats(0, 1e6), min_size=FEWEST + 200, max_size=FEWEST + 400),
    target=st.sampled_from([0.5, 0.8, 0.9]),
)
@settings(max_examples=15, deadline=None)
def test_the_share_is_near_its_target_for_any_scores_whatever(scores, target):
    """The theorem of the paper: the error is at most (max(level) + rate) / (rate * n)."""
    calibration = replay(np.array(scores), target=target)
    bound = (max(target, 1 - target) + RATE) / (RATE * calibration.seen)
    assert abs(calibration.coverage - target) <= bound + 1e-9


def test_a_score_that_is_no_number_changes_nothing():
    calibration = replay(np.ones(50))
    assert calibration.after(np.nan) is calibration


def test_the_share_is_exchangeable_from_the_first_interval_on():
    generator = np.random.default_rng(4)
    inside = [
        Calibration(scores=tuple(past)).reach >= new
        for past, new in zip(
            np.abs(generator.standard_normal((2000, FEWEST))),
            np.abs(generator.standard_normal(2000)),
            strict=True,
        )
    ]
    assert np.mean(inside) == pytest.approx(0.9, abs=0.025)
