"""A level and a trend per quantity, followed by a Kalman filter, and how far each reading is off.

Every quantity by itself: a level that wanders, a slope that wanders less, readings around the
level (local linear trend; Harvey 1989, *Forecasting, structural time series models and the Kalman
filter*). One wild reading moves a level by no more than three of its standard deviations would.
Time is in days inside, minutes outside; what was not read is NaN and moves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.twin import Series

Floats = NDArray[np.float64]

DAY = 1440.0
_WILD = 3.0
_STRENGTH = 10.0
"""So many readings of a person weigh as much as what the population says of their spread."""
_NORMAL_MAD = 1.4826


@dataclass(frozen=True, slots=True)
class Usual:
    """What is known of each quantity before it is followed, [quantities] each.

    Attributes:
        mean: Level at the beginning.
        between: Standard deviation of that level: of people, or of what is known of one.
        within: Standard deviation of single readings around the level.
        drift: Of the level over a day.
        slope: Of the slope, per day, over a day; 0 where no trend is followed.
    """

    mean: Floats
    between: Floats
    within: Floats
    drift: Floats
    slope: Floats


@dataclass(frozen=True, slots=True)
class Level:
    """Where each quantity is.

    Attributes:
        minutes: When.
        level: [quantities].
        trend: Per day, [quantities].
        spread: Covariance of level and trend, [quantities, 2, 2].
    """

    minutes: float
    level: Floats
    trend: Floats
    spread: Floats


def begin(usual: Usual, *, minutes: float) -> Level:
    """Before any reading."""
    spread = np.zeros((usual.mean.size, 2, 2))
    spread[:, 0, 0] = usual.between**2
    spread[:, 1, 1] = usual.slope**2
    return Level(minutes, usual.mean.copy(), np.zeros_like(usual.mean), spread)


def ahead(usual: Usual, now: Level, *, minutes: float) -> Level:
    """Where it will be if nothing is read until then."""
    days = max(minutes - now.minutes, 0.0) / DAY
    level, cross, slope = now.spread[:, 0, 0], now.spread[:, 0, 1], now.spread[:, 1, 1]
    grown = usual.slope**2 * days
    spread = np.empty_like(now.spread)
    spread[:, 0, 0] = (
        level + 2 * days * cross + days**2 * slope + usual.drift**2 * days + grown * days**2 / 3
    )
    spread[:, 0, 1] = spread[:, 1, 0] = cross + days * slope + grown * days / 2
    spread[:, 1, 1] = slope + grown
    return Level(minutes, now.level + now.trend * days, now.trend, spread)


def read(usual: Usual, there: Level, values: Floats) -> tuple[Level, Floats]:
    """The level after these readings, and how many standard deviations each was off.

    Args:
        usual: Of this person.
        there: Already brought to the readings' moment by ``ahead``.
        values: NaN where nothing was read, [quantities].
    """
    total = there.spread[:, 0, 0] + usual.within**2
    off = (values - there.level) / np.sqrt(total)
    moved = np.clip(np.nan_to_num(off), -_WILD, _WILD) * np.sqrt(total)
    gain = np.where(np.isfinite(off)[:, None], there.spread[:, 0] / total[:, None], 0.0)
    after = there.spread - gain[:, :, None] * there.spread[:, None, 0]
    level = there.level + gain[:, 0] * moved
    return Level(there.minutes, level, there.trend + gain[:, 1] * moved, after), off


def follow(usual: Usual, history: Series, names: tuple[str, ...]) -> tuple[list[Level], Floats]:
    """The level after each moment of a history, and how far each reading was off, [times, n]."""
    table = columns(history, names)
    now = begin(usual, minutes=float(history.minutes[0]) if history.minutes.size else 0.0)
    levels, offs = [], np.full(table.shape, np.nan)
    for row, minutes in enumerate(history.minutes):
        now, offs[row] = read(usual, ahead(usual, now, minutes=float(minutes)), table[row])
        levels.append(now)
    return levels, offs


def personal(usual: Usual, history: Series, names: tuple[str, ...]) -> Usual:
    """The same with this person's own level and spread of readings, held towards the population.

    The spread comes from how far readings were off, by their median, so that a few wild ones do
    not count; the level is the last one followed.
    """
    table = columns(history, names)
    levels, offs = follow(usual, history, names)
    counts = np.isfinite(offs).sum(axis=0)
    typical = np.array(
        [
            _NORMAL_MAD * np.median(np.abs(column[np.isfinite(column)])) if count else 1.0
            for column, count in zip(offs.T, counts, strict=True)
        ]
    )
    share = (_STRENGTH + counts * typical**2) / (_STRENGTH + counts)
    last = levels[-1] if levels else begin(usual, minutes=0.0)
    known = np.isfinite(table).any(axis=0)
    return Usual(
        mean=np.where(known, last.level, usual.mean),
        between=np.where(known, np.sqrt(last.spread[:, 0, 0]), usual.between),
        within=usual.within * np.sqrt(share),
        drift=usual.drift,
        slope=usual.slope,
    )


def columns(series: Series, names: tuple[str, ...]) -> Floats:
    """The readings of these quantities as a table, [times, quantities], NaN where there is none."""
    missing = np.full(series.minutes.shape, np.nan)
    return np.stack([series.values.get(name, missing) for name in names], axis=1)
