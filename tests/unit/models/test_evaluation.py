"""Figures from counts: right where they can be checked by hand, silent where too few stand behind.

Chance comes from numpy here: these are made-up scores, and the noise only has to be normal.
"""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models import evaluation
from models.evaluation import Counts
from twinward.errors import TrainingError


def patients(number, *, seed=0, spread=1.2):
    """Scores and labels of a model that ranks well and says true probabilities."""
    rng = np.random.default_rng(seed)
    scores = 1 / (1 + np.exp(-spread * 1.5 * rng.normal(size=number)))
    return scores, (rng.random(number) < scores).astype(float)


def test_the_exact_auroc_is_that_of_the_textbook():
    scores, labels = patients(500)
    scores = np.round(scores, 2)  # with ties
    assert evaluation.auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
    exact = evaluation.auroc_of(evaluation.ranked(scores, labels))
    assert exact.estimate.value == pytest.approx(roc_auc_score(labels, scores))


def test_the_sampling_interval_is_delongs():
    """Against the pairwise definition of DeLong et al., written out."""
    scores, labels = patients(60, seed=4)
    ill, well = scores[labels == 1], scores[labels == 0]
    wins = (ill[:, None] > well).astype(float) + 0.5 * (ill[:, None] == well)
    variance = wins.mean(1).var(ddof=1) / ill.size + wins.mean(0).var(ddof=1) / well.size
    found = evaluation.auroc_of(evaluation.ranked(scores, labels)).estimate
    assert found.sampling_sd == pytest.approx(math.sqrt(variance), rel=1e-9)
    assert found.noise_sd == 0
    half = 1.959964 * found.sampling_sd
    assert found.high == pytest.approx(min(1.0, found.value + half))
    assert found.low == pytest.approx(found.value - half)


def test_every_patient_is_one_count_in_one_place():
    scores = np.array([0.0, 0.12, 0.125, 0.99, 1.0, np.nan, 0.5, 0.5, -0.1, 1.1])
    labels = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, np.nan, 2.0, 1.0, 1.0])
    counts = evaluation.binned(scores, labels, bins=8)
    assert counts.ill.tolist() == [1, 1, 0, 0, 0, 0, 0, 1]
    assert counts.well.tolist() == [1, 0, 0, 0, 0, 0, 0, 1]
    again = evaluation.from_vector(evaluation.to_vector(counts), noise_sd=0.0)
    assert np.array_equal(again.ill, counts.ill)
    assert np.array_equal(again.well, counts.well)


@pytest.mark.parametrize("bins", [2, 8, 64])
def test_binning_moves_the_auroc_by_no_more_than_it_says(bins):
    scores, labels = patients(800, seed=2)
    exact = evaluation.auroc(scores, labels)
    found = evaluation.auroc_of(evaluation.binned(scores, labels, bins=bins))
    assert abs(found.estimate.value - exact) <= found.tied
    assert found.estimate.value < exact


def test_the_stated_noise_is_the_noise_that_is_seen():
    scores, labels = patients(313, seed=1)
    exact = evaluation.binned(scores, labels, bins=8)
    rng = np.random.default_rng(5)
    seen, stated, inside = [], [], 0
    for _ in range(2000):
        noise = rng.normal(0, 2.3, 16)
        noised = evaluation.from_vector(evaluation.to_vector(exact) + noise, noise_sd=2.3)
        found = evaluation.auroc_of(noised).estimate
        seen.append(found.value)
        stated.append(found.noise_sd)
        inside += abs(found.value - evaluation.auroc_of(exact).estimate.value) < 1.96 * stated[-1]
    assert np.mean(stated) == pytest.approx(np.std(seen), rel=0.1)
    assert 0.93 < inside / 2000 < 0.98
    # Noise is not cut at zero, so it does not push the figure to either side.
    bias = np.mean(seen) - evaluation.auroc_of(exact).estimate.value
    assert abs(bias) < 0.2 * np.std(seen)


def test_intervals_hold_both_noise_and_chance():
    """Over fresh patients and fresh noise, the true AUROC of the bins is inside 95 times of 100."""
    big = evaluation.binned(*patients(400_000, seed=9), bins=8)
    truth = evaluation.auroc_of(big).estimate.value
    rng, inside = np.random.default_rng(6), 0
    for seed in range(600):
        exact = evaluation.binned(*patients(300, seed=100 + seed), bins=8)
        vector = evaluation.to_vector(exact) + rng.normal(0, 2.0, 16)
        found = evaluation.auroc_of(evaluation.from_vector(vector, noise_sd=2.0)).estimate
        inside += found.low <= truth <= found.high
    assert 0.92 < inside / 600 < 0.98


