"""A person's own parameters from their diary: an ensemble of copies that agree with what was seen.

Ensemble smoother with multiple data assimilation (Emerick and Reynolds, Computers and Geosciences
55, 2013): no gradients, the same few lines for one person or a thousand, and the answer is a set of
copies rather than a best guess. Everything here stays at the hospital.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.glucose import personal
from models.glucose.personal import Diary

Floats = NDArray[np.float64]

COPIES = 200
WINDOW = personal.steps_of(300)
"""Glucose is followed for five hours at a time, each from what the sensor said at its beginning:
long enough to see a meal and its dose, short enough that what the model lacks does not pile up."""

EVERY = personal.steps_of(15)
"""Of every three readings one is used; neighbours say nearly the same."""

_INFLATIONS = (5.0, 5.0, 5.0, 5.0, 5.0)
_ERROR = 25.0
"""mg/dL between the true course and the model's, sensor and model together."""


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed of a person before their diary is read: mean [7] and covariance [7, 7]."""

    mean: Floats
    covariance: Floats

    def draw(self, generator: np.random.Generator, *, people: int, copies: int = COPIES) -> Floats:
        """Copies of each person, [people, copies, 7]."""
        root = np.linalg.cholesky(self.covariance)
        return self.mean + generator.standard_normal((people, copies, self.mean.size)) @ root.T


def individualise(
    prior: Prior, diary: Diary, *, generator: np.random.Generator, copies: int = COPIES
) -> Floats:
    """Parameters of copies of each person in the diary, [people, copies, 7], in logarithms.

    Args:
        prior: Of the population.
        diary: Of several people, [people, steps], at least one window long.
        generator: Draws the copies; nothing that is released depends on it.
        copies: How many of each person.
    """
    people = len(diary.glucose)
    members = prior.draw(generator, people=people, copies=copies)
    # How many numbers a fit draws depends on the diary: each person has dice of their own, so that
    # nothing of one is in what another's copies are.
    dice = generator.spawn(people)
    seen = _readings(diary.glucose)
    for inflation in _INFLATIONS:
        predicted = _windows(members, diary)
        for person in range(people):
            known = np.isfinite(seen[person]) & np.isfinite(predicted[person]).all(axis=0)
            members[person] = _updated(
                members[person],
                predicted[person][:, known],
                seen[person][known],
                inflation=inflation,
                generator=dice[person],
            )
    return members


def _updated(
    members: Floats,
    predicted: Floats,
    seen: Floats,
    *,
    inflation: float,
    generator: np.random.Generator,
) -> Floats:
    """One assimilation of all readings, each with its error inflated; [copies, 7]."""
    if not seen.size:
        return members
    copies = len(members)
    error = _ERROR * np.sqrt(inflation)
    perturbed = seen + error * generator.standard_normal(predicted.shape)
    spread = members - members.mean(axis=0)
    answers = predicted - predicted.mean(axis=0)
    # In the space of the copies, which is smaller than that of the readings.
    gram = answers @ answers.T / error**2
    weights = np.linalg.solve(
        gram + (copies - 1) * np.eye(copies), answers @ (perturbed - predicted).T / error**2
    )
    moved: Floats = members + weights.T @ spread
    return moved


def _readings(glucose: Floats) -> Floats:
    """Every third reading within each window, [people, windows * readings]."""
    return _by_window(glucose)[:, :, EVERY - 1 :: EVERY].reshape(len(glucose), -1)


def _windows(members: Floats, diary: Diary) -> Floats:
    """What each copy would have shown where there are readings, [people, copies, readings]."""
    pushed = personal.forces(
        members,
        carbs=diary.carbs[:, None, :],
        bolus=diary.bolus[:, None, :],
        daily_insulin=diary.daily_insulin[:, None],
    )
    raises, lowers = _by_window(pushed.raises), _by_window(pushed.lowers)
    start = _starts(diary.glucose)
    course = personal.follow(
        members[:, :, None, :],
        personal.Forces(raises=raises, lowers=lowers),
        start=start[:, None, :],
    )
    return course[..., EVERY - 1 :: EVERY].reshape(*members.shape[:2], -1)


def _starts(glucose: Floats) -> Floats:
    """Glucose as each window begins: the last three readings before it, or the first in it."""
    windows = _by_window(glucose)
    return np.concatenate([_mean(windows[:, :1, :3]), _mean(windows[:, :-1, -3:])], axis=1)


def _mean(readings: Floats) -> Floats:
    """Over the last axis, of the readings that there are; NaN if there are none."""
    known = np.isfinite(readings)
    count = known.sum(axis=-1)
    total = np.where(known, readings, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _by_window(values: Floats) -> Floats:
    """[..., steps] as [..., windows, WINDOW]; steps of the last, incomplete window are left."""
    whole = values.shape[-1] // WINDOW * WINDOW
    return values[..., :whole].reshape(*values.shape[:-1], -1, WINDOW)
