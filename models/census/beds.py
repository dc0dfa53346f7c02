"""Beds taken, from counts of beds alone: a level and a trend that dies away.

Where a hospital or a region gives nothing but one number a day there is no telling who will leave.
What helps then is that a wave goes on for some days (Gardner, McKenzie, Management Science 31,
1985: damped trend). It works on square roots, so that a day's error is alike in small and large
counts. The three gains are public constants; nothing is learnt over hospitals, and
nothing leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from models.census.stays import DAY
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

_COPIES = 99
_FEWEST_DAYS = 14
_SIZE = 0.1
"""How fast the size of a usual error is learnt again."""

_FLOOR = 1.0
"""Beds."""

_BEDS = Quantity("beds", "Beds taken", "local:beds", "1", 0, 100_000)


class BedCount:
    """Beds taken over the next week, of a ward, a hospital or a region. Forecasts only."""

    spec = TwinSpec(
        name="bed-count/1",
        title="Beds taken, from counts",
        kind=Kind.SYSTEM,
        reasoning=Reasoning.ASSOCIATIONAL,
        inputs=(_BEDS,),
        actions=(),
        outputs=(_BEDS,),
        step_minutes=DAY,
        horizon_minutes=7 * DAY,
        intended_use="Forecast of beds some days ahead where only daily counts are known.",
        limits=(
            "It follows a wave and does not see it turn; after a peak it is too high for days.",
            "It knows nobody's stay: it cannot say what shorter stays or a closed door would do.",
            "Its three gains were chosen on the first months of the Italian regions of 2020.",
        ),
        sources=("Gardner, McKenzie 1985 (doi:10.1287/mnsc.31.10.1237)",),
    )

    def population(self) -> Population:
        """Gains of level and trend, and what is left of the trend a day later."""
        return {"gains": np.array([0.9, 0.3, 0.95])}

    def individualise(
        self, population: Population, history: Series, *, generator: np.random.Generator
    ) -> Individual:
        """The public gains: a series of one place is too short to choose better ones.

        Raises:
            TwinModelError: TW7144, fewer than 14 days.
        """
        del generator
        if _daily(history)[0].size < _FEWEST_DAYS:
            raise TwinModelError(
                f"the counts of at least {_FEWEST_DAYS} days are needed",
                code="TW7144",
                help="give one count a day, of two weeks or more",
            )
        return {"gains": population["gains"]}

    def begin(self, individual: Individual, history: Series) -> State:
        """Day, level, trend and size of a usual error after the whole history."""
        return {"now": _followed(individual["gains"], *_daily(history))[-1]}

    def assimilate(self, individual: Individual, state: State, seen: Series) -> State:
        """The same after later counts; of one day the latest, and older days are not taken."""
        days, beds = _daily(seen)
        later = days > state["now"][0]
        if not later.any():
            return state
        found = _followed(individual["gains"], days[later], beds[later], after=state["now"])
        return {"now": found[-1]}

    def simulate(
        self,
        individual: Individual,
        state: State,
        scenarios: Sequence[Scenario],
        *,
        horizon_minutes: float,
    ) -> Trajectories:
        """The middle with its quantiles as copies, alike for every scenario."""
        days = np.arange(1, int(horizon_minutes // DAY) + 1)
        rows = state["now"][None, :]
        said = np.array([_ahead(individual["gains"], rows, day)[0] for day in days.tolist()]).T
        middle, scale = said[0], said[1]
        at = [NormalDist().inv_cdf((copy + 0.5) / _COPIES) for copy in range(_COPIES)]
        copies = np.maximum(middle + np.array(at)[:, None] * scale, 0.0)
        samples = np.repeat(copies[None], len(scenarios), axis=0)
        scales = np.repeat(scale[None], len(scenarios), axis=0)
        return Trajectories("beds", DAY * days.astype(np.float64), samples, scales)

    def replay(self, individual: Individual, history: Series, *, horizon_minutes: float) -> Replay:
        """What it said on each day of the day so many days later."""
        days, beds = _daily(history)
        ahead = round(horizon_minutes / DAY)
        rows = _followed(individual["gains"], days, beds)[_FEWEST_DAYS:]
        said = _ahead(individual["gains"], rows, ahead)
        known = dict(zip(days.tolist(), beds.tolist(), strict=True))
        return Replay(
            minutes=rows[:, 0] * DAY,
            said=said[:, 0],
            scale=said[:, 1],
            seen=np.array([known.get(day + ahead, np.nan) for day in rows[:, 0].tolist()]),
            last=beds[_FEWEST_DAYS:],
        )

    def explain(self, individual: Individual, population: Population) -> Explanation:
        """Nothing is particular about a place: all have the same gains."""
        names = ("gain of the level", "gain of the trend", "trend left a day later")
        pairs = zip(names, individual["gains"], population["gains"], strict=True)
        return Explanation(tuple((name, float(a), float(b), 50.0) for name, a, b in pairs), ())


def _daily(history: Series) -> tuple[Floats, Floats]:
    """Days and the last count of each; days without one are left out."""
    beds = history.values.get("beds", np.full(history.minutes.shape, np.nan))
    known = np.isfinite(beds)
    days, last = np.floor(history.minutes[known] / DAY), beds[known]
    newest = np.append(np.diff(days) > 0, [True])[: days.size]
    return days[newest], last[newest]


def _followed(gains: Floats, days: Floats, beds: Floats, *, after: Floats | None = None) -> Floats:
    """Day, level, trend, size of a usual error after each count, [n, 4]; levels are roots."""
    gain, of_trend, left = gains
    roots = np.sqrt(beds)
    state = after if after is not None else np.array([days[0], roots[0], 0.0, 0.3])
    rows = []
    for day, root in zip(days, roots, strict=True):
        before, level, trend, size = state
        gap = int(day - before)
        level += trend * _summed(left, gap)
        error, trend = root - level, trend * left**gap
        size += _SIZE * (abs(error) / max(gap, 1) - size) if gap else 0.0
        state = np.array([day, level + gain * error, trend + gain * of_trend * error, size])
        rows.append(state)
    return np.array(rows)


def _ahead(gains: Floats, rows: Floats, days: float) -> Floats:
    """Beds and their uncertainty so many days after each row, [n, 2]."""
    roots = np.maximum(rows[:, 1] + rows[:, 2] * _summed(gains[2], days), 0.0)
    said = roots**2
    scale = np.maximum(2 * roots, 1.0) * rows[:, 3] * days + _FLOOR
    return np.stack([said, scale], axis=1)


def _summed(left: float, days: float) -> float:
    """The trend of so many days, each ``left`` of the one before."""
    return float(left * (1 - left**days) / (1 - left))
