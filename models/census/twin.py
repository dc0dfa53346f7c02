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

import numpy as np

from models.census import stays as _stays
from models.census.courses import COPIES, Course, coming
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
        courses = [Course.of(scenario, individual, days=days) for scenario in scenarios]
        generator = np.random.default_rng(_SEED)
        stayed = (now - state["inside"]) / DAY
        lasts = generator.random((COPIES, stayed.size))
        candidates = coming(generator, courses, individual, now=now, level=level, days=days)
        samples = np.array(
            [course.beds(stayed, lasts, candidates, copies=COPIES) for course in courses]
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
