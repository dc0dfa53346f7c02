"""What is learnt about the next hour, layer by layer: public, private, this centre, this person.

Each layer corrects the one before and is held back by it, the more so the less data there is. Only
the private one ever leaves a hospital: one noised sum over all patients of all hospitals of a
gradient of bounded length. The centre's and the person's stay where they were made.

Learning the second moments in private costs more than it brings (measured); so the metric is the
public one and a single step is taken in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.glucose_forecast.rows import AHEAD, WIDTH, Rows, time_of_day, together

Floats = NDArray[np.float64]

LENGTH = 0.4
"""Each patient's gradient, in public units, is cut to this length."""

_HELD = 300.0
"""Moments that a layer's start counts as."""

_HELD_SHORT = 3000.0
_SHORT = 400
"""With fewer moments of one's own the centre's word counts more."""

_PARTS = 4
_GATE_SHARE = 0.7
_RIDGE = 1e-3
_SPREAD = 0.003
"""Variance between people of a gradient's numbers that the noise is weighed against; by hand."""


@dataclass(frozen=True, slots=True)
class Start:
    """What is believed before a centre's own records are read; public or released.

    Attributes:
        weights: From a row to the change at each time ahead, [WIDTH, 2].
        moments: Mean outer product of rows, the public metric, [WIDTH, WIDTH].
        unit: Size of a usual error at each time ahead, mg/dL, [2].
    """

    weights: Floats
    moments: Floats
    unit: Floats


@dataclass(frozen=True, slots=True)
class Personal:
    """One person's forecaster; stays at the hospital.

    Attributes:
        weights: [WIDTH, 2].
        daily: What the time of day adds, [4, 2].
        borders: Ends of the parts of the past, minutes, [parts].
        without: The weights made without each part, [parts, WIDTH, 2]: an error on the past is
            only worth something if the past was not learnt from.
        daily_without: Likewise, [parts, 4, 2].
    """

    weights: Floats
    daily: Floats
    borders: Floats
    without: Floats
    daily_without: Floats

    def change(self, rows: Rows) -> Floats:
        """Forecast change at each time ahead, mg/dL, [n, 2]."""
        return _said(rows, self.weights, self.daily)

    def change_then(self, rows: Rows) -> Floats:
        """The same at moments of the past, each without having learnt from the hours around it."""
        found = self.change(rows)
        part = np.searchsorted(self.borders, rows.minutes)
        for number in range(self.borders.size):
            here = part == number
            found[here] = _said(rows.chosen(here), self.without[number], self.daily_without[number])
        return found


def gradient(start: Start, rows: Rows) -> Floats:
    """What one patient says against the start, cut to ``LENGTH``; a patient without rows says 0.

    Only ever summed with others' under noise before it leaves.

    Returns:
        [WIDTH * 2].
    """
    known = rows.known()
    if not len(known):
        return np.zeros(WIDTH * len(AHEAD))
    white = np.linalg.solve(_root(start), known.features.T)
    residual = (known.change - known.features @ start.weights) / start.unit
    numbers = (white @ residual / len(known)).ravel()
    cut: Floats = numbers * min(1.0, LENGTH / max(float(np.linalg.norm(numbers)), 1e-300))
    return cut


def stepped(start: Start, noised_mean: Floats, *, noise_variance: float) -> Start:
    """The start after one private step, weighed against its own noise. Costs no privacy.

    Args:
        start: That the gradients were taken at.
        noised_mean: Their sum with its noise, over a public number of patients, [WIDTH * 2].
        noise_variance: Of each of these numbers; public.
    """
    believed = noised_mean * _SPREAD / (_SPREAD + noise_variance)
    step = np.linalg.solve(_root(start).T, believed.reshape(WIDTH, -1)) * start.unit
    return replace(start, weights=start.weights + step)


