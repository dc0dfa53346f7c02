"""The glucose twin: one patient's copies, where they are now, and what they say of the next hours.

Implements ``models.twin.Twin``. Population: a prior over seven numbers. Individual: copies that
agree with the patient's diary. State: the last eight hours, because food and insulin from before
do not act any more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.glucose import fit, personal, prior
from models.glucose.personal import PARAMETERS, STEP, Diary, Forces
from models.twin import (
    Explanation,
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

Floats = NDArray[np.float64]

MEMORY = personal.steps_of(480)
HORIZON = 240
LEAST_HISTORY = personal.steps_of(720)
"""Half a day: with less, the population is all there is to say."""

_REPLAYED_EVERY = 3
_REPLAYED_COPIES = 40
"""Enough for a mean and a spread; a replay asks hundreds of forecasts."""

_FLOOR = 5.0
"""mg/dL; the spread of copies says nothing of the sensor."""

_NAMES = {
    "insulin_effect": "what a unit of insulin does",
    "self_regulation": "how fast glucose returns by itself",
    "resting_glucose": "the level it returns to",
    "action_rate": "how fast insulin begins to act",
    "insulin_time": "how long a dose takes to be absorbed",
    "meal_time": "how long a meal takes to be absorbed",
    "meal_effect": "what a gram of carbohydrate does",
}


class GlucoseTwin:
    """Glucose of a person with type-1 diabetes over the next four hours."""

    spec = TwinSpec(
        name="glucose/1",
        title="Glucose in type-1 diabetes",
        kind=Kind.DYNAMIC,
        reasoning=Reasoning.MECHANISTIC,
        inputs=(
            Quantity("glucose", "Glucose, interstitial", "99504-3", "mg/dL", 20, 600),
            Quantity("carbs", "Carbohydrates eaten", "9059-7", "g", 0, 400),
            Quantity("bolus", "Insulin given beyond basal", "local:insulin-bolus", "[iU]", 0, 60),
            Quantity("basal", "Basal insulin", "local:insulin-basal", "[iU]/h", 0, 10),
        ),
        actions=("carbs", "bolus"),
        outputs=(Quantity("glucose", "Glucose, interstitial", "99504-3", "mg/dL", 20, 600),),
        step_minutes=STEP,
        horizon_minutes=HORIZON,
        intended_use=(
            "Research and teaching: shows a clinician how this patient's glucose would have gone, "
            "or may go, with another dose or meal."
        ),
        limits=(
            "Not a medical device. It gives no dose, controls no pump and must not be read by one.",
            "Type-1 diabetes only; knows no exercise, illness, alcohol or changed basal rate.",
            "The effect of another dose was tested on virtual patients; no real one can be.",
            "Intervals hold over time, not at every level: less often when glucose is low.",
        ),
        sources=(
            "Equations after Bergman et al. 1979 (doi:10.1152/ajpendo.1979.236.6.E667)",
            "Ensemble smoother: Emerick and Reynolds 2013 (doi:10.1016/j.cageo.2012.03.011)",
        ),
    )

    def population(self) -> Population:
        """The public prior, from textbook values and no patient."""
        return arrays(prior.TIGHT)

    def individualise(
        self, population: Population, history: Series, *, generator: np.random.Generator
    ) -> Individual:
        """Copies of the patient that agree with the diary.

        Raises:
            TwinModelError: TW7112, no glucose or no insulin in it; TW7113, less than half a day.
        """
        diary = diary_of(history)
        copies = fit.individualise(_prior(population), _one(diary), generator=generator)[0]
        return {"copies": copies, "daily_insulin": diary.daily_insulin.reshape(1)}

    def begin(self, individual: Individual, history: Series) -> State:
        """The last eight hours of the history."""
        del individual
        diary = _grid(history)
        return {
            "minute": history.minutes[-1:],
            "glucose": _last(diary.glucose, np.nan),
            "carbs": _last(diary.carbs, 0.0),
            "bolus": _last(diary.bolus, 0.0),
        }

    def assimilate(self, individual: Individual, state: State, seen: Series) -> State:
        """Eight hours that end with what was seen; a time already told of is not taken again."""
        del individual
        new = np.searchsorted(seen.minutes, float(state["minute"][0]), side="right")
        if new == seen.minutes.size:
            return state
        base = float(state["minute"][0])
        steps = np.maximum(np.ceil((seen.minutes[new:] - base) / STEP).astype(np.int64), 1)
        moved = int(steps[-1])
        out = {"minute": base + moved * STEP * np.ones(1)}
        for name, empty in (("glucose", np.nan), ("carbs", 0.0), ("bolus", 0.0)):
            column = np.concatenate([state[name], np.full(moved, empty)])
            values = seen.values.get(name)
            if values is not None:
                known = np.isfinite(values[new:])
                at = MEMORY - 1 + steps[known]
                if name == "glucose":
                    column[at] = values[new:][known]
                else:
                    np.add.at(column, at, values[new:][known])
            out[name] = column[-MEMORY:]
        return out

    def simulate(
        self,
        individual: Individual,
        state: State,
        scenarios: Sequence[Scenario],
        *,
        horizon_minutes: float,
    ) -> Trajectories:
        """Glucose of every copy under each scenario, at each step from now on.

        Raises:
            TwinModelError: TW7114, no reading within the last quarter of an hour.
        """
        steps = personal.steps_of(horizon_minutes)
        before = self._forces(
            individual, **{n: np.append(state[n], np.zeros(steps)) for n in ("carbs", "bolus")}
        )
        added = {name: np.zeros((len(scenarios), 1, steps)) for name in ("carbs", "bolus")}
        for row, scenario in enumerate(scenarios):
            for minutes, name, amount in scenario.actions:
                added[name][row, 0, min(int(minutes // STEP), steps - 1)] += amount
        # What happened before now acts on for all scenarios alike, and effects add up: eight hours
        # are gone through once, and each scenario only through what is ahead.
        after = self._forces(individual, **added)
        pushed = Forces(
            raises=before.raises[:, MEMORY:] + after.raises,
            lowers=before.lowers[:, MEMORY:] + after.lowers,
        )
        start = np.asarray(_level(state["glucose"]))
        samples = personal.follow(individual["copies"], pushed, start=start)
        ahead = np.arange(1, steps + 1, dtype=np.float64) * STEP
        return Trajectories(
            output="glucose",
            minutes=ahead,
            samples=samples,
            scale=samples.std(axis=1) + _FLOOR,
        )

    @staticmethod
    def _forces(individual: Individual, *, carbs: Floats, bolus: Floats) -> Forces:
        return personal.forces(
            individual["copies"],
            carbs=carbs,
            bolus=bolus,
            daily_insulin=individual["daily_insulin"][0],
        )

    def replay(self, individual: Individual, history: Series, *, horizon_minutes: float) -> Replay:
        """What it would have said so far ahead at each quarter of an hour of the history.

        Meals and doses after the moment of asking are not known to it, as they would not have been.
        """
        diary = diary_of(history)
        steps = personal.steps_of(horizon_minutes)
        copies = individual["copies"][:_REPLAYED_COPIES]
        moments = np.arange(MEMORY, diary.glucose.size - steps, _REPLAYED_EVERY)
        before = moments[:, None] + np.arange(-MEMORY, 0)
        nothing = np.zeros((moments.size, steps))
        pushed = personal.forces(
            copies,
            carbs=np.concatenate([diary.carbs[before], nothing], axis=1)[:, None, :],
            bolus=np.concatenate([diary.bolus[before], nothing], axis=1)[:, None, :],
            daily_insulin=individual["daily_insulin"][0],
        )
        recent = diary.glucose[before[:, -3:]]
        known = np.isfinite(recent)
        start = np.where(known, recent, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        start = np.where(known.any(axis=1), start, np.nan)
        said = personal.follow(copies, _after(pushed, MEMORY), start=start[:, None])[..., -1]
        return Replay(
            minutes=history.minutes[-1] - STEP * (diary.glucose.size - 1.0 - moments),
            said=said.mean(axis=1),
            scale=said.std(axis=1) + _FLOOR,
            seen=diary.glucose[moments + steps - 1],
            last=start,
        )

    def explain(self, individual: Individual, population: Population) -> Explanation:
        """Where this patient's seven numbers stand among the population."""
        before = _prior(population)
        middle = individual["copies"].mean(axis=0)
        spread = np.sqrt(np.diag(before.covariance))
        rows, words = [], []
        for number, name in enumerate(PARAMETERS):
            z = float((middle[number] - before.mean[number]) / spread[number])
            rows.append(
                (
                    name,
                    float(np.exp(middle[number])),
                    float(np.exp(before.mean[number])),
                    _percentile(z),
                )
            )
            if abs(z) > 1:
                ratio = float(np.exp(middle[number] - before.mean[number]))
                words.append(f"{_NAMES[name]}: {ratio:.2g} times what is usual")
        return Explanation(rows=tuple(rows), words=tuple(words))


