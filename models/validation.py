"""Figures of a validation: calibration slope, groups, differences between two models, drift.

Pure arithmetic on scores and labels. Whatever rests on fewer than ten patients of a class is not
computed: it would be a list of patients, or noise. Intervals are 95 %.

Sources: Cox, Biometrika 45, 1958 (recalibration: intercept and slope); DeLong et al. 1988 for the
covariance of two AUROCs on the same patients; Pearson's chi-square of two samples for drift.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation import FEWEST_PER_CLASS

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_Z95 = 1.959964
_FEWEST_EXPECTED = 5.0
"""Below this a part of a histogram is joined with its neighbour before two are compared."""

_GROUPS: Mapping[str, Sequence[tuple[str, float, float]]] = {
    "sex": (("women", -0.5, 0.5), ("men", 0.5, 1.5)),
    "age": (("below 50", 0.0, 50.0), ("50 to 64", 50.0, 65.0), ("65 and above", 65.0, 200.0)),
}
"""Column, and its groups from (and with) one value to (and without) another."""


@dataclass(frozen=True, slots=True)
class Between:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, sd: float) -> Between:
        """From a standard deviation."""
        return cls(value, value - _Z95 * sd, value + _Z95 * sd)


def enough(labels: Floats) -> bool:
    """Whether ten patients of each class are there."""
    return min(int((labels == 1.0).sum()), int((labels == 0.0).sum())) >= FEWEST_PER_CLASS


def recalibration(scores: Floats, labels: Floats) -> tuple[Between, Between] | None:
    """Intercept and slope of the outcome on the logit of the score; 0 and 1 if it is true.

    A slope below 1 says that high scores are too high and low ones too low. None where a class has
    fewer than ten patients, or where scores separate the classes so that no slope is the best.
    """
    if not enough(labels):
        return None
    p = np.clip(scores, 1e-6, 1 - 1e-6)
    x = np.stack([np.ones(p.size), np.log(p / (1 - p))], axis=1)
    weights = np.zeros(2)  # from here Newton converges; from the slope 1 it need not
    for _ in range(50):
        said = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        curvature = (x * (said * (1 - said))[:, None]).T @ x
        if np.linalg.cond(curvature) > 1e12:
            return None
        step = np.linalg.solve(curvature, x.T @ (said - labels))
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            sds = np.sqrt(np.diag(np.linalg.inv(curvature)))
            intercept, slope = (
                Between.of(float(w), float(sd)) for w, sd in zip(weights, sds, strict=True)
            )
            return intercept, slope
    return None


def too_high(scores: Floats, labels: Floats) -> Between | None:
    """Mean score less the share that is ill; None below ten patients."""
    if labels.size < FEWEST_PER_CLASS:
        return None
    off = scores - labels
    return Between.of(float(off.mean()), float(off.std(ddof=1)) / math.sqrt(off.size))


def groups(columns: Mapping[str, Floats]) -> Iterator[tuple[str, Mask]]:
    """Sex and age, where a record has them; every patient is in at most one group of each."""
    for column, parts in _GROUPS.items():
        values = columns.get(column)
        if values is not None:
            for name, low, high in parts:
                yield name, (values >= low) & (values < high)


def auroc_difference(first: Floats, second: Floats, labels: Floats) -> Between | None:
    """AUROC of the first model's scores less the second's, on the same patients (DeLong)."""
    if not enough(labels):
        return None
    ill, well = labels == 1.0, labels == 0.0
    parts = [_placements(scores[ill], scores[well]) for scores in (first, second)]
    among_ill, among_well = (parts[0][side] - parts[1][side] for side in (0, 1))
    variance = among_ill.var(ddof=1) / among_ill.size + among_well.var(ddof=1) / among_well.size
    return Between.of(float(among_ill.mean()), math.sqrt(variance))


def histogram(values: Floats, borders: Sequence[float]) -> list[int]:
    """How many values lie in each part, also beyond the borders; then how many are missing."""
    known = values[np.isfinite(values)]
    counts = np.bincount(np.searchsorted(borders, known, "right"), minlength=len(borders) + 1)
    return [*(int(count) for count in counts), int(values.size - known.size)]


def borders_of(values: Floats, *, parts: int = 4) -> list[float]:
    """Borders between about equal parts; fewer where many values are the same."""
    known = values[np.isfinite(values)]
    if not known.size:
        return []
    inner = np.quantile(known, np.arange(1, parts) / parts)
    return [float(each) for each in np.unique(inner)]


def same_share(before: Sequence[int], now: Sequence[int]) -> float | None:
    """Probability of two histograms at least as different if nothing changed.

    Patients who are in both make it larger than it is: less is noticed, never more. None where too
    few are in either to tell.
    """
    table = _joined(np.array([before, now], dtype=np.float64))
    if table.shape[1] < 2:
        return None
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    from scipy.stats import chi2  # noqa: PLC0415 - heavy, and only who validates waits for it

    return float(chi2.sf(statistic, table.shape[1] - 1))


def _joined(table: Floats) -> Floats:
    """Neighbouring parts together until each expects five in both rows; the rest to the last."""
    share = table.sum(axis=1) / max(table.sum(), 1.0)
    columns: list[Floats] = []
    waiting = np.zeros(2)
    for column in table.T:
        waiting = waiting + column
        if (share * waiting.sum()).min() >= _FEWEST_EXPECTED:
            columns.append(waiting)
            waiting = np.zeros(2)
    if columns:
        columns[-1] = columns[-1] + waiting
    return np.array(columns).T.reshape(2, len(columns))


def _placements(ill: Floats, well: Floats) -> tuple[Floats, Floats]:
    """Of each ill patient the share of the well below; of each well one that of the ill above."""
    above = (ill[:, None] > well).astype(np.float64) + 0.5 * (ill[:, None] == well)
    return above.mean(axis=1), above.mean(axis=0)
