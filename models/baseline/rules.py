"""A coach's rules over daily values: "sleep below own 10th percentile for 3 days".

A rule compares the median of each day with a number, or with a percentile of the person's own days
from before the baseline ended. It holds when that many days in a row are on its side; a day without
a reading breaks the row. Days are those of UTC, or of the diary's own clock if it has no dates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.baseline.engine import DAY
from models.twin import Series

Floats = NDArray[np.float64]

FEWEST_DAYS = 14
"""A percentile of one's own days needs so many of them."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a coach wants to be told of.

    Attributes:
        name: For people.
        quantity: Input of the twin.
        below: Below the line, or above it.
        own_percentile: The line as a percentile of the person's own days, or None.
        value: The line as a number in the quantity's unit, or None.
        days: How many in a row.
        say: What is told then.
    """

    name: str
    quantity: str
    below: bool
    own_percentile: float | None
    value: float | None
    days: int
    say: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """A rule on one person.

    Attributes:
        rule: Which.
        line: What days were compared with; NaN while too little is known of the person.
        held: First minute of each day on which enough days in a row were on its side.
    """

    rule: Rule
    line: float
    held: tuple[float, ...]


def judge(rule: Rule, history: Series, *, until: float) -> Outcome:
    """Look at the days after the one of ``until``, the baseline's last minute in the history."""
    days, values = daily(history, rule.quantity)
    of_baseline = days <= np.floor(until / DAY)
    line = np.nan if rule.value is None else rule.value
    if rule.own_percentile is not None:
        own = values[of_baseline]
        if own.size >= FEWEST_DAYS:
            line = float(np.percentile(own, rule.own_percentile))
    row, before, held = 0, -np.inf, []
    for day, value in zip(days[~of_baseline], values[~of_baseline], strict=True):
        on_its_side = value < line if rule.below else value > line
        row = (row + 1 if day == before + 1 else 1) if on_its_side else 0
        before = day
        if row >= rule.days:
            held.append(float(day * DAY))
    return Outcome(rule, line, tuple(held))


def daily(history: Series, quantity: str) -> tuple[Floats, Floats]:
    """Days with a reading, in order, and the median of each."""
    column = history.values.get(quantity, np.full(history.minutes.shape, np.nan))
    read = np.isfinite(column)
    day = np.floor(history.minutes[read] / DAY)
    days = np.unique(day)
    values = np.array([float(np.median(column[read][day == each])) for each in days])
    return days, values
