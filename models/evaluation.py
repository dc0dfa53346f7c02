"""How well a risk model ranks and how true its probabilities are, from counts alone.

Everything is computed from two rows of numbers: how many ill and how many well patients have a
score in each bin, in order of the score. The counts may carry noise of a known standard deviation
(the pooled evaluation of a run) or none (a hospital's report on its own patients, a public
reference). Arithmetic only: whoever has the counts gets the same figures.

What the figures say of themselves: ``noise_sd`` is the standard deviation that the privacy noise
gives them, ``sampling_sd`` the one that comes from having measured on these patients and not on
all; intervals are 95 %, for both together. Two patients in one bin count half for the AUROC, as
if the model could not tell them apart, so a binned AUROC is at most ``tied`` away from the exact
one and, for a model that ranks within bins too, below it.

Sources: DeLong et al. 1988 (doi:10.2307/2531595) for the sampling variance; the rest by the delta
method. Counts with noise are not cut at zero: cutting would bias what unbiased noise does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinward.errors import TrainingError

Floats = NDArray[np.float64]

FEWEST_PER_CLASS = 10
"""Below this an AUROC or a share is a list of patients, or noise; it is not shown."""

_Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Counts:
    """Patients per bin, from the lowest scores to the highest.

    Attributes:
        ill: How many with the disease.
        well: How many without.
        noise_sd: Standard deviation of the independent noise in every count; 0 if they are exact.

    Raises:
        TrainingError: TW6410, not two equally long rows of finite numbers.
    """

    ill: Floats
    well: Floats
    noise_sd: float = 0.0

    def __post_init__(self) -> None:
        rows = (self.ill, self.well)
        if self.ill.ndim != 1 or self.ill.shape != self.well.shape or not self.ill.size:
            raise _no_counts()
        if not (all(np.isfinite(row).all() for row in rows) and 0 <= self.noise_sd < math.inf):
            raise _no_counts()

    @property
    def bins(self) -> int:
        """How many bins there are."""
        return int(self.ill.size)

    @property
    def fewest(self) -> float:
        """What a class must count here to be shown: ten, and two deviations of its noise."""
        return FEWEST_PER_CLASS + 2 * self.noise_sd * math.sqrt(self.bins)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its two sources of doubt and the 95 % interval of both together."""

    value: float
    noise_sd: float
    sampling_sd: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Auroc:
    """Probability that an ill patient scores above a well one; see the module for ``tied``."""

    estimate: Estimate
    tied: float


