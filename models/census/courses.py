"""Copies of the days ahead: who is in leaves, who comes stays, under each scenario.

All scenarios see the same candidates and the same luck, so that what differs between two courses is
what was changed and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.census import stays as _stays
from models.census.stays import DAY
from models.twin import Floats, Individual, Scenario

COPIES = 300


@dataclass(frozen=True, slots=True)
class Coming:
    """Candidates to arrive in all copies: more than under any scenario; which of them do is its.

    Attributes:
        copy: Which copy each is in.
        when: Days from now.
        drawn: Decides whether they come, uniform.
        lasts: Decides how long they stay, uniform.
        share: Of candidates that come when nothing is changed, by their moment.
    """

    copy: np.ndarray[tuple[int], np.dtype[np.int64]]
    when: Floats
    drawn: Floats
    lasts: Floats
    share: Floats


@dataclass(frozen=True, slots=True)
class Course:
    """What a scenario makes of arrivals and stays, by whole days from now."""

    days: int
    factor: Floats
    curves: tuple[tuple[float, Floats], ...]

    @classmethod
    def of(cls, scenario: Scenario, individual: Individual, *, days: int) -> Course:
        """Changes add up, and hold from their moment on."""
        starts = np.arange(days) * DAY
        factor, less, curves = np.ones(days), 0.0, [(0.0, individual["survival"])]
        for at, name, amount in sorted(scenario.actions):
            if name == "arrivals":
                factor[starts >= at - DAY / 2] += amount / 100
            else:
                less -= amount
                curves.append((at / DAY, _stays.shortened(individual["survival"], days=less)))
        return cls(days, np.maximum(factor, 0.0), tuple(curves))

    def beds(self, stayed: Floats, lasts: Floats, coming: Coming, *, copies: int) -> Floats:
        """Beds at the end of each day, [copies, days]."""
        ends = np.arange(1.0, self.days + 1)
        kept = [(self._kept(stayed, day) > lasts).sum(axis=1) for day in ends]
        taken = np.stack(kept, axis=1).astype(np.float64)
        at = np.minimum(coming.when.astype(np.int64), self.days - 1)
        comes = coming.drawn < coming.share * self.factor[at]
        copy, when, drawn = coming.copy[comes], coming.when[comes], coming.lasts[comes]
        for column, day in enumerate(ends):
            here = (when < day) & (self._kept(np.zeros(when.size), day - when, since=when) > drawn)
            taken[:, column] += np.bincount(copy[here], minlength=copies)
        return taken

    def _kept(self, stayed: Floats, ahead: Floats | float, since: Floats | float = 0.0) -> Floats:
        """Share still in ``ahead`` days after being in for ``stayed``; each curve for its time."""
        kept = np.ones(stayed.shape)
        ends = [start for start, _ in self.curves[1:]] + [np.inf]
        before = self.curves[0][1]
        for (start, curve), end in zip(self.curves, ends, strict=True):
            first, last = np.clip(start - since, 0.0, ahead), np.clip(end - since, 0.0, ahead)
            # Whoever a change finds beyond their new stay leaves on its day, not before it.
            base = np.maximum(_stays.still_in(before, stayed + first), 1e-12)
            share = np.minimum(_stays.still_in(curve, stayed + last) / base, 1.0)
            kept = kept * np.where(last > first, share, 1.0)
            before = curve
        return kept


def coming(
    generator: np.random.Generator,
    courses: Sequence[Course],
    individual: Individual,
    *,
    now: float,
    level: float,
    days: int,
) -> Coming:
    """Everybody who may come in these days, in any scenario.

    Args:
        generator: Draws them.
        courses: The scenarios.
        individual: Of the ward.
        now: Minutes.
        level: Arrivals of a mean day.
        days: How many.
    """
    weekly, most = individual["weekly"], max(float(course.factor.max()) for course in courses)
    top = level * weekly.max() * max(most, 1.0)
    # Days differ by more than chance: a level of each day's own, of the variance that was seen.
    uneven = max(float(individual["uneven"][0]), 1e-6)
    own = generator.gamma(1 / uneven, uneven, size=(COPIES, days))
    counts = generator.poisson(top * own)
    copy, day = (each.ravel() for each in np.indices(counts.shape))
    copy, day = np.repeat(copy, counts.ravel()), np.repeat(day, counts.ravel())
    when = day + generator.random(day.size)
    share = level * weekly[_stays.weekday(now + when * DAY)] / max(top, 1e-12)
    return Coming(copy, when, generator.random(day.size), generator.random(day.size), share)
