"""What another dose or another meal would do to one person's glucose, answered by their copies.

The same hours are run twice for every copy, as they were logged and with the change. What the model
lacks is mostly in both and drops out of the difference, which is why the difference is asked for
and not the level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.glucose import personal
from models.glucose.personal import Diary, Forces

Floats = NDArray[np.float64]

_MEMORY = personal.steps_of(480)
"""Food and insulin from eight hours before still act; what is older does not."""


@dataclass(frozen=True, slots=True)
class Change:
    """One meal with its dose, changed.

    Attributes:
        step: Five-minute step of the diary.
        carbs: Grams eaten beyond what was logged; negative for less.
        bolus: Units given beyond what was logged; negative for less.
    """

    step: int
    carbs: float = 0.0
    bolus: float = 0.0


def courses(
    copies: Floats, diary: Diary, changes: list[Change], *, now: int, steps: int
) -> tuple[Floats, Floats]:
    """Glucose from ``now`` on, as logged [copies, steps] and under each change.

    Args:
        copies: One person's parameters, [copies, 7].
        diary: That person's, [steps]; food and doses after ``now`` are what is planned.
        changes: Each answered on its own.
        now: Step from which on glucose is not known.
        steps: How far to look.

    Returns:
        Courses as logged, [copies, steps], and changed, [changes, copies, steps], in mg/dL.
    """
    since = max(0, now - _MEMORY)
    span = slice(since, now + steps)
    carbs = np.repeat(diary.carbs[span][None, :], len(changes) + 1, axis=0)
    bolus = np.repeat(diary.bolus[span][None, :], len(changes) + 1, axis=0)
    for row, change in enumerate(changes, start=1):
        carbs[row, change.step - since] += change.carbs
        bolus[row, change.step - since] += change.bolus
    pushed = personal.forces(
        copies,
        carbs=carbs[:, None, :],
        bolus=bolus[:, None, :],
        daily_insulin=diary.daily_insulin,
    )
    ahead = now - since
    start = np.nanmean(diary.glucose[max(0, now - 3) : now])
    glucose = personal.follow(
        copies,
        Forces(raises=pushed.raises[..., ahead:], lowers=pushed.lowers[..., ahead:]),
        start=np.asarray(start),
    )
    return glucose[0], glucose[1:]


def effects(copies: Floats, diary: Diary, changes: list[Change], *, now: int, steps: int) -> Floats:
    """How much higher or lower glucose would be, in mg/dL; arguments as of ``courses``.

    Returns:
        For every change and copy, [changes, copies, steps].
    """
    as_logged, changed = courses(copies, diary, changes, now=now, steps=steps)
    return changed - as_logged