def test_roc_and_calibration_of_exact_counts_are_plain_shares():
    counts = Counts(np.array([2.0, 8.0, 30.0]), np.array([40.0, 12.0, 8.0]))
    points = evaluation.roc(counts)
    assert [p.threshold for p in points] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert [p.sensitivity.value for p in points] == pytest.approx([1, 38 / 40, 30 / 40, 0])
    assert [p.false_alarms.value for p in points] == pytest.approx([1, 20 / 60, 8 / 60, 0])
    parts = evaluation.calibration(counts)
    assert [p.observed.value for p in parts] == pytest.approx([2 / 42, 8 / 20, 30 / 38])
    assert [p.predicted for p in parts] == pytest.approx([1 / 6, 1 / 2, 5 / 6])
    assert all(p.observed.low < p.observed.value < p.observed.high for p in parts)


def test_intervals_stay_inside_what_a_share_can_be():
    counts = Counts(np.array([0.0, 40.0]), np.array([40.0, 0.0]), noise_sd=3.0)
    for point in evaluation.roc(counts):
        for share in (point.sensitivity, point.false_alarms):
            assert 0 <= share.low <= share.value <= share.high <= 1


@pytest.mark.parametrize(
    ("ill", "noise_sd", "shown"), [(9, 0.0, False), (10, 0.0, True), (10, 2.0, False)]
)
def test_a_class_of_fewer_than_ten_is_not_shown(ill, noise_sd, shown):
    """With noise, ten must stand out of it."""
    counts = Counts(np.array([0.0, float(ill)]), np.array([30.0, 5.0]), noise_sd)
    assert (evaluation.auroc_of(counts) is not None) == shown
    assert bool(evaluation.roc(counts)) == shown
    said = evaluation.as_json(counts)
    assert (said["auroc"] is not None) == shown


def test_neighbouring_bins_are_joined_until_ten_patients_are_together():
    counts = Counts(np.array([3.0, 1.0, 2.0, 60.0, 2.0]), np.array([5.0, 2.0, 4.0, 10.0, 1.0]))
    parts = evaluation.calibration(counts)
    assert [(round(p.low, 3), round(p.high, 3)) for p in parts] == [(0, 0.4), (0.4, 1.0)]
    assert parts[0].observed.value == pytest.approx(4 / 11)
    assert parts[0].predicted == pytest.approx((8 * 0.1 + 3 * 0.3) / 11)
    assert parts[1].observed.value == pytest.approx(64 / 79)


def test_with_noise_more_bins_are_joined_and_intervals_still_hold_the_truth():
    """The truth of a joined part is what a hundred thousand patients show there."""
    scores, labels = patients(100_000, seed=8)
    rng, inside, shown = np.random.default_rng(3), 0, 0
    for seed in range(200):
        exact = evaluation.to_vector(evaluation.binned(*patients(200, seed=seed), bins=8))
        noised = evaluation.from_vector(exact + rng.normal(0, 4.0, 16), noise_sd=4.0)
        parts = evaluation.calibration(noised)
        assert len(parts) >= 2
        assert [p.low for p in parts[1:]] == [p.high for p in parts[:-1]]
        for part in parts:
            assert part.low <= part.predicted <= part.high
            truth = labels[(scores >= part.low) & (scores < part.high)].mean()
            inside += part.observed.low <= truth <= part.observed.high
            shown += 1
    assert shown / 200 < 7  # of eight bins without noise
    assert inside / shown > 0.93


def test_nothing_is_shown_of_too_few():
    few = Counts(np.array([3.0, 2.0]), np.array([1.0, 2.0]))
    assert [p.observed for p in evaluation.calibration(few)] == [None]


@pytest.mark.parametrize(
    "rows",
    [
        (np.zeros(3), np.zeros(4)),
        (np.zeros(0), np.zeros(0)),
        (np.array([np.nan]), np.zeros(1)),
        (np.zeros((2, 2)), np.zeros((2, 2))),
    ],
)
def test_what_is_no_row_of_counts_is_refused(rows):
    with pytest.raises(TrainingError) as refused:
        Counts(*rows)
    assert refused.value.code == "TW6410"


def test_nothing_in_the_figures_is_not_a_number():
    counts = Counts(np.array([-3.0, 60.0]), np.array([50.0, -2.0]), 2.0)

    def numbers(value):
        if isinstance(value, dict):
            value = list(value.values())
        return [n for v in value for n in numbers(v)] if isinstance(value, list) else [value]

    assert all(n is None or math.isfinite(n) for n in numbers(evaluation.as_json(counts)))