def diary_of(history: Series) -> Diary:
    """The history on a grid of five minutes that ends with its last moment.

    Raises:
        TwinModelError: TW7112, no glucose or no insulin in it; TW7113, less than half a day.
    """
    diary = _grid(history)
    count = diary.glucose.size
    if count < LEAST_HISTORY:
        raise TwinModelError(
            "this diary is too short for a twin of its own",
            code="TW7113",
            note=f"it covers {count * STEP / 60:.1f} hours",
            help=f"give at least {LEAST_HISTORY * STEP // 60} hours with glucose, meals and doses",
        )
    if not np.isfinite(diary.glucose).any():
        raise _missing("glucose")
    if diary.daily_insulin <= 0:
        raise _missing("insulin: neither `bolus` nor `basal`")
    return diary


def _grid(history: Series) -> Diary:
    """Readings averaged and amounts added up, by steps that end with the last moment."""
    at = np.floor((history.minutes - history.minutes[-1]) / STEP).astype(np.int64)
    at -= at[0]
    count = int(at[-1]) + 1
    total, seen, carbs, bolus = np.zeros((4, count))
    values = history.values.get("glucose", np.full(at.size, np.nan))
    known = np.isfinite(values)
    np.add.at(total, at[known], values[known])
    np.add.at(seen, at[known], 1.0)
    for name, column in (("carbs", carbs), ("bolus", bolus)):
        np.add.at(column, at, np.nan_to_num(history.values.get(name, np.zeros(at.size))))
    basal = history.values.get("basal", np.zeros(at.size))
    hourly = float(basal[np.isfinite(basal)].mean()) if np.isfinite(basal).any() else 0.0
    daily = hourly * 24 + float(bolus.sum()) * 1440 / (count * STEP)
    return Diary(
        glucose=np.where(seen > 0, total / np.maximum(seen, 1), np.nan),
        carbs=carbs,
        bolus=bolus,
        daily_insulin=np.array(daily),
    )


