"""Virtual patients with type-1 diabetes: the UVA/Padova S2008 equations for many at once.

The ground truth of simulation studies and of the public prior; never a model of a real person, and
nothing here learns. Equations: Dalla Man, Rizza, Cobelli, IEEE Trans Biomed Eng 54(10), 2007, and
Kovatchev et al., J Diabetes Sci Technol 3(1), 2009. The 30 parameter sets come from simglucose
(Jinyu Xie, MIT licence, ``LICENCE-simglucose``), as do the pace of eating and the memory of the
last meal, so that its trajectories can be compared. An independent implementation, *not* the
simulator that the FDA accepted.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EATING_RATE = 5.0
"""Grams of carbohydrate a minute, until the meal is eaten."""

_STATES = 13
_STOMACH_SOLID, _STOMACH_LIQUID, _GUT, _PLASMA_GLUCOSE, _TISSUE_GLUCOSE, _PLASMA_INSULIN = range(6)
_ACTION_USE, _DELAY, _ACTION_LIVER, _LIVER_INSULIN, _SKIN_1, _SKIN_2, _SENSOR = range(6, 13)


@dataclass(frozen=True, slots=True)
class VirtualPatients:
    """Some virtual people: their names, parameters (one array each) and resting states [13, n]."""

    names: tuple[str, ...]
    parameters: Mapping[str, Floats]
    rest: Floats

    def __len__(self) -> int:
        return len(self.names)

    @property
    def basal(self) -> Floats:
        """Insulin that keeps each of them at rest, U/min."""
        return self.parameters["u2ss"] * self.parameters["BW"] / 6000

    def chosen(self, rows: NDArray[np.int64]) -> VirtualPatients:
        """These rows, in this order; a row may appear more than once."""
        return VirtualPatients(
            names=tuple(self.names[row] for row in rows),
            parameters={name: values[rows] for name, values in self.parameters.items()},
            rest=self.rest[:, rows],
        )

    def varied(self, **factors: Floats) -> VirtualPatients:
        """The same people with some parameters multiplied; they start from the same rest."""
        parameters = dict(self.parameters)
        for name, factor in factors.items():
            parameters[name] = parameters[name] * factor
        return VirtualPatients(names=self.names, parameters=parameters, rest=self.rest)


def population() -> VirtualPatients:
    """The 30 published people: ten adolescents, ten adults, ten children."""
    text = resources.files("models.glucose").joinpath("virtual_patients.csv").read_text("utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    states = [f"x{number}" for number in range(_STATES)]
    columns = {
        name: np.array([float(row[name]) for row in rows]) for name in rows[0] if name != "name"
    }
    return VirtualPatients(
        names=tuple(row["name"] for row in rows),
        parameters={name: values for name, values in columns.items() if name not in states},
        rest=np.stack([columns[name] for name in states]),
    )


@dataclass(frozen=True, slots=True)
class Body:
    """Where some virtual people are at one moment; from here their lives can go on in many ways.

    Attributes:
        state: Of the equations, [13, n].
        waiting: Grams served and not eaten yet, [n].
        stomach: Milligrams in the stomach as the last meal began, [n].
        meal: Grams eaten of that meal, [n].
        eating: Whether they were eating in the minute before, [n].
    """

    state: Floats
    waiting: Floats
    stomach: Floats
    meal: Floats
    eating: NDArray[np.bool_]

    @classmethod
    def at_rest(cls, people: VirtualPatients) -> Body:
        """Fasting, at basal insulin."""
        nothing = np.zeros(len(people))
        return cls(people.rest, nothing, nothing, nothing, np.zeros(len(people), dtype=np.bool_))

    def chosen(self, rows: NDArray[np.int64]) -> Body:
        """These people, in this order; one may appear more than once."""
        return Body(
            self.state[:, rows],
            self.waiting[rows],
            self.stomach[rows],
            self.meal[rows],
            self.eating[rows],
        )


def live(
    people: VirtualPatients, *, carbs: Floats, insulin: Floats, body: Body | None = None
) -> tuple[Floats, Body]:
    """Interstitial glucose in mg/dL after each minute, [minutes, n], and where it ends.

    Fourth-order Runge-Kutta with a step of one minute, the pace at which inputs change.

    Args:
        people: Who.
        carbs: Grams of carbohydrate served in a minute, [minutes, n]; eaten at ``EATING_RATE``.
        insulin: Insulin under the skin in a minute, basal included, U/min, [minutes, n].
        body: Where they begin; at rest if not given.
    """
    p = people.parameters
    body = body or Body.at_rest(people)
    state, waiting, stomach, meal, was_eating = (
        body.state.copy(),
        body.waiting,
        body.stomach,
        body.meal,
        body.eating,
    )
    dose = insulin * (6000 / p["BW"])
    glucose = np.empty((len(carbs), len(people)))
    for minute, (served, given) in enumerate(zip(carbs, dose, strict=True)):
        food = np.minimum(EATING_RATE, waiting + served)
        waiting = waiting + served - food
        eating = food > 0
        begins = eating & ~was_eating
        stomach = np.where(begins, state[_STOMACH_SOLID] + state[_STOMACH_LIQUID], stomach)
        meal = np.where(begins, 0.0, meal) + food
        was_eating = eating
        slopes = _Slopes(p, food=food * 1000, insulin=given, meal=stomach + meal * 1000)
        k1 = slopes(state)
        k2 = slopes(state + 0.5 * k1)
        k3 = slopes(state + 0.5 * k2)
        k4 = slopes(state + k3)
        state += (k1 + 2 * (k2 + k3) + k4) / 6
        glucose[minute] = state[_SENSOR] / p["Vg"]
    return glucose, Body(state, waiting, stomach, meal, was_eating)


class _Slopes:
    """Time derivatives of all 13 states within one minute of constant inputs."""

    def __init__(
        self, parameters: Mapping[str, Floats], *, food: Floats, insulin: Floats, meal: Floats
    ) -> None:
        self._p = p = parameters
        self._food, self._insulin, self._meal = food, insulin, meal
        self._fed = meal > 0
        safe = np.where(self._fed, meal, 1.0)
        self._rising = 5 / (2 * safe * (1 - p["b"]))
        self._falling = 5 / (2 * safe * p["d"])

    def __call__(self, x: Floats) -> Floats:
        p = self._p
        out = np.empty_like(x)
        solid, liquid, gut, plasma, tissue, insulin = x[:6]
        in_stomach = solid + liquid
        emptying = p["kmin"] + (p["kmax"] - p["kmin"]) / 2 * (
            np.tanh(self._rising * (in_stomach - p["b"] * self._meal))
            - np.tanh(self._falling * (in_stomach - p["d"] * self._meal))
            + 2
        )
        emptying = np.where(self._fed, emptying, p["kmax"])
        grinding = p["kmax"] * solid
        emptied = emptying * liquid
        absorbed = p["kabs"] * gut
        out[_STOMACH_SOLID] = self._food - grinding
        out[_STOMACH_LIQUID] = grinding - emptied
        out[_GUT] = emptied - absorbed

        made = np.maximum(p["kp1"] - p["kp2"] * plasma - p["kp3"] * x[_ACTION_LIVER], 0)
        excreted = p["ke1"] * np.maximum(plasma - p["ke2"], 0)
        exchange = p["k1"] * plasma - p["k2"] * tissue
        appearing = p["f"] / p["BW"] * absorbed
        out[_PLASMA_GLUCOSE] = made + appearing - p["Fsnc"] - excreted - exchange
        used = (p["Vm0"] + p["Vmx"] * x[_ACTION_USE]) * tissue / (p["Km0"] + tissue)
        out[_TISSUE_GLUCOSE] = exchange - used

        concentration = insulin / p["Vi"]
        out[_PLASMA_INSULIN] = (
            p["m1"] * x[_LIVER_INSULIN]
            + p["ka1"] * x[_SKIN_1]
            + p["ka2"] * x[_SKIN_2]
            - (p["m2"] + p["m4"]) * insulin
        )
        out[_ACTION_USE] = p["p2u"] * (concentration - p["Ib"] - x[_ACTION_USE])
        out[_DELAY] = p["ki"] * (concentration - x[_DELAY])
        out[_ACTION_LIVER] = p["ki"] * (x[_DELAY] - x[_ACTION_LIVER])
        out[_LIVER_INSULIN] = p["m2"] * insulin - (p["m1"] + p["m30"]) * x[_LIVER_INSULIN]
        out[_SKIN_1] = self._insulin - (p["ka1"] + p["kd"]) * x[_SKIN_1]
        out[_SKIN_2] = p["kd"] * x[_SKIN_1] - p["ka2"] * x[_SKIN_2]
        out[_SENSOR] = p["ksc"] * (plasma - x[_SENSOR])
        # An amount that numerical error took below nothing stays where it is, as in the reference.
        for held in _HELD:
            out[held] *= x[held] >= 0
        return out


_HELD = (
    _PLASMA_GLUCOSE,
    _TISSUE_GLUCOSE,
    _PLASMA_INSULIN,
    _LIVER_INSULIN,
    _SKIN_1,
    _SKIN_2,
    _SENSOR,
)
