"""Diaries of virtual people, and what would have happened with another dose.

Meals at three times a day with snacks between, doses from miscounted carbohydrates, doses
forgotten, a sensor with errors that last. The truth of a what-if exists here and nowhere else: no
real person lives the same hours twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.glucose import virtual_patient
from models.glucose.personal import STEP, Diary
from models.glucose.virtual_patient import Body, VirtualPatients
from models.twin import Series

Floats = NDArray[np.float64]

DAY = 1440
HORIZON = 240
"""Minutes after a dose in which its effect is compared."""

CHANGES: Mapping[str, tuple[float, float]] = {
    "half the dose": (1.0, 0.5),
    "one and a half doses": (1.0, 1.5),
    "half the meal": (0.5, 1.0),
}
"""Name to the factors on the carbohydrates and on the insulin of one meal."""

_MEALS = ((450, 45.0), (750, 70.0), (1140, 80.0))
_OPENS = (330, 660, 1020)
"""Each main meal is served after its opening, minutes of the day, and before the next one."""


@dataclass(frozen=True, slots=True)
class Event:
    """One meal with its dose, of one person, and the true change of glucose under each change.

    Attributes:
        person: Row in the diary.
        step: Five-minute step of the dose.
        carbs: Grams as counted by the person.
        bolus: Units given.
        truth: Change's name to the change of glucose, mg/dL, at each step of ``HORIZON``.
    """

    person: int
    step: int
    carbs: float
    bolus: float
    truth: Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class _Book:
    """Food as served and as counted, in grams, and doses in units; each [minutes, n]."""

    served: Floats
    counted: Floats
    dose: Floats


def siblings(
    people: VirtualPatients, ratio: Floats, *, generator: np.random.Generator
) -> tuple[VirtualPatients, Floats]:
    """People like these with other sensitivity, absorption and gut, and their carbohydrate ratios.

    Glucose production and the depots are set so that each is at rest at the same glucose.
    """
    p = people.parameters
    sensitive, skin, gut = np.exp(
        generator.standard_normal((3, len(people))) * np.array([[0.25], [0.2], [0.2]])
    )
    varied = people.varied(
        Vmx=sensitive, kp3=sensitive, ka1=skin, ka2=skin, kd=skin, kabs=gut, kmax=gut
    )
    q = dict(varied.parameters)
    q["kp1"] = p["kp1"] + (q["kp3"] - p["kp3"]) * p["Ib"]
    rest = people.rest.copy()
    rest[10:12] /= skin
    return VirtualPatients(people.names, q, rest), ratio * sensitive


def titrated(people: VirtualPatients, ratio: Floats, *, generator: np.random.Generator) -> Floats:
    """Carbohydrate ratios with which nobody is driven below 50 mg/dL in three trial days.

    What a clinic does in the first weeks; without it some virtual people would not live.
    """
    ratio = ratio.copy()
    for _ in range(12):
        book, _ = _logbook(people, ratio, days=3, generator=generator)
        glucose, _ = virtual_patient.live(
            people, carbs=book.served, insulin=book.dose + people.basal
        )
        low = glucose.min(axis=0) < 50
        if not low.any():
            break
        ratio[low] *= 1.2
    return ratio


def diaries(
    people: VirtualPatients,
    ratio: Floats,
    *,
    days: int,
    event_days: int,
    generator: np.random.Generator,
) -> tuple[Diary, list[Event]]:
    """What these people log, and the events of the last ``event_days`` with their truth.

    Args:
        people: Who.
        ratio: Grams of carbohydrate that each covers with one unit.
        days: How long; the last day is spare, so that every event has its hours.
        event_days: Days before the last one whose main meals become events.
        generator: Of meals, errors and sensors.
    """
    book, moments = _logbook(people, ratio, days=days, generator=generator)
    glucose, at_opening = _lives(people, book, days=days, event_days=event_days)
    sensed = glucose + _sensor_errors(glucose.shape, generator)
    diary = Diary(
        glucose=sensed[STEP - 1 :: STEP].T.copy(),
        carbs=_by_step(book.counted),
        bolus=_by_step(book.dose),
        daily_insulin=people.basal * DAY + book.dose.sum(axis=0) / days,
    )
    events = []
    for (day, number), body in at_opening.items():
        opens = day * DAY + _OPENS[number]
        events += _events(people, body, book, moments[day, number], opens=opens)
    return diary, events


def _logbook(
    people: VirtualPatients, ratio: Floats, *, days: int, generator: np.random.Generator
) -> tuple[_Book, NDArray[np.int64]]:
    """All that is eaten and given, and the minutes of the main meals, [days, 3, n]."""
    count = len(people)
    served = np.zeros((days * DAY, count))
    heavy = people.parameters["BW"] / 70
    columns = np.arange(count)
    moments = np.zeros((days, len(_MEALS), count), dtype=np.int64)
    for day in range(days):
        for number, (clock, grams) in enumerate(_MEALS):
            at = day * DAY + clock + generator.integers(-60, 61, count)
            moments[day, number] = at
            served[at, columns] = grams * heavy * np.exp(0.25 * generator.standard_normal(count))
        snack = day * DAY + generator.integers(840, 960, count)
        served[snack, columns] += 15 * heavy * (generator.random(count) < 0.4)
    counted = served * np.exp(0.2 * generator.standard_normal(served.shape))
    remembered = generator.random(served.shape) >= 0.05
    dose = np.round(counted / ratio * remembered * 20) / 20
    return _Book(served, counted, dose), moments


def example(*, days: int, seed: int, until_dose: bool = False) -> Series:
    """The diary of one virtual person, every five minutes, as a hospital would be given it.

    Args:
        days: How long.
        seed: Another one is another person.
        until_dose: Ends with the last dose, so that another dose can be asked about.
    """
    (series,) = examples(people=1, days=days, seed=seed)
    if not until_dose:
        return series
    end = int(np.flatnonzero(series.values["bolus"])[-1]) + 1
    return Series(series.minutes[:end], {name: row[:end] for name, row in series.values.items()})


def examples(*, people: int, days: int, seed: int) -> list[Series]:
    """The diaries of so many virtual persons, likewise."""
    generator = np.random.default_rng(seed)
    everyone = virtual_patient.population()
    rows = generator.integers(0, len(everyone), people)
    persons, ratio = siblings(
        everyone.chosen(rows),
        everyone.parameters["carbohydrate_ratio"][rows],
        generator=generator,
    )
    ratio = titrated(persons, ratio, generator=generator)
    diary, _ = diaries(persons, ratio, days=days, event_days=0, generator=generator)
    count = diary.glucose.shape[1]
    minutes = np.arange(count, dtype=np.float64) * STEP
    return [
        Series(
            minutes,
            {
                "glucose": diary.glucose[row],
                "carbs": diary.carbs[row],
                "bolus": diary.bolus[row],
                "basal": np.full(count, persons.basal[row] * 60),
            },
        )
        for row in range(people)
    ]


def _lives(
    people: VirtualPatients, book: _Book, *, days: int, event_days: int
) -> tuple[Floats, dict[tuple[int, int], Body]]:
    """Glucose of every minute, and the bodies as each event's time of day opens."""
    openings = {
        day * DAY + opens: (day, number)
        for day in range(days - 1 - event_days, days - 1)
        for number, opens in enumerate(_OPENS)
    }
    parts, bodies, body = [], {}, Body.at_rest(people)
    begin = 0
    for end in [*sorted(openings), days * DAY]:
        part, body = virtual_patient.live(
            people,
            carbs=book.served[begin:end],
            insulin=book.dose[begin:end] + people.basal,
            body=body,
        )
        parts.append(part)
        if end in openings:
            bodies[openings[end]] = body
        begin = end
    return np.concatenate(parts), bodies


