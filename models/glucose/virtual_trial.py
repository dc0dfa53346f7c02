"""A trial on virtual people: all of them live the same meal under every arm. No patient, no data.

Every virtual person is their own control, as nobody can be in life. What comes out says how plans
compare in the UVA/Padova equations; it is a reason to ask a question, never an answer for a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.glucose import virtual_diary, virtual_patient
from models.glucose.personal import STEP
from models.glucose.virtual_patient import VirtualPatients

Floats = NDArray[np.float64]

MEAL = 60
"""Minutes from the beginning of an arm to the meal, so that a dose can be given before it."""

LASTS = 300
"""Minutes."""

_BREAKFAST_BEFORE = 240
_MISCOUNTED = 0.2


@dataclass(frozen=True, slots=True)
class Arm:
    """How the meal's dose is given.

    Attributes:
        title: For people.
        factor: On the dose that the person's own carbohydrate ratio gives.
        minutes: After the meal's beginning; negative before it.
    """

    title: str
    factor: float
    minutes: int


@dataclass(frozen=True, slots=True)
class Trial:
    """What was lived.

    Attributes:
        minutes: From the meal, [t].
        courses: Glucose, mg/dL, [arms, people, t].
        groups: Of each person: adolescent, adult, child.
    """

    minutes: Floats
    courses: Floats
    groups: tuple[str, ...]


def run(arms: Sequence[Arm], *, people: int, grams: float, generator: np.random.Generator) -> Trial:
    """Every person under every arm, from the same hour after the same breakfast.

    Args:
        arms: At least one; a dose between an hour before the meal and two hours after it.
        people: How many siblings of the 30 published people.
        grams: Carbohydrates of the meal for a person of 70 kg.
        generator: Of the people, and of their errors in counting.
    """
    cohort, ratio = _cohort(people, generator)
    heavy = cohort.parameters["BW"] / 70
    counted = np.exp(_MISCOUNTED * generator.standard_normal((2, people)))
    morning = np.zeros((_BREAKFAST_BEFORE, people))
    breakfast, insulin = morning.copy(), morning + cohort.basal
    breakfast[0] = 45 * heavy
    insulin[0] += 45 * heavy * counted[0] / ratio
    _, body = virtual_patient.live(cohort, carbs=breakfast, insulin=insulin)

    # One long row of people, arm after arm: the engine's cost hardly grows with its width.
    rows = np.tile(np.arange(people), len(arms))
    carbs = np.zeros((MEAL + LASTS, rows.size))
    carbs[MEAL] = (grams * heavy)[rows]
    doses = np.tile(cohort.basal, (MEAL + LASTS, len(arms)))
    usual = grams * heavy * counted[1] / ratio
    for number, arm in enumerate(arms):
        doses[MEAL + arm.minutes, number * people : (number + 1) * people] += arm.factor * usual
    glucose, _ = virtual_patient.live(
        cohort.chosen(rows), carbs=carbs, insulin=doses, body=body.chosen(rows)
    )
    seen = glucose[STEP - 1 :: STEP].T.reshape(len(arms), people, -1)
    return Trial(
        minutes=np.arange(STEP, MEAL + LASTS + 1, STEP, dtype=np.float64) - MEAL,
        courses=seen,
        groups=tuple(name.split("#")[0] for name in cohort.names),
    )


def _cohort(people: int, generator: np.random.Generator) -> tuple[VirtualPatients, Floats]:
    everyone = virtual_patient.population()
    rows = np.arange(people) % len(everyone)
    return virtual_diary.siblings(
        everyone.chosen(rows),
        everyone.parameters["carbohydrate_ratio"][rows],
        generator=generator,
    )