@dataclass(frozen=True, slots=True)
class RocPoint:
    """Calling everyone ill whose score is at least ``threshold``: whom that finds, whom it scares.

    ``sensitivity`` is the share of the ill that is found, ``false_alarms`` the share of the well.
    """

    threshold: float
    sensitivity: Estimate
    false_alarms: Estimate


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Scores from ``low`` to ``high``, the middle one, and the share of patients that was ill.

    ``predicted`` is the middle of the bins that were joined, weighted by their patients;
    ``observed`` is None where too few patients are in all bins together.
    """

    low: float
    high: float
    predicted: float
    observed: Estimate | None


def edges(bins: int) -> Floats:
    """The borders of ``bins`` equal parts of 0 to 1."""
    return np.linspace(0.0, 1.0, bins + 1)


def binned(scores: Floats, labels: Floats, *, bins: int) -> Counts:
    """Exact counts of scores from 0 to 1 in equal bins.

    A patient whose score or label is not a number, or no score, counts nowhere; every other one
    counts once, in one bin of one row.
    """
    usable = np.isfinite(scores) & (scores >= 0) & (scores <= 1)
    place = np.minimum((np.where(usable, scores, 0.0) * bins).astype(np.int64), bins - 1)
    ill, well = (
        np.bincount(place[usable & (labels == label)], minlength=bins).astype(np.float64)
        for label in (1.0, 0.0)
    )
    return Counts(ill, well)


def ranked(scores: Floats, labels: Floats) -> Counts:
    """Exact counts with a bin of its own for every score: nothing is lost to binning."""
    usable = np.isfinite(scores)
    values, place = np.unique(scores[usable], return_inverse=True)
    ill, well = (
        np.bincount(place[labels[usable] == label], minlength=max(1, values.size))
        for label in (1.0, 0.0)
    )
    return Counts(ill.astype(np.float64), well.astype(np.float64))


def from_vector(vector: Floats, *, noise_sd: float) -> Counts:
    """The counts of a summed vector: the ill, then the well (see ``to_vector``)."""
    half = vector.size // 2
    return Counts(vector[:half], vector[half:], noise_sd)


def to_vector(counts: Counts) -> Floats:
    """Both rows in one vector, which one patient changes by 1 in one place."""
    return np.concatenate([counts.ill, counts.well])


def auroc(scores: Floats, labels: Floats) -> float:
    """Exact AUROC of scores; ties count half; NaN where a class is empty."""
    counts = ranked(scores, labels)
    ill, well = float(counts.ill.sum()), float(counts.well.sum())
    if not ill or not well:
        return math.nan
    return float(counts.ill @ _below(counts.well)) / (ill * well)


def auroc_of(counts: Counts) -> Auroc | None:
    """The AUROC that counts give, or None where a class is too small to say."""
    ill, well = float(counts.ill.sum()), float(counts.well.sum())
    if min(ill, well) < counts.fewest:
        return None
    beaten = _below(counts.well) / well  # share of the well whom an ill patient of a bin beats
    losing = (ill - _below(counts.ill)) / ill  # share of the ill to whom a well one loses
    value = float(counts.ill @ beaten) / ill
    slopes = np.concatenate([(beaten - value) / ill, (losing - value) / well])
    spread = max(0.0, float(counts.ill @ (beaten - value) ** 2)) / (ill * max(1.0, ill - 1))
    spread += max(0.0, float(counts.well @ (losing - value) ** 2)) / (well * max(1.0, well - 1))
    return Auroc(
        _estimate(
            value,
            noise_sd=counts.noise_sd * float(np.sqrt(slopes @ slopes)),
            sampling_sd=math.sqrt(spread),
        ),
        tied=max(0.0, float(counts.ill @ counts.well)) / (2 * ill * well),
    )


def roc(counts: Counts) -> tuple[RocPoint, ...]:
    """A point per border between bins, from the lowest threshold up; none for too small classes.

    Thresholds are the borders of equal bins of 0 to 1; with ``ranked`` counts they are ranks.
    """
    if min(counts.ill.sum(), counts.well.sum()) < counts.fewest:
        return ()
    borders = edges(counts.bins)
    return tuple(
        RocPoint(
            float(borders[first]),
            _share(counts.ill, first, noise_sd=counts.noise_sd),
            _share(counts.well, first, noise_sd=counts.noise_sd),
        )
        for first in range(counts.bins + 1)
    )


def calibration(counts: Counts) -> tuple[CalibrationBin, ...]:
    """The share that was ill in each part of the scale, with its interval.

    Neighbouring bins are joined until ten patients stand out of the noise of what was joined; what
    is left over at the upper end joins the last part.
    """
    starts, first = [0], 0
    for end in range(1, counts.bins):
        enough = _patients(counts, first, end) >= _fewest_together(counts, end - first)
        if enough and _patients(counts, end, counts.bins) >= _fewest_together(
            counts, counts.bins - end
        ):
            starts.append(end)
            first = end
    borders = edges(counts.bins)
    middles = (borders[:-1] + borders[1:]) / 2
    parts = []
    for start, end in zip(starts, [*starts[1:], counts.bins], strict=True):
        weights = np.maximum(counts.ill[start:end] + counts.well[start:end], 0.0) + 1e-9
        parts.append(
            CalibrationBin(
                float(borders[start]),
                float(borders[end]),
                float(weights @ middles[start:end] / weights.sum()),
                _observed(counts, start, end),
            )
        )
    return tuple(parts)


def as_json(counts: Counts) -> dict[str, Any]:
    """All figures as JSON values; None where too few patients stand behind one."""
    ranking = auroc_of(counts)
    return {
        "edges": [float(edge) for edge in edges(counts.bins)],
        "noise_sd": counts.noise_sd,
        "ill": [float(value) for value in counts.ill],
        "well": [float(value) for value in counts.well],
        "auroc": None if ranking is None else {**_plain(ranking.estimate), "tied": ranking.tied},
        "roc": [
            {
                "threshold": point.threshold,
                "sensitivity": _plain(point.sensitivity),
                "false_alarms": _plain(point.false_alarms),
            }
            for point in roc(counts)
        ],
        "calibration": [
            {
                "low": part.low,
                "high": part.high,
                "predicted": part.predicted,
                "observed": None if part.observed is None else _plain(part.observed),
            }
            for part in calibration(counts)
        ],
    }


def _below(counts: Floats) -> Floats:
    """How many patients score below one of each bin; those in the same bin count half."""
    below: Floats = np.cumsum(counts) - counts / 2
    return below


def _share(row: Floats, first: int, *, noise_sd: float) -> Estimate:
    """The part of a class from bin ``first`` on."""
    total = float(row.sum())
    share = float(row[first:].sum()) / total
    inside = row.size - first
    # Noise of a bin above the threshold moves the share by (1 - share) / total, below by -share.
    noise = noise_sd / total * math.sqrt(inside * (1 - share) ** 2 + first * share**2)
    return _estimate(share, noise_sd=noise, sampling_sd=_binomial_sd(share, total))


def _patients(counts: Counts, start: int, end: int) -> float:
    return float(counts.ill[start:end].sum() + counts.well[start:end].sum())


def _fewest_together(counts: Counts, bins: int) -> float:
    """What so many joined bins must hold: ten patients, and two deviations of their noise."""
    return FEWEST_PER_CLASS + 2 * counts.noise_sd * math.sqrt(2 * bins)


def _observed(counts: Counts, start: int, end: int) -> Estimate | None:
    total = _patients(counts, start, end)
    if total < _fewest_together(counts, end - start):
        return None
    share = float(counts.ill[start:end].sum()) / total
    sd = counts.noise_sd * math.sqrt(end - start)
    return _estimate(
        share,
        noise_sd=sd / total * math.sqrt((1 - share) ** 2 + share**2),
        sampling_sd=_binomial_sd(share, total),
    )


def _binomial_sd(share: float, total: float) -> float:
    """Of a share of ``total``, pulled to a half by two patients of each kind (Agresti, Coull)."""
    pulled = (min(1.0, max(0.0, share)) * total + 2) / (total + 4)
    return math.sqrt(pulled * (1 - pulled) / (total + 4))


def _estimate(value: float, *, noise_sd: float, sampling_sd: float) -> Estimate:
    half = _Z95 * math.hypot(noise_sd, sampling_sd)
    low, middle, high = (min(1.0, max(0.0, v)) for v in (value - half, value, value + half))
    return Estimate(middle, noise_sd, sampling_sd, low, high)


def _plain(estimate: Estimate) -> dict[str, float]:
    return {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "noise_sd": estimate.noise_sd,
        "sampling_sd": estimate.sampling_sd,
    }


def _no_counts() -> TrainingError:
    return TrainingError(
        "an evaluation needs two equally long rows of finite counts",
        code="TW6410",
        help="this is a fault of whoever made them; nothing is shown instead of a wrong figure",
    )
