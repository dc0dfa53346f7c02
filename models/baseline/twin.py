"""A baseline as a twin: what is usual for one patient, followed, and alerts at a fixed rate.

Implements ``models.twin.Twin`` and is associational. Population: what is usual of people.
Individual: what is usual of this one, learnt until a moment. State: levels, trends and the watch
over alerts at the last reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from models.baseline import alerts, engine, specs
from models.baseline.alerts import Seen, Watch
from models.baseline.engine import Level, Usual
from models.baseline.specs import Measured
from models.calibration import FEWEST, Calibration
from models.twin import (
    Explanation,
    Individual,
    Population,
    Replay,
    Scenario,
    Series,
    State,
    Trajectories,
    TwinSpec,
)
from twinward.errors import TwinModelError

Floats = NDArray[np.float64]

_COPIES = 50
_STANDS_OUT = 5.0
"""Percentile of the population, from either end, that is put in words."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A moment after the baseline was learnt.

    Attributes:
        minutes: When, in the history's time.
        seen: What the watch says of it.
        name: Quantity that was farthest off.
        value: Its reading.
        usual: Its level then, as expected before the reading.
    """

    minutes: float
    seen: Seen
    name: str
    value: float
    usual: float


class BaselineTwin:
    """Readings of some quantities against the patient's own baseline."""

    def __init__(self, spec: TwinSpec, measured: tuple[Measured, ...]) -> None:
        self.spec = spec
        self._measured = measured
        self._names = tuple(each.quantity.name for each in measured)

    def population(self) -> Population:
        """Textbook values, from no patient at all."""
        return _arrays(specs.usual(self._measured))

    def individualise(
        self, population: Population, history: Series, *, generator: np.random.Generator
    ) -> Individual:
        """What is usual for this patient; nothing in it is random.

        Raises:
            TwinModelError: TW7159, too few moments.
        """
        del generator
        table = engine.columns(history, self._names)
        if np.isfinite(table).any(axis=1).sum() < FEWEST:
            raise TwinModelError(
                "there are too few readings for a baseline of this patient's own",
                code="TW7159",
                help=f"give at least {FEWEST} moments with a reading; nothing is watched before",
            )
        own = engine.personal(usual_of(population), history, self._names)
        return {**_arrays(own), "until": history.minutes[-1:].copy()}

    def begin(self, individual: Individual, history: Series) -> State:
        """Levels and the watch at the end of the history."""
        usual = usual_of(individual)
        before, later = _parted(history, float(individual["until"][0]))
        levels, offs = engine.follow(usual, before, self._names)
        start = levels[-1] if levels else engine.begin(usual, minutes=0.0)
        state = _state(start, alerts.begin(_scores(offs)))
        return self.assimilate(individual, state, later)

    def assimilate(self, individual: Individual, state: State, seen: Series) -> State:
        """Levels and watch after some more readings; a time already told of is not taken again."""
        usual, now, watch = usual_of(individual), _level(state), _watch(state)
        new = seen.minutes > now.minutes
        table = engine.columns(seen, self._names)
        for minutes, row in zip(seen.minutes[new], table[new], strict=True):
            now, off = engine.read(usual, engine.ahead(usual, now, minutes=float(minutes)), row)
            watch, _ = alerts.see(watch, off)
        return _state(now, watch)

    def judged(self, individual: Individual, history: Series) -> tuple[Judged, ...]:
        """Every moment after the baseline was learnt, as the watch saw it when it came."""
        usual, until = usual_of(individual), float(individual["until"][0])
        before, later = _parted(history, until)
        state = self.begin(individual, before)
        now, watch, found = _level(state), _watch(state), []
        for minutes, row in zip(later.minutes, engine.columns(later, self._names), strict=True):
            there = engine.ahead(usual, now, minutes=float(minutes))
            now, off = engine.read(usual, there, row)
            watch, seen = alerts.see(watch, off)
            if seen.farthest >= 0:
                which = seen.farthest
                found.append(
                    Judged(
                        float(minutes), seen, self._names[which], float(row[which]),
                        float(there.level[which]),
                    )
                )  # fmt: skip
        return tuple(found)

    def expected(self, individual: Individual, history: Series) -> tuple[Floats, Floats]:
        """Level and standard deviation of each reading, as before it came, [times, quantities]."""
        usual = usual_of(individual)
        levels, _ = engine.follow(usual, history, self._names)
        before = [engine.begin(usual, minutes=float(history.minutes[0])), *levels[:-1]]
        there = [
            engine.ahead(usual, level, minutes=float(minutes))
            for level, minutes in zip(before, history.minutes, strict=True)
        ]
        spread = np.array([each.spread[:, 0, 0] for each in there])
        return np.array([each.level for each in there]), np.sqrt(spread + usual.within**2)

    def simulate(
        self,
        individual: Individual,
        state: State,
        scenarios: Sequence[Scenario],
        *,
        horizon_minutes: float,
    ) -> Trajectories:
        """The first quantity if everything goes on as it does; its copies are its uncertainty."""
        usual, now = usual_of(individual), _level(state)
        step = self.spec.step_minutes
        count = max(1, int(horizon_minutes // step))
        minutes = step * np.arange(1, count + 1, dtype=np.float64)
        there = [engine.ahead(usual, now, minutes=now.minutes + each) for each in minutes]
        said = np.array([each.level[0] for each in there])
        scale = np.sqrt([each.spread[0, 0, 0] + usual.within[0] ** 2 for each in there])
        normal = NormalDist()
        even = np.array([normal.inv_cdf((copy + 0.5) / _COPIES) for copy in range(_COPIES)])
        samples = said + even[:, None] * scale
        shape = (len(scenarios), *samples.shape)
        return Trajectories(
            output=self._names[0],
            minutes=minutes,
            samples=np.broadcast_to(samples, shape).copy(),
            scale=np.broadcast_to(scale, (len(scenarios), scale.size)).copy(),
        )

    def replay(self, individual: Individual, history: Series, *, horizon_minutes: float) -> Replay:
        """What it would have said of the first reading that came at least so much later."""
        usual = usual_of(individual)
        read = np.isfinite(engine.columns(history, self._names[:1])[:, 0])
        levels, _ = engine.follow(usual, history, self._names)
        at = np.flatnonzero(read)
        minutes = history.minutes[at]
        last = np.searchsorted(minutes, minutes - horizon_minutes, side="right") - 1
        pairs = [(at[then], row) for then, row in zip(last, at, strict=True) if then >= 0]
        values = history.values[self._names[0]] if pairs else np.zeros(0)
        then = np.array([pair[0] for pair in pairs], dtype=np.intp)
        there = [
            engine.ahead(usual, levels[start], minutes=float(history.minutes[row]))
            for start, row in pairs
        ]
        return Replay(
            minutes=history.minutes[then],
            said=np.array([each.level[0] for each in there]),
            scale=np.sqrt([each.spread[0, 0, 0] + usual.within[0] ** 2 for each in there]),
            seen=values[[pair[1] for pair in pairs]] if pairs else np.zeros(0),
            last=values[then],
        )

    def explain(self, individual: Individual, population: Population) -> Explanation:
        """The patient's own usual values beside the population's."""
        own, people, normal = usual_of(individual), usual_of(population), NormalDist()
        rows, words = [], []
        for number, each in enumerate(self._measured):
            level, middle = float(own.mean[number]), float(people.mean[number])
            percentile = 100 * normal.cdf((level - middle) / float(people.between[number]))
            rows.append((each.quantity.name, level, middle, percentile))
            if min(percentile, 100 - percentile) <= _STANDS_OUT:
                words.append(
                    f"{each.quantity.title} is usually {level:.3g} {each.quantity.unit} here, "
                    f"{'lower' if percentile < 50 else 'higher'} than in 19 of 20 people"
                )
        return Explanation(rows=tuple(rows), words=tuple(words))


def _arrays(usual: Usual) -> dict[str, Floats]:
    return {
        "mean": usual.mean, "between": usual.between, "within": usual.within,
        "drift": usual.drift, "slope": usual.slope,
    }  # fmt: skip


def usual_of(population: Population) -> Usual:
    """What is usual, as the arrays of a population or of one patient have it."""
    return Usual(*(population[name] for name in ("mean", "between", "within", "drift", "slope")))


def _state(level: Level, watch: Watch) -> State:
    calibration = watch.calibration
    return {
        "minutes": np.array([level.minutes]),
        "level": level.level,
        "trend": level.trend,
        "spread": level.spread,
        "scores": np.array(calibration.scores),
        "counts": np.array([calibration.level, calibration.inside, calibration.seen]),
        "beyond": np.array(watch.beyond, dtype=np.float64),
        "edge": np.array([watch.edge]),
    }


def _level(state: State) -> Level:
    return Level(float(state["minutes"][0]), state["level"], state["trend"], state["spread"])


def _watch(state: State) -> Watch:
    level, inside, seen = state["counts"]
    return Watch(
        Calibration(
            target=1 - alerts.TARGET,
            level=float(level),
            scores=tuple(state["scores"].tolist()),
            inside=int(inside),
            seen=int(seen),
        ),
        tuple(bool(each) for each in state["beyond"]),
        float(state["edge"][0]),
    )


def _scores(offs: Floats) -> Floats:
    far = np.where(np.isfinite(offs), np.abs(offs), -1.0).max(axis=1, initial=-1.0)
    return np.where(far < 0, np.nan, far)


def _parted(history: Series, until: float) -> tuple[Series, Series]:
    early = history.minutes <= until
    return _chosen(history, early), _chosen(history, ~early)


def _chosen(history: Series, rows: NDArray[np.bool_]) -> Series:
    return Series(
        history.minutes[rows], {name: column[rows] for name, column in history.values.items()}
    )


VITALS = BaselineTwin(specs.VITALS_SPEC, specs.VITALS)
WELLNESS = BaselineTwin(specs.WELLNESS_SPEC, specs.WELLNESS)
HEARTBEAT = BaselineTwin(specs.HEARTBEAT_SPEC, specs.HEARTBEAT)
