"""The forecaster as a twin: half an hour and an hour ahead, from a sensor alone.

Implements ``models.twin.Twin`` and is associational: it may be asked what will come and never what
another dose would do. Population: a start, public or released or already with a centre's own
layer. Individual: the person's own layers. State: the readings of the last six hours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.glucose_forecast import layers, public
from models.glucose_forecast.layers import Personal, Start
from models.glucose_forecast.rows import AHEAD, MEMORY, STEP, rows_of
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

HALF_DAY = 48
_JUDGED = 200
"""Moments from which on it is looked whether the forecaster is any help to the person."""

_SHARE = 0.7
_GLUCOSE = Quantity("glucose", "Glucose, interstitial", "99504-3", "mg/dL", 20, 600)


class GlucoseForecast:
    """Glucose of a person who wears a sensor, over the next hour."""

    spec = TwinSpec(
        name="glucose-forecast/1",
        title="Glucose, forecast from the sensor",
        kind=Kind.DYNAMIC,
        reasoning=Reasoning.ASSOCIATIONAL,
        inputs=(_GLUCOSE,),
        actions=(),
        outputs=(_GLUCOSE,),
        step_minutes=AHEAD[0] * STEP,
        horizon_minutes=AHEAD[-1] * STEP,
        intended_use="Research and teaching: how glucose may go on if everything goes on as usual.",
        limits=(
            "Not a medical device. It raises no alarm and must not be read by a pump.",
            "Knows no doses and no meals; it cannot say what another course of action would do.",
            "Its 90 % intervals held in 67 to 81 of 100 outcomes below 80 mg/dL an hour ahead.",
            "Refused for a person whose glucose `it stays as it is` forecasts better.",
        ),
        sources=(
            "Calibration: Gibbs and Candes, NeurIPS 2021",
            "Public start: virtual people of `models/glucose`; tests: AZT1D, HUPA-UCM, T1D-UOM",
        ),
    )

    def population(self) -> Population:
        """The public start, from virtual people."""
        return arrays(public.start())

    def individualise(
        self, population: Population, history: Series, *, generator: np.random.Generator
    ) -> Individual:
        """The person's own layers; nothing in them is random.

        Raises:
            TwinModelError: TW7170, less than half a day of readings; TW7171, on this person's own
                past `it stays as it is` was the better forecast.
        """
        del generator
        start, rows = start_of(population), rows_of(history)
        known = rows.known()
        if len(known) < HALF_DAY:
            raise TwinModelError(
                "there are too few readings for a forecaster of this person's own",
                code="TW7170",
                note=f"{len(known)} quarters of an hour can be used",
                help=f"give at least {HALF_DAY} with three hours of readings before each",
            )
        if len(known) >= _JUDGED:
            before, after = layers.parted(known, _SHARE)
            own = layers.of_person(start, before)
            if np.mean((own.change(after) - after.change) ** 2) >= np.mean(after.change**2):
                raise TwinModelError(
                    "this forecaster is no help for this person",
                    code="TW7171",
                    note="on the last part of their own record `it stays as it is` was better",
                    help="do not use it here; a mechanistic twin may fit this person better",
                )
        own = layers.of_person(start, known)
        return {
            "weights": own.weights,
            "daily": own.daily,
            "borders": own.borders,
            "without": own.without,
            "daily_without": own.daily_without,
        }

    def begin(self, individual: Individual, history: Series) -> State:
        """The last six hours of the history."""
        del individual
        return _last_hours(history)

    def assimilate(self, individual: Individual, state: State, seen: Series) -> State:
        """Six hours that end with what was seen; a time already told of is not taken again."""
        del individual
        before = state["minutes"]
        new = seen.minutes > before[-1]
        values = seen.values.get("glucose", np.full(seen.minutes.size, np.nan))
        return _last_hours(
            Series(
                np.concatenate([before, seen.minutes[new]]),
                {"glucose": np.concatenate([state["glucose"], values[new]])},
            )
        )

    def simulate(
        self,
        individual: Individual,
        state: State,
        scenarios: Sequence[Scenario],
        *,
        horizon_minutes: float,
    ) -> Trajectories:
        """One course; it has no copies, its uncertainty is in the scale alone.

        Raises:
            TwinModelError: TW7172, no reading now, or not three hours of them.
        """
        rows = rows_of(Series(state["minutes"], {"glucose": state["glucose"]}))
        if not len(rows) or rows.minutes[-1] != state["minutes"][-1]:
            raise TwinModelError(
                "there are not enough recent readings to forecast from",
                code="TW7172",
                help="wait until the sensor has shown three hours without a long hole",
            )
        now = rows.since(float(rows.minutes[-1]))
        ahead = np.array([steps * STEP for steps in AHEAD if steps * STEP <= horizon_minutes])
        count = max(ahead.size, 1)
        said = (now.level[:, None] + _own(individual).change(now))[0, :count]
        shape = (len(scenarios), 1, count)
        return Trajectories(
            output="glucose",
            minutes=np.array(AHEAD[:count], dtype=np.float64) * STEP,
            samples=np.broadcast_to(said, shape).copy(),
            scale=np.broadcast_to(scale_of(now.features)[0, :count], (shape[0], count)).copy(),
        )

    def replay(self, individual: Individual, history: Series, *, horizon_minutes: float) -> Replay:
        """What it would have said, by layers that were made without the moments around."""
        column = 0 if horizon_minutes < AHEAD[-1] * STEP else len(AHEAD) - 1
        rows = rows_of(history)
        return Replay(
            minutes=rows.minutes,
            said=rows.level + _own(individual).change_then(rows)[:, column],
            scale=scale_of(rows.features)[:, column],
            seen=rows.level + rows.change[:, column],
            last=rows.level,
        )

    def explain(self, individual: Individual, population: Population) -> Explanation:
        """How this person's forecast differs; single weights of such a model have no meaning."""
        start, own = start_of(population), _own(individual)
        slope = (float(own.weights[2, -1]) / 10, float(start.weights[2, -1]) / 10)
        day = layers.daily_course(own.daily)[:, -1]
        goes_on = (
            f"a rise of 1 mg/dL in the last quarter of an hour adds {slope[0]:+.1f} mg/dL to the "
            f"forecast of an hour; in the population {slope[1]:+.1f}"
        )
        by_day = (
            f"the time of day moves the forecast of an hour by {day.min():+.0f} to "
            f"{day.max():+.0f} mg/dL"
        )
        return Explanation(rows=(), words=(goes_on, by_day))


def scale_of(features: Floats) -> Floats:
    """How uncertain a forecast is before calibration, mg/dL, [n, 2]: fixed and public.

    Grows with how fast glucose moves and with how high it is; the floor is what keeps intervals
    open when glucose is low and calm, where most surprises hurt.
    """
    speed = np.abs(features[:, 2]) + 0.5 * (np.abs(features[:, 3]) + np.abs(features[:, 4]))
    level = np.maximum(features[:, 1] + 1.5, 0)
    return np.stack([8 + 3 * speed + 2 * level, 14 + 4 * speed + 5 * level], axis=1)


def arrays(start: Start) -> Population:
    """A start as what a store keeps."""
    return {"weights": start.weights, "moments": start.moments, "unit": start.unit}


def start_of(population: Population) -> Start:
    """What ``arrays`` made of a start."""
    return Start(population["weights"], population["moments"], population["unit"])


def _own(individual: Individual) -> Personal:
    return Personal(**individual)


def _last_hours(history: Series) -> State:
    recent = history.minutes > history.minutes[-1] - MEMORY * STEP
    values = history.values.get("glucose", np.full(history.minutes.size, np.nan))
    return {"minutes": history.minutes[recent].copy(), "glucose": values[recent].copy()}
