"""How long patients stay and when they come: the two curves that a hospital's beds follow from.

A stay's survival S(x), the share still in after x days, is kept at whole days and read between them
as if they left evenly. Hazards are those of the life table (Kaplan and Meier, J Am Stat Assoc 53,
1958), so that who is still in counts for as long as they have been; each is pulled to a
population's by some patients' worth, which steadies a small ward and is soon forgotten by a large
one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models.twin import Floats, Series
from twinward.errors import TwinModelError

DAYS = 90
"""Whole days of the curve; the few who stay longer leave at its last daily rate."""

DAY = 1440.0
"""Minutes."""

_PULL_STAYS = 20.0
"""Patients at risk that the population's word on each day counts as."""

_PULL_ARRIVALS = 140.0
"""Arrivals that the population's word on weekdays counts as: a month of a small ward."""

_SAME_MOMENT = 1.0
"""Minutes within which a departure's arrival is looked for: files are written to the minute."""


@dataclass(frozen=True, slots=True)
class Stays:
    """Every patient of a history: when they came and left, minutes; ``left`` infinite while in."""

    came: Floats
    left: Floats

    def inside(self, at: float) -> Floats:
        """When those came who were in at a moment."""
        return self.came[(self.came <= at) & (self.left > at)]


def observed(came: Floats, left: Floats, *, until: float | None = None) -> Series:
    """What a ward sees until a moment: each arrival, and each departure with its stay.

    The last change if no moment is given. Moments shared by several are told apart by a fraction
    of a second, as a series asks.
    """
    if until is None:
        until = float(max(came.max(), left[np.isfinite(left)].max(initial=-np.inf)))
    known = came <= until
    came, left = came[known], left[known]
    gone = left <= until
    minutes = np.concatenate([came, left[gone]])
    arrived = np.concatenate([np.ones(came.size), np.full(gone.sum(), np.nan)])
    took = np.concatenate([np.full(came.size, np.nan), (left - came)[gone] / DAY])
    order = np.argsort(minutes, kind="stable")
    return Series(_apart(minutes[order]), {"arrived": arrived[order], "left_after": took[order]})


def stays_of(history: Series) -> Stays:
    """Arrivals matched with departures; each departure names its stay, so that nobody is named.

    A departure of somebody who came before the history began is left out.

    Raises:
        TwinModelError: TW7142, nobody ever arrived.
    """
    came = arrivals_of(history)
    if not came.size:
        raise TwinModelError(
            "this history has no arrivals",
            code="TW7142",
            help="give every arrival of at least some weeks, and every departure with its stay",
        )
    left = np.full(came.size, np.inf)
    took = history.values.get("left_after", np.full(history.minutes.shape, np.nan))
    gone = np.flatnonzero(np.isfinite(took))
    for begun, ended in zip(
        history.minutes[gone] - took[gone] * DAY, history.minutes[gone], strict=True
    ):
        place = _open_place(came, left, begun)
        if place is not None:
            left[place] = ended
    return Stays(came, left)


def arrivals_of(history: Series) -> Floats:
    """When each patient came, one entry a patient."""
    arrived = history.values.get("arrived", np.zeros(history.minutes.shape))
    arrived = np.where(np.isfinite(arrived), arrived, 0.0)
    return np.repeat(history.minutes, arrived.astype(np.int64))


def without_one(came: Floats, begun: float) -> Floats:
    """Those in, less the one who came at this moment, if there is one."""
    place = _open_place(came, np.full(came.size, np.inf), begun)
    return came if place is None else np.delete(came, place)


def survival(stays: Stays, *, at: float, usual: Floats) -> Floats:
    """Share still in after 0, 1, ... ``DAYS`` days, from what was known at a moment, [DAYS + 1].

    Args:
        stays: Of the history.
        at: The moment; who is in then counts as not gone.
        usual: The population's curve, towards which each day's hazard is pulled.
    """
    known = stays.came <= at
    gone = known & (stays.left <= at)
    lasted = (np.minimum(stays.left, at) - stays.came)[known] / DAY
    ended = gone[known]
    days = np.arange(DAYS)
    whole = np.minimum(lasted, DAYS).astype(np.int64)
    leaving = np.bincount(whole[ended & (lasted < DAYS)], minlength=DAYS)[:DAYS]
    started = (lasted[:, None] >= days).sum(axis=0)
    # Who is still in was at risk for a part of their last day: half of it (the life table's rule).
    partly = np.bincount(whole[~ended & (lasted < DAYS)], minlength=DAYS)[:DAYS] / 2.0
    hazard = (leaving + _PULL_STAYS * hazards(usual)) / (started - partly + _PULL_STAYS)
    return curve(hazard)


def hazards(survived: Floats) -> Floats:
    """Of those in at the start of each day, the share that leaves in it."""
    return 1 - survived[1:] / np.maximum(survived[:-1], 1e-12)


def curve(hazard: Floats) -> Floats:
    """The survival of daily hazards."""
    kept: Floats = np.append(1.0, np.cumprod(1 - np.clip(hazard, 0.0, 1.0)))
    return kept


def still_in(survived: Floats, days: Floats) -> Floats:
    """S at any number of days; before 0 it is 1, past the curve the last rate goes on."""
    last = max(survived[-1], 1e-12)
    rate = min(survived[-1] / max(survived[-2], 1e-12), 0.999)
    tail = last * rate ** np.maximum(days - DAYS, 0.0)
    return np.where(days > DAYS, tail, np.interp(days, np.arange(DAYS + 1), survived))


def shortened(survived: Floats, *, days: float, from_day: float = 3.0) -> Floats:
    """The curve when everybody who would stay longer than ``from_day`` stays so much less.

    Nobody leaves before ``from_day`` for it; a negative number makes stays longer.
    """
    grid = np.arange(DAYS + 1, dtype=np.float64)
    moved = still_in(survived, np.maximum(grid + days, from_day))
    return np.where(grid >= from_day, moved, survived)


def weekday(minutes: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """0 Monday to 6 Sunday, if minutes count from 1970."""
    return (np.floor(minutes / DAY).astype(np.int64) + 3) % 7


def weekly(came: Floats, *, first: float, at: float, usual: Floats) -> Floats:
    """Arrivals of each weekday over those of the mean day, [7]; pulled to the population's."""
    whole = DAY * np.arange(math.ceil(first / DAY), math.floor(at / DAY), dtype=np.float64)
    exposed = np.bincount(weekday(whole), minlength=7).astype(np.float64)
    inside = came[(came >= np.ceil(first / DAY) * DAY) & (came < np.floor(at / DAY) * DAY)]
    seen = np.bincount(weekday(inside), minlength=7)
    mean = inside.size / max(exposed.sum(), 1.0)
    shape = (seen + _PULL_ARRIVALS / 7 * usual) / np.maximum(
        mean * exposed + _PULL_ARRIVALS / 7, 1e-9
    )
    kept: Floats = shape / shape.mean()
    return kept


def _open_place(came: Floats, left: Floats, begun: float) -> int | None:
    """Who came at this moment and has not left, nearest first."""
    near = np.flatnonzero((np.abs(came - begun) <= _SAME_MOMENT) & np.isinf(left))
    return None if not near.size else int(near[np.argmin(np.abs(came[near] - begun))])


def _apart(minutes: Floats) -> Floats:
    """The same moments, each later than the one before by a thousandth of a minute at least."""
    steps = np.arange(minutes.size) * 1e-3
    raised: Floats = np.maximum.accumulate(minutes - steps) + steps
    return raised
