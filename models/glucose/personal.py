"""A personal model of glucose: seven numbers per person, simple enough to be learnt from days.

One equation for glucose, two compartments each for a meal and for insulin under the skin, one delay
of insulin's action (after Bergman et al., Am J Physiol 236(6), 1979). Mechanistic: dose and food
enter as causes, so it may be asked what another dose would do. It is simpler than the virtual
patients on purpose; studies in which both are the same model prove nothing.

Steps of five minutes. Arrays are [..., time] and broadcast over people and their copies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STEP = 5
"""Minutes."""

PARAMETERS = (
    "insulin_effect",
    "self_regulation",
    "resting_glucose",
    "action_rate",
    "insulin_time",
    "meal_time",
    "meal_effect",
)
"""Order of the seven numbers. They are kept as logarithms of what ``Physiology`` holds."""

CENTRE = np.log([1.0, 0.01, 130.0, 0.03, 50.0, 40.0, 1.0])
"""Public textbook values: the rules of 1800 and of 500, and round numbers of minutes."""

SCALE = np.array([0.5, 0.5, 0.2, 0.4, 0.25, 0.35, 0.5])
"""How far people differ from them: one standard deviation of the public prior, in logarithms."""

_TYPICAL = 140.0
_LOWEST, _HIGHEST = 20.0, 600.0


@dataclass(frozen=True, slots=True)
class Diary:
    """What a person logged, in steps of five minutes, [steps]; of several people, [people, steps].

    Attributes:
        glucose: Sensor, mg/dL; NaN where there is none.
        carbs: Grams in the step.
        bolus: Insulin beyond basal in the step, units; negative where basal was withheld.
        daily_insulin: Basal and bolus of an ordinary day, units; [] or [people].
    """

    glucose: Floats
    carbs: Floats
    bolus: Floats
    daily_insulin: Floats

    def until(self, step: int) -> Diary:
        """The diary as it was at that step."""
        return Diary(
            glucose=self.glucose[..., :step],
            carbs=self.carbs[..., :step],
            bolus=self.bolus[..., :step],
            daily_insulin=self.daily_insulin,
        )


@dataclass(frozen=True, slots=True)
class Forces:
    """What food and insulin do to glucose at each step, [..., steps].

    Attributes:
        raises: By food, mg/dL in the step.
        lowers: By insulin, as a share of the glucose that is there.
    """

    raises: Floats
    lowers: Floats


def forces(parameters: Floats, *, carbs: Floats, bolus: Floats, daily_insulin: Floats) -> Forces:
    """Course of a meal's and of insulin's action.

    Args:
        parameters: Logarithms, [..., 7].
        carbs: Grams in each step, broadcast against [..., steps].
        bolus: Units beyond basal in each step, likewise.
        daily_insulin: Units a day, broadcast against [...].
    """
    insulin_effect, _, _, action_rate, insulin_time, meal_time, meal_effect = np.moveaxis(
        np.exp(parameters), -1, 0
    )
    # Rules of thumb of the clinic: one unit lowers by 1800 / TDI mg/dL, and 500 / TDI grams of
    # carbohydrate need one unit. Both are public; a person's own factors multiply them.
    per_unit = insulin_effect * 1800 / daily_insulin
    per_gram = meal_effect * 1800 / 500
    dissolving, acting = np.exp(-STEP / insulin_time), np.exp(-STEP * action_rate)
    digesting = np.exp(-STEP / meal_time)
    shape = np.broadcast_shapes(per_unit.shape, carbs.shape[:-1], bolus.shape[:-1])
    steps = carbs.shape[-1]
    raises = np.empty((steps, *shape))
    lowers = np.empty((steps, *shape))
    skin_1, skin_2, action, stomach, gut = np.zeros((5, *shape))
    to_action = (1 - acting) * (per_unit / _TYPICAL)
    to_glucose = (1 - digesting) * per_gram
    for step in range(steps):
        skin_1 = dissolving * skin_1 + bolus[..., step]
        leaving = (1 - dissolving) * skin_1
        skin_2 = dissolving * skin_2 + leaving
        action = acting * action + to_action * ((1 - dissolving) * skin_2)
        stomach = digesting * stomach + carbs[..., step]
        gut = digesting * gut + (1 - digesting) * stomach
        raises[step] = to_glucose * gut
        lowers[step] = action
    return Forces(raises=np.moveaxis(raises, 0, -1), lowers=np.moveaxis(lowers, 0, -1))


def follow(parameters: Floats, pushed: Forces, *, start: Floats) -> Floats:
    """Glucose after each step, mg/dL, [..., steps], from a known start [...].

    Held between 20 and 600 mg/dL: beyond that neither sensor nor model says anything.
    """
    pull = 1 - np.exp(-STEP * np.exp(parameters[..., 1]))
    rest = np.exp(parameters[..., 2])
    steps = pushed.raises.shape[-1]
    glucose = np.broadcast_to(start, np.broadcast_shapes(start.shape, pushed.raises.shape[:-1]))
    course = np.empty((steps, *glucose.shape))
    raises, lowers = np.moveaxis(pushed.raises, -1, 0), np.moveaxis(pushed.lowers, -1, 0)
    for step in range(steps):
        glucose = glucose + pull * (rest - glucose) + raises[step] - lowers[step] * glucose
        glucose = course[step] = np.clip(glucose, _LOWEST, _HIGHEST)
    return np.moveaxis(course, 0, -1)


def steps_of(minutes: float) -> int:
    """How many steps a time takes."""
    return math.ceil(minutes / STEP)
