"""The beds of a ward: who is in and for how long already, who will come, how long they will stay.

Everyone who is in has a stay so far, and so a residual stay of their own; arrivals are drawn by
weekday around a level that follows the last weeks. It knows what takes a bed: somebody came and has
not left. So it may be asked about more arrivals, a closed door, and
stays that are shorter. It does not know why somebody comes.

What may leave is in ``models.census.counts``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.census import stays as _stays
from models.census.stays import DAY, DAYS
from models.twin import (
    Explanation,
    Floats,
    Individual,
    Kind,
    Population,
    Quantity,
    Reasoning,
    Replay,
    Scenario,
    Series,
    State,
    Trajectories,
    TwinSpec,
)
from twinward.errors import TwinModelError

COPIES = 300
_LEVEL_DAYS = 28.0
"""The level of arrivals forgets with this time constant."""

_WARM_DAYS = 28
"""Before so many days of history nothing is asked of the past: who was in before is unknown."""

_FLOOR = 1.0
"""Beds; no forecast is surer than this before it is calibrated."""

_SEED = 20261121
"""Copies under all scenarios see the same arrivals and stays, and the same in every call."""


class CensusTwin:
    """Beds taken in a ward or hospital over the next two weeks."""

    spec = TwinSpec(
        name="census/1",
        title="Beds taken",
        kind=Kind.SYSTEM,
        reasoning=Reasoning.MECHANISTIC,
        inputs=(
            Quantity("arrived", "Arrivals at this moment", "local:arrived", "1", 0, 1000),
            Quantity("left_after", "Stay of who leaves now", "local:left-after", "d", 0, 3650),
            Quantity("arrivals", "Arrivals, change", "local:arrivals", "%", -100, 1000),
            Quantity("stay", "Stays beyond three days, change", "local:stay", "d", -30, 30),
        ),
        actions=("arrivals", "stay"),
        outputs=(Quantity("beds", "Beds taken", "local:beds", "1", 0, 100_000),),
        step_minutes=DAY,
        horizon_minutes=14 * DAY,
        intended_use="Planning of beds some days ahead, beside those who run the ward.",
        limits=(
            "Not for decisions about a patient: all patients are alike to it but for their stay.",
            "It does not see an epidemic coming; a surge has to be asked about.",
            "Stays of weeks are few in a small ward; they are mostly the population's word.",
        ),
        sources=("Kaplan, Meier 1958 (doi:10.2307/2281868)",),
    )

    def population(self) -> Population:
        """A general ward as textbooks have it: median stay four days, fewer arrivals at weekends.

        ``spread`` is how far hospitals' mean stays and weekend shares are apart, as standard
        deviation of the logarithm, for explanations only; by hand.
        """
        days = np.arange(1, DAYS + 1)
        curve = [0.5 * math.erfc(math.log(day / 4.0) / (0.95 * math.sqrt(2))) for day in days]
        weekly = np.array([1.14, 1.1, 1.08, 1.06, 1.06, 0.8, 0.76])
        survival = np.array([1.0, *curve])
        return {"survival": survival, "weekly": weekly, "spread": np.array([0.35, 0.25])}

    def individualise(
        self, population: Population, history: Series, *, generator: np.random.Generator
    ) -> Individual:
        """The ward's own curve of stays, weekdays, and how much its days differ.

        Raises:
            TwinModelError: TW7142, no arrivals; TW7143, fewer than 28 days.
        """
        del generator
        known, at = _stays.stays_of(history), float(history.minutes[-1])
        first = float(known.came[0])
        if at - first < _WARM_DAYS * DAY:
            raise TwinModelError(
                f"a ward's twin needs {_WARM_DAYS} days of arrivals",
                code="TW7143",
                help="give a longer history; before that use the counts of its beds",
            )
        weekly = _stays.weekly(known.came, first=first, at=at, usual=population["weekly"])
        return {
            "survival": _stays.survival(known, at=at, usual=population["survival"]),
            "weekly": weekly,
            "uneven": np.array([_uneven(known.came, weekly, first=first, at=at)]),
        }

    def begin(self, individual: Individual, history: Series) -> State:
        """Who is in since when, and the level of arrivals a day."""
        known, at = _stays.stays_of(history), float(history.minutes[-1])
        level = _levels(known.came, individual["weekly"], np.array([at]))
        return {"minute": history.minutes[-1:], "inside": known.inside(at), "level": level}

    def assimilate(self, individual: Individual, state: State, seen: Series) -> State:
        """The same after more arrivals and departures; older ones are not taken."""
        before = float(state["minute"][0])
        later = seen.minutes > before
        if not later.any():
            return state
        new = Series(
            seen.minutes[later], {name: column[later] for name, column in seen.values.items()}
        )
        came = _stays.arrivals_of(new)
        inside = np.concatenate([state["inside"], came])
        took = new.values.get("left_after", np.full(new.minutes.shape, np.nan))
        for at, stayed in zip(new.minutes, took, strict=True):
            if np.isfinite(stayed):
                inside = _stays.without_one(inside, at - stayed * DAY)
        now = float(new.minutes[-1])
        level = _advanced(float(state["level"][0]), came, individual["weekly"], before, now)
        return {"minute": new.minutes[-1:], "inside": inside, "level": np.array([level])}

    def simulate(
        self,
        individual: Individual,
        state: State,
        scenarios: Sequence[Scenario],
        *,
        horizon_minutes: float,
    ) -> Trajectories:
        """Beds at the end of each day from now, of every copy under each scenario."""
        days = int(horizon_minutes // DAY)
        now, level = float(state["minute"][0]), float(state["level"][0])
        courses = [_Course.of(scenario, individual, days=days) for scenario in scenarios]
        generator = np.random.default_rng(_SEED)
        stayed = (now - state["inside"]) / DAY
        lasts = generator.random((COPIES, stayed.size))
        coming = _coming(generator, courses, individual, now=now, level=level, days=days)
        samples = np.array(
            [course.beds(stayed, lasts, coming, copies=COPIES) for course in courses]
        )
        minutes = DAY * np.arange(1.0, days + 1)
        return Trajectories("beds", minutes, samples, np.hypot(samples.std(axis=1), _FLOOR))

    def replay(self, individual: Individual, history: Series, *, horizon_minutes: float) -> Replay:
        """What it said at each midnight of the beds so many days later; means, not copies."""
        known = _stays.stays_of(history)
        ahead = horizon_minutes / DAY
        first = np.ceil(history.minutes[0] / DAY) + _WARM_DAYS
        asked = np.arange(first, np.floor(history.minutes[-1] / DAY - ahead) + 1) * DAY
        levels = _levels(known.came, individual["weekly"], asked)
        said, variance = np.empty(asked.size), np.empty(asked.size)
        for row, (at, level) in enumerate(zip(asked, levels, strict=True)):
            said[row], variance[row] = _expected(individual, known.inside(at), at, level, ahead)

        came, gone = np.sort(known.came), np.sort(known.left)

        def taken(when: Floats) -> Floats:
            arrived, left = (np.searchsorted(each, when, "right") for each in (came, gone))
            return (arrived - left).astype(np.float64)

        return Replay(
            minutes=asked,
            said=said,
            scale=np.sqrt(variance + _FLOOR**2),
            seen=taken(asked + horizon_minutes),
            last=taken(asked),
        )

    def explain(self, individual: Individual, population: Population) -> Explanation:
        """Mean stay and weekends of this ward among hospitals."""
        own, usual = (
            np.array([each["survival"].sum(), each["weekly"][5:].sum() / 7])
            for each in (individual, population)
        )
        names = ("mean stay, days", "share of arrivals at weekends")
        spread = population.get("spread", self.population()["spread"])
        z = np.log(own / usual) / spread
        rows = zip(names, own, usual, 100 / (1 + np.exp(-1.702 * z)), strict=True)
        return Explanation(
            rows=tuple((name, float(a), float(b), float(c)) for name, a, b, c in rows),
            words=tuple(
                f"{name}: {ratio:.2g} times what is usual"
                for name, ratio, far in zip(names, own / usual, np.abs(z), strict=True)
                if far > 1
            ),
        )


@dataclass(frozen=True, slots=True)
class _Coming:
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
class _Course:
    """What a scenario makes of arrivals and stays, by whole days from now."""

    days: int
    factor: Floats
    curves: tuple[tuple[float, Floats], ...]

    @classmethod
    def of(cls, scenario: Scenario, individual: Individual, *, days: int) -> _Course:
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

    def beds(self, stayed: Floats, lasts: Floats, coming: _Coming, *, copies: int) -> Floats:
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


def _coming(
    generator: np.random.Generator,
    courses: Sequence[_Course],
    individual: Individual,
    *,
    now: float,
    level: float,
    days: int,
) -> _Coming:
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
    return _Coming(copy, when, generator.random(day.size), generator.random(day.size), share)


def _expected(
    individual: Individual, inside: Floats, at: float, level: float, ahead: float
) -> tuple[float, float]:
    """Mean and variance of the beds ``ahead`` days after a moment."""
    curve = individual["survival"]
    stayed = (at - inside) / DAY
    stay = _stays.still_in(curve, stayed + ahead) / np.maximum(
        _stays.still_in(curve, stayed), 1e-12
    )
    parts = np.arange(0.125, ahead, 0.25)
    rates = level * individual["weekly"][_stays.weekday(at + parts * DAY)] * 0.25
    new = rates * _stays.still_in(curve, ahead - parts)
    uneven = float(individual["uneven"][0])
    return (
        float(stay.sum() + new.sum()),
        float((stay * (1 - stay)).sum() + new.sum() + uneven * new.sum() ** 2 / max(ahead, 1.0)),
    )


def _levels(came: Floats, weekly: Floats, asked: Floats) -> Floats:
    """Arrivals of a mean day at each moment: all days before it, the older the less."""
    ordered = np.sort(came)
    first = float(ordered[0])
    if not asked.size:
        return asked
    whole = np.arange(np.floor(first / DAY), np.floor(asked[-1] / DAY) + 1) * DAY
    counts = np.diff(np.searchsorted(ordered, np.append(whole, whole[-1:] + DAY)))
    expected = weekly[_stays.weekday(whole)]
    found = np.empty(asked.size)
    for row, at in enumerate(asked):
        known = whole + DAY <= at + 1e-9
        age = (at - whole[known]) / DAY
        weight = np.exp(-age / _LEVEL_DAYS)
        seen, due = weight @ counts[known], weight @ expected[known]
        found[row] = seen / due if due > 0 else 0.0
    return found


def _advanced(level: float, came: Floats, weekly: Floats, before: float, now: float) -> float:
    """The level after some more days."""
    days = (now - before) / DAY
    parts = before + (np.arange(max(1, round(days * 4))) + 0.5) * (now - before) / max(
        1, round(days * 4)
    )
    due = float(weekly[_stays.weekday(parts)].mean()) * days
    kept = float(np.exp(-days / _LEVEL_DAYS))
    # What the earlier days weigh, had they gone on for ever at this level.
    weight = _LEVEL_DAYS * kept
    return (level * weight + came.size) / (weight + due) if weight + due > 0 else level


def _uneven(came: Floats, weekly: Floats, *, first: float, at: float) -> float:
    """Variance of a day's own level beyond what chance gives (1: as wide as the level itself)."""
    whole = DAY * np.arange(math.ceil(first / DAY), math.floor(at / DAY), dtype=np.float64)
    counts = np.diff(np.searchsorted(np.sort(came), np.append(whole, whole[-1] + DAY)))
    expected = weekly[_stays.weekday(whole)] * counts.mean()
    beyond = ((counts - expected) ** 2 - expected).sum() / max((expected**2).sum(), 1e-12)
    return float(np.clip(beyond, 1e-4, 2.0))