def of_centre(start: Start, patients: Sequence[Rows], *, held: float = _HELD) -> Start:
    """The start corrected by a centre's own patients. Stays at the hospital.

    Args:
        start: Public or released.
        patients: Rows of each.
        held: Moments that the start counts as.
    """
    known = together(patients).known()
    inner = known.features.T @ known.features
    weights = _corrected(start.weights, start.moments, known, held=held)
    moments = (inner + held * start.moments) / (len(known) + held)
    return replace(start, weights=weights, moments=moments)


def of_person(centre: Start, rows: Rows) -> Personal:
    """One person's own layers over the centre's. Stays at the hospital."""
    known = rows.known()
    ends = np.linspace(0, len(known), _PARTS + 1).astype(np.int64)
    part = np.searchsorted(ends[1:], np.arange(len(known)), side="right")
    apart = [_own_layers(centre, known.chosen(part != number)) for number in range(_PARTS)]
    weights, daily = _own_layers(centre, known)
    return Personal(
        weights,
        daily,
        borders=known.minutes[ends[1:] - 1],
        without=np.stack([each for each, _ in apart]),
        daily_without=np.stack([each for _, each in apart]),
    )


def daily_course(daily: Floats) -> Floats:
    """What the time of day adds at each of 96 quarters of an hour, mg/dL, [96, 2]."""
    course: Floats = time_of_day(np.arange(0.0, 1440.0, 15.0)) @ daily
    return course


def gated(public: Start, private: Start, patients: Sequence[Rows]) -> tuple[Start, bool]:
    """The private start if it forecasts this centre's own past better, else the public one.

    Judged on the last part of each patient's record after the layers of the centre were made from
    the first part, so as it would be used. Nothing of it leaves.

    Returns:
        The start to use, and whether it is the private one.
    """
    errors = [_past_error(start, patients) for start in (public, private)]
    return (private, True) if errors[1] < errors[0] else (public, False)


def error(weights: Floats, rows: Rows) -> float:
    """Mean square error of both times ahead together, each in mg/dL."""
    known = rows.known()
    found: Floats = known.change - known.features @ weights
    return float(np.mean(found**2))


def parted(rows: Rows, share: float) -> tuple[Rows, Rows]:
    """The first share of a person's time, and the rest; no outcome of the first is in the rest."""
    if not len(rows):
        return rows, rows
    first, last = rows.minutes[0], rows.minutes[-1]
    border = first + share * (last - first)
    return rows.until(border), rows.since(border)


def solved(matrix: Floats, right: Floats) -> Floats:
    """The solution of linear equations, in float64."""
    return np.asarray(np.linalg.solve(matrix, right), dtype=np.float64)


def _own_layers(centre: Start, known: Rows) -> tuple[Floats, Floats]:
    held = _HELD if len(known) >= _SHORT else _HELD_SHORT
    weights = _corrected(centre.weights, centre.moments, known, held=held)
    day = time_of_day(known.minutes)
    left = known.change - known.features @ weights
    inner = day.T @ day + held / 2 * np.eye(day.shape[1])
    return weights, solved(inner, day.T @ left)


def _said(rows: Rows, weights: Floats, daily: Floats) -> Floats:
    found: Floats = rows.features @ weights + time_of_day(rows.minutes) @ daily
    return found


def _past_error(start: Start, patients: Sequence[Rows]) -> float:
    parts = [parted(rows, _GATE_SHARE) for rows in patients]
    made = of_centre(start, [before for before, _ in parts])
    return error(made.weights, together([after for _, after in parts]))


def _corrected(weights: Floats, moments: Floats, known: Rows, *, held: float) -> Floats:
    """Ridge regression that is held towards ``weights`` in the metric of ``moments``."""
    left = known.change - known.features @ weights
    inner = known.features.T @ known.features + held * (moments + _RIDGE * np.eye(WIDTH))
    return weights + solved(inner, known.features.T @ left)


def _root(start: Start) -> Floats:
    """Lower triangle whose inverse makes public rows uncorrelated and of size one."""
    metric = start.moments + _RIDGE * np.eye(WIDTH)
    return np.asarray(np.linalg.cholesky(metric), dtype=np.float64)
