"""One row of numbers for each moment: what the last six hours of a sensor say about the next one.

Readings on a grid of a quarter of an hour. Only what was there at the moment itself is used, so a
row is the same whether it is made live or from a whole record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.twin import Series

Floats = NDArray[np.float64]

STEP = 15
"""Minutes between moments."""

AHEAD = (2, 4)
"""Steps until what is forecast: half an hour and an hour."""

WIDTH = 14
"""Numbers in a row."""

MEMORY = 24
"""Steps that a row looks back: six hours, of which the last three have to be there."""

_NEEDED = 12
_CARRIED = 2
"""A reading stands in for missing ones for half an hour."""

_DAY = 1440


@dataclass(frozen=True, slots=True)
class Rows:
    """Moments of one person at which a forecast can be made.

    Attributes:
        minutes: When, in the time of the series, [n].
        features: What was known, [n, WIDTH].
        level: The reading of that moment, mg/dL, [n].
        change: From it to each time ahead, mg/dL, NaN where nothing was read, [n, 2].
    """

    minutes: Floats
    features: Floats
    level: Floats
    change: Floats

    def __len__(self) -> int:
        return self.minutes.size

    def chosen(self, which: NDArray[np.bool_]) -> Rows:
        """These moments only."""
        return Rows(
            self.minutes[which], self.features[which], self.level[which], self.change[which]
        )

    def known(self) -> Rows:
        """Moments whose outcomes were read too."""
        return self.chosen(np.asarray(np.isfinite(self.change).all(axis=1)))

    def until(self, minute: float) -> Rows:
        """Moments whose outcomes too were read at or before this time."""
        return self.chosen(self.minutes + AHEAD[-1] * STEP <= minute)

    def since(self, minute: float) -> Rows:
        """Moments at or after this time."""
        return self.chosen(self.minutes >= minute)


def rows_of(history: Series) -> Rows:
    """Every moment of the history at which a forecast can be made."""
    glucose, last = on_grid(history)
    count = glucose.size
    window = np.concatenate([np.full(MEMORY - 1, np.nan), _carried(glucose)])
    lags = np.lib.stride_tricks.sliding_window_view(window, MEMORY)[:, ::-1]
    usable = np.isfinite(glucose) & np.isfinite(lags[:, :_NEEDED]).all(axis=1)
    later = np.full((count, len(AHEAD)), np.nan)
    for column, steps in enumerate(AHEAD):
        later[: max(0, count - steps), column] = glucose[steps:]
    minutes = last - STEP * (count - 1.0 - np.arange(count))
    return Rows(
        minutes=minutes[usable],
        features=_features(lags[usable]),
        level=glucose[usable],
        change=(later - glucose[:, None])[usable],
    )


def together(rows: Sequence[Rows]) -> Rows:
    """The moments of several people as those of one."""
    return Rows(
        minutes=np.concatenate([each.minutes for each in rows]),
        features=np.concatenate([each.features for each in rows]),
        level=np.concatenate([each.level for each in rows]),
        change=np.concatenate([each.change for each in rows]),
    )


def time_of_day(minutes: Floats) -> Floats:
    """Two harmonics of the day, [n, 4]."""
    angle = 2 * np.pi * minutes[:, None] / _DAY * np.array([1.0, 2.0])
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)


def on_grid(history: Series) -> tuple[Floats, float]:
    """Readings averaged over quarters of an hour that end with the last moment, and that moment."""
    last = float(history.minutes[-1])
    at = -np.floor((last - history.minutes) / STEP).astype(np.int64)
    at -= at[0]
    total, seen = np.zeros((2, int(at[-1]) + 1))
    values = history.values.get("glucose", np.full(at.size, np.nan))
    known = np.isfinite(values)
    np.add.at(total, at[known], values[known])
    np.add.at(seen, at[known], 1.0)
    return np.where(seen > 0, total / np.maximum(seen, 1), np.nan), last


def _carried(glucose: Floats) -> Floats:
    """Short holes take the reading before them; long ones stay."""
    filled = glucose.copy()
    for _ in range(_CARRIED):
        holes = np.flatnonzero(~np.isfinite(filled[1:]) & np.isfinite(filled[:-1])) + 1
        filled[holes] = filled[holes - 1]
    return filled


def _features(lags: Floats) -> Floats:
    """Level, differences, what bends them; all of the order of one."""
    level = (lags[:, 0] - 140) / 50
    slope = (lags[:, 0] - lags[:, 1]) / 10
    known = np.isfinite(lags)
    mean = np.where(known, lags, 0).sum(axis=1) / known.sum(axis=1)
    columns = [
        np.ones_like(level),
        level,
        slope,
        (lags[:, 1] - lags[:, 2]) / 10,
        (lags[:, 2] - lags[:, 3]) / 10,
        (lags[:, 3] - lags[:, 5]) / 20,
        (lags[:, 5] - lags[:, 8]) / 30,
        (lags[:, 8] - lags[:, 11]) / 30,
        level**2,
        level * slope,
        slope * np.abs(slope),
        (mean - lags[:, 0]) / 50,
        np.maximum(90 - lags[:, 0], 0) / 20,
        np.maximum(lags[:, 0] - 250, 0) / 50,
    ]
    return np.stack(columns, axis=1)