def _level(glucose: Floats) -> float:
    """Glucose now: the mean of what the last quarter of an hour showed."""
    recent = glucose[-3:]
    known = recent[np.isfinite(recent)]
    if not known.size:
        raise TwinModelError(
            "there is no glucose reading of the last quarter of an hour",
            code="TW7114",
            help="wait for the sensor, or ask about a moment that has one",
        )
    return float(known.mean())


def _after(pushed: Forces, step: int) -> Forces:
    return Forces(raises=pushed.raises[..., step:], lowers=pushed.lowers[..., step:])


def _last(values: Floats, empty: float) -> Floats:
    return np.concatenate([np.full(MEMORY, empty), values])[-MEMORY:]


def _one(diary: Diary) -> Diary:
    return Diary(
        glucose=diary.glucose[None],
        carbs=diary.carbs[None],
        bolus=diary.bolus[None],
        daily_insulin=diary.daily_insulin.reshape(1),
    )


def _prior(population: Population) -> fit.Prior:
    return fit.Prior(mean=population["mean"], covariance=population["covariance"])


def arrays(known: fit.Prior) -> Population:
    """A prior as what a store keeps."""
    return {"mean": known.mean, "covariance": known.covariance}


def _percentile(z: float) -> float:
    return 50 * (1 + math.erf(z / math.sqrt(2)))


def _missing(what: str) -> TwinModelError:
    return TwinModelError(
        f"this diary has no {what}",
        code="TW7112",
        help="give columns `glucose` in mg/dL, `carbs` in g, `bolus` in units, `basal` in units "
        "per hour",
    )