def _events(
    people: VirtualPatients, body: Body, book: _Book, moments: NDArray[np.int64], *, opens: int
) -> list[Event]:
    """The main meal after one opening for everyone who took insulin for it."""
    columns = np.arange(len(people))
    given = book.dose[moments, columns]
    rows = np.flatnonzero(given > 0)
    last = int(moments.max()) + HORIZON
    span = slice(opens, last)
    courses = []
    for food_factor, dose_factor in ((1.0, 1.0), *CHANGES.values()):
        food, insulin = book.served[span].copy(), book.dose[span].copy()
        food[moments - opens, columns] *= food_factor
        insulin[moments - opens, columns] *= dose_factor
        course, _ = virtual_patient.live(
            people.chosen(rows),
            carbs=food[:, rows],
            insulin=insulin[:, rows] + people.basal[rows],
            body=body.chosen(rows),
        )
        courses.append(course)
    found = []
    for column, row in enumerate(rows):
        since = int(moments[row]) // STEP * STEP - opens
        after = slice(since + STEP - 1, since + HORIZON, STEP)
        found.append(
            Event(
                person=int(row),
                step=int(moments[row]) // STEP,
                carbs=float(book.counted[moments[row], row]),
                bolus=float(given[row]),
                truth={
                    name: changed[after, column] - courses[0][after, column]
                    for name, changed in zip(CHANGES, courses[1:], strict=True)
                },
            )
        )
    return found


def _sensor_errors(shape: tuple[int, ...], generator: np.random.Generator) -> Floats:
    """Errors of 10 mg/dL that last about a quarter of an hour."""
    keep = np.exp(-1 / 15)
    errors = np.empty(shape)
    now = generator.standard_normal(shape[1])
    for minute in range(shape[0]):
        now = keep * now + np.sqrt(1 - keep**2) * generator.standard_normal(shape[1])
        errors[minute] = 10 * now
    return errors


def _by_step(minutes: Floats) -> Floats:
    """[minutes, n] to sums over five minutes, [n, steps]."""
    steps: Floats = minutes.reshape(-1, STEP, minutes.shape[1]).sum(axis=1)
    return steps.T.copy()
