"""Figures of a validation: right where the truth is known, silent where too few stand behind."""

import numpy as np
import pytest

from models import coverage, evaluation, validation
from models.calibration import FEWEST
from models.twin import Replay


def patients(count, *, slope=1.0, intercept=0.0, seed=1):
    generator = np.random.default_rng(seed)
    logit = generator.normal(0, 1.5, count)
    truth = 1 / (1 + np.exp(-(intercept + slope * logit)))
    labels = (generator.random(count) < truth).astype(float)
    return 1 / (1 + np.exp(-logit)), labels


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, 0.7)])
def test_the_calibration_slope_is_found(slope, intercept):
    found = validation.recalibration(*patients(20_000, slope=slope, intercept=intercept))
    for figure, truth in zip(found, (intercept, slope), strict=True):
        assert figure.low < truth < figure.high
        assert figure.high - figure.low < 0.15


def test_the_interval_of_the_slope_holds_as_often_as_it_says():
    inside = 0
    for seed in range(300):
        _, slope = validation.recalibration(*patients(250, seed=seed))
        inside += slope.low <= 1 <= slope.high
    assert 0.91 < inside / 300 <= 1


def test_nothing_is_said_of_fewer_than_ten_of_a_class_or_of_classes_that_scores_separate():
    scores, labels = patients(400)
    few = np.concatenate([np.flatnonzero(labels == 1)[:9], np.flatnonzero(labels == 0)])
    assert validation.recalibration(scores[few], labels[few]) is None
    assert validation.auroc_difference(scores[few], scores[few], labels[few]) is None
    assert validation.too_high(scores[:9], labels[:9]) is None
    apart = np.concatenate([np.full(20, 0.2), np.full(20, 0.8)])
    assert validation.recalibration(apart, np.repeat([0.0, 1.0], 20)) is None


def test_the_difference_of_two_models_is_that_of_their_aurocs_with_its_interval():
    scores, labels = patients(300)
    generator = np.random.default_rng(2)
    worse = scores + generator.normal(0, 0.3, scores.size)
    found = validation.auroc_difference(scores, worse, labels)
    aurocs = [evaluation.auroc(each, labels) for each in (scores, worse)]
    assert found.value == pytest.approx(aurocs[0] - aurocs[1])
    draws = []
    for _ in range(400):
        rows = generator.integers(0, labels.size, labels.size)
        ones = [evaluation.auroc(each[rows], labels[rows]) for each in (scores, worse)]
        draws.append(ones[0] - ones[1])
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(np.std(draws), rel=0.2)


def test_each_patient_is_in_at_most_one_group_of_each_kind():
    columns = {
        "age": np.array([20.0, 49.9, 50, 64, 65, np.nan]),
        "sex": np.array([0, 1, 1, 0, np.nan, 1.0]),
    }
    groups = dict(validation.groups(columns))
    assert [int(mask.sum()) for mask in groups.values()] == [2, 3, 2, 2, 1]
    assert not groups["women"][4]
    assert list(validation.groups({"chol": np.ones(3)})) == []


def test_the_same_patients_have_not_changed_and_older_ones_have():
    generator = np.random.default_rng(3)
    ages = generator.normal(55, 9, 200)
    borders = validation.borders_of(ages)
    before = validation.histogram(ages, borders)
    assert validation.same_share(before, before) == 1
    older = validation.histogram(ages + 12, borders)
    assert validation.same_share(before, older) < 1e-6
    missing = validation.histogram(np.where(generator.random(200) < 0.4, np.nan, ages), borders)
    assert validation.same_share(before, missing) < 1e-6
    few = validation.histogram(ages[:3], borders)
    assert validation.same_share(few, few) is None


def test_other_patients_like_these_are_called_changed_as_seldom_as_promised():
    generator = np.random.default_rng(4)
    called = 0
    for _ in range(400):
        first, second = generator.normal(size=(2, 120))
        borders = validation.borders_of(first)
        chance = validation.same_share(
            validation.histogram(first, borders), validation.histogram(second, borders)
        )
        called += chance < 0.05
    assert called / 400 < 0.09


def past(errors):
    rows = np.arange(float(len(errors)))
    zeros = np.zeros(len(errors))
    return Replay(rows, zeros, zeros + 1, np.array(errors, dtype=float), zeros)


def test_an_interval_uses_only_outcomes_that_were_known_when_it_was_given():
    """The errors jump at one moment: for as long as the horizon nothing can know it."""
    generator = np.random.default_rng(5)
    errors = np.concatenate([generator.normal(0, 1, 300), generator.normal(0, 50, 60)])
    ahead = 20
    held = coverage.held(past(errors), horizon_minutes=ahead)
    assert np.isnan(held[: FEWEST + ahead - 1]).all()
    assert np.nanmean(held[100:300]) == pytest.approx(0.9, abs=0.06)
    assert held[300 : 300 + ahead].mean() < 0.2
    assert np.isnan(coverage.held(past([np.nan] * 50), horizon_minutes=1)).all()


def test_the_share_of_people_has_an_interval_that_counts_people_and_not_readings():
    generator = np.random.default_rng(6)
    everyone = [(generator.random(500) < p).astype(float) for p in (0.8, 0.85, 0.95, 0.99)]
    middle, low, high, count = coverage.share(everyone)
    assert count == 2000
    assert middle == pytest.approx(0.9, abs=0.02)
    assert high - low > 4 * np.sqrt(0.09 / 2000)
    assert np.isnan(coverage.share(everyone[:1])[1])
    assert coverage.share([np.full(3, np.nan)])[3] == 0
