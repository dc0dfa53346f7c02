"""The pressure of one patient from two numbers: what small arteries resist, what large ones hold.

A two-element Windkessel that is filled at once by each beat and empties through the resistance
(Frank 1899; Westerhof, Lankelma, Westerhof, Med Biol Eng Comput 47, 2009). In the steady beat

    systolic = (SV / C) / (1 - exp(-T / (R C))),   diastolic = systolic exp(-T / (R C))

so that two readings give R and C. The worked example of a twin, for teaching: no waves, no reflex.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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

COPIES = 100
_FLOOR = 3.0
"""mmHg; what a cuff is off by at its best."""

_SEEN = ("systolic", "diastolic", "heart_rate", "stroke_volume")


class HaemodynamicTwin:
    """Systolic pressure over the next hour."""

    spec = TwinSpec(
        name="haemodynamic/1",
        title="Arterial pressure (teaching example)",
        kind=Kind.DYNAMIC,
        reasoning=Reasoning.MECHANISTIC,
        inputs=(
            Quantity("systolic", "Systolic pressure", "8480-6", "mm[Hg]", 40, 300),
            Quantity("diastolic", "Diastolic pressure", "8462-4", "mm[Hg]", 20, 200),
            Quantity("heart_rate", "Heart rate", "8867-4", "/min", 20, 250),
            Quantity("stroke_volume", "Stroke volume", "local:stroke-volume", "mL", 10, 200),
            Quantity("resistance", "Resistance, change", "local:resistance", "%", -80, 200),
        ),
        actions=("heart_rate", "stroke_volume", "resistance"),
        outputs=(Quantity("systolic", "Systolic pressure", "8480-6", "mm[Hg]", 40, 300),),
        step_minutes=1.0,
        horizon_minutes=60.0,
        intended_use="Teaching: how a twin is built. Simulation only.",
        limits=(
            "Not a medical device, and tested on no real patient.",
            "Two numbers: no waves, no valves, no reflex that answers a change.",
        ),
        sources=("Westerhof et al. 2009 (doi:10.1007/s11517-008-0359-2)",),
    )

    def population(self) -> Population:
        """Textbook values: resistance in mmHg s/mL, compliance in mL/mmHg; as logarithms."""
        return {"mean": np.log([1.0, 1.5]), "sd": np.array([0.25, 0.3])}

    def individualise(
        self, population: Population, history: Series, *, generator: np.random.Generator
    ) -> Individual:
        """Copies of R and C from complete readings, each weighed against the population.

        Raises:
            TwinModelError: TW7112, no reading has all four numbers.
        """
        own = _from_readings(history)
        mean, sd = population["mean"], population["sd"]
        spread = np.maximum(own.std(axis=0), 0.05)
        precision = len(own) / spread**2 + 1 / sd**2
        middle = (own.sum(axis=0) / spread**2 + mean / sd**2) / precision
        draws = generator.standard_normal((COPIES, 2))
        return {"copies": middle + draws / np.sqrt(precision)}

    def begin(self, individual: Individual, history: Series) -> State:
        """Rate and stroke of the last complete reading."""
        del individual
        last = _complete(history)[-1]
        values = {name: history.values[name][last : last + 1] for name in _SEEN}
        return {"minute": history.minutes[-1:], **values}

    def assimilate(self, individual: Individual, state: State, seen: Series) -> State:
        """The same with later readings; an older one is not taken."""
        del individual
        later = seen.minutes > state["minute"][0]
        out = dict(state)
        for name in _SEEN:
            values = seen.values.get(name, np.full(later.shape, np.nan))[later]
            out[name] = np.append(state[name], values[np.isfinite(values)])[-1:]
        out["minute"] = np.append(state["minute"], seen.minutes[later])[-1:]
        return out

    def simulate(
        self,
        individual: Individual,
        state: State,
        scenarios: Sequence[Scenario],
        *,
        horizon_minutes: float,
    ) -> Trajectories:
        """Systolic pressure of every copy; a change holds from its minute on."""
        minutes = np.arange(1.0, np.floor(horizon_minutes) + 1)
        samples = np.empty((len(scenarios), len(individual["copies"]), minutes.size))
        for row, scenario in enumerate(scenarios):
            now = {name: np.full(minutes.size, state[name][0]) for name in _SEEN}
            resisted = np.ones(minutes.size)
            for at, name, amount in scenario.actions:
                if name == "resistance":
                    resisted[minutes > at] *= max(1 + amount / 100, 0.2)
                else:
                    now[name][minutes > at] += amount
            samples[row] = _systolic(individual, now["heart_rate"], now["stroke_volume"], resisted)
        return Trajectories("systolic", minutes, samples, samples.std(axis=1) + _FLOOR)

    def replay(self, individual: Individual, history: Series, *, horizon_minutes: float) -> Replay:
        """What it said at each reading of the first one so much later."""
        rows = _complete(history)
        until = np.searchsorted(history.minutes[rows], history.minutes[rows] + horizon_minutes)
        asked, met = rows[until < rows.size], rows[until[until < rows.size]]
        values = history.values
        said = _systolic(
            individual,
            values["heart_rate"][asked],
            values["stroke_volume"][asked],
            np.ones(asked.size),
        )
        return Replay(
            minutes=history.minutes[asked],
            said=said.mean(axis=0),
            scale=said.std(axis=0) + _FLOOR,
            seen=values["systolic"][met],
            last=values["systolic"][asked],
        )

    def explain(self, individual: Individual, population: Population) -> Explanation:
        """Where this patient's two numbers stand among the population."""
        own, mean = individual["copies"].mean(axis=0), population["mean"]
        z = (own - mean) / population["sd"]
        names = ("resistance", "compliance")
        percent = 100 / (1 + np.exp(-1.702 * z))
        rows = zip(names, np.exp(own), np.exp(mean), percent, strict=True)
        return Explanation(
            rows=tuple((name, float(a), float(b), float(c)) for name, a, b, c in rows),
            words=tuple(
                f"{name}: {ratio:.2g} times what is usual"
                for name, ratio, far in zip(names, np.exp(own - mean), np.abs(z), strict=True)
                if far > 1
            ),
        )


def _systolic(individual: Individual, rate: Floats, stroke: Floats, resisted: Floats) -> Floats:
    """Systolic pressure, [copies, n], in mmHg; what the heart cannot do is held at its limits."""
    resistance, compliance = np.exp(individual["copies"]).T[:, :, None]
    beat = 60 / np.clip(rate, 20, 250)
    emptied = -np.expm1(-beat / (resistance * resisted * compliance))
    pressure: Floats = np.clip(stroke, 10, 200) / compliance / emptied
    return pressure


def _complete(history: Series) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Rows in which all four numbers are there and systolic is above diastolic."""
    missing = np.full(history.minutes.shape, np.nan)
    table = np.array([history.values.get(name, missing) for name in _SEEN])
    rows = np.flatnonzero(np.isfinite(table).all(axis=0) & (table[0] > table[1]))
    if not rows.size:
        raise TwinModelError(
            "no reading has both pressures, heart rate and stroke volume",
            code="TW7112",
            help=f"give the columns {', '.join(_SEEN)} in at least one line",
        )
    return rows


def _from_readings(history: Series) -> Floats:
    """Logarithms of R and C of each complete reading, [n, 2]."""
    rows = _complete(history)
    systolic, diastolic, rate, stroke = (history.values[name][rows] for name in _SEEN)
    compliance = stroke / (systolic - diastolic)
    resistance = 60 / rate / np.log(systolic / diastolic) / compliance
    return np.log(np.stack([resistance, compliance], axis=1))
