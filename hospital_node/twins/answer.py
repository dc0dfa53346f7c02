"""What a twin's service answers, and how far it can be believed. Stays at the hospital."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.twin import Trajectories, TwinSpec

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a twin says of the next hours; times in minutes from the state's moment.

    Attributes:
        spec: Of the twin; its limits belong beside every answer.
        population: What the twin was made from.
        asked_at: The state's moment, in the time of the diary.
        scenarios: Titles, the first is without a change.
        minutes: Moments, [t].
        middle: Of the copies, [scenarios, t].
        low: Lower end of the 90 % interval, [scenarios, t]; -inf while too little is known.
        high: Upper end, likewise.
        change: Of each further scenario against the first: middle, 5th and 95th percentile of the
            copies, [scenarios - 1, 3, t]. Not calibrated: nobody sees both courses.
        coverage: Horizon to the share of past observations inside the interval, and their number.
        recent: What was observed in the last two hours: minutes before now, value.
        skill: Error an hour ahead over that of "stays as it is", on this patient's own past; above
            1 the twin is no help. NaN while too little is known.
    """

    spec: TwinSpec
    population: str
    asked_at: float
    scenarios: tuple[str, ...]
    minutes: Floats
    middle: Floats
    low: Floats
    high: Floats
    change: Floats
    coverage: tuple[tuple[float, float, int], ...]
    recent: tuple[tuple[float, float], ...]
    skill: float


@dataclass(frozen=True, slots=True)
class Told:
    """What a twin's copies say, and how far they can be believed on this patient's own past.

    Attributes:
        spec: Of the twin.
        population: What the twin was made from.
        asked_at: The state's moment, in the time of the diary.
        courses: Of the copies; the first scenario is without a change.
        reach: Half width of a 90 % interval in units of the scale, [t]; infinite while too little
            is known.
        coverage: As in ``Answer``.
        recent: As in ``Answer``.
        skill: As in ``Answer``.
    """

    spec: TwinSpec
    population: str
    asked_at: float
    courses: Trajectories
    reach: Floats
    coverage: tuple[tuple[float, float, int], ...]
    recent: tuple[tuple[float, float], ...]
    skill: float
