"""What is usual of people, learnt from many in one noised sum: where baselines start.

Each patient says four numbers of each quantity that was read of them: that it was, where their
level is, how far that is from the middle of people, how wide their readings spread. All are
relative to the textbook, so that a patient as the textbook has them says almost nothing. Level is
the median; spread is the median step from one reading to the next, so that a wandering level does
not count (Rousseeuw and Croux, J Am Stat Assoc 88, 1993). What leaves is the sum over the patients
of all hospitals under noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.baseline import engine
from models.baseline.twin import VITALS, WELLNESS, BaselineTwin, usual_of
from models.deployment import Deployment
from models.twin import Population, Series
from twinward.ids import OrgName

Floats = NDArray[np.float64]

_FEWEST_READINGS = 12
"""Of a quantity; of fewer a patient says nothing."""

_WEIGHTS = np.array([0.5, 1.0, 0.35, 1.0])
"""Of the four numbers; the larger, the less noise one has beside the others."""

_FARTHEST = np.array([1.0, 2.5, 4.0, 1.0])
"""No patient says more than this, before the weights."""

_LEVEL, _SQUARE, _SPREAD = 0.5, 0.5, 0.3
"""How far people are expected from the textbook, as standard deviation of each of the three."""

_STEP_MAD = 1.4826 / math.sqrt(2)
"""A step is the difference of two readings."""

_SAYS = ("people", "level", "level squared", "spread")


class BaselineStart:
    """Where the baselines of new patients start: what is usual of this network's people."""

    kind = "prior"
    title = "What is usual before a patient is known"
    intended_use = (
        "Starting point of a patient's own baseline, before many readings of their own are known; "
        "research and teaching."
    )
    limits = (
        "Not a medical device, and no model of any patient: sums over many people, under noise.",
        "Numbers are relative to a textbook: how many people, level, its square, their spread.",
        "Usual is not healthy: it is what these hospitals' patients are like.",
        "Measured on made-up people only, for whom it helps in the first readings.",
        "A patient with many readings of their own gains nothing from it.",
    )
    fewest = 48.0

    def __init__(self, name: str, twin: BaselineTwin) -> None:
        self.name = name
        self.twin = twin.spec.name
        self._quantities = tuple(each.name for each in twin.spec.inputs)
        self._twin = twin
        self.length = 1.25 * math.sqrt(len(self._quantities))

    def spec(self, sites: Sequence[OrgName]) -> dict[str, Any]:
        """Every public constant, as JSON values; the textbook that is spoken of, too."""
        del sites
        usual = usual_of(self._twin.population())
        return {
            "length": self.length,
            "mean": usual.mean.tolist(),
            "between": usual.between.tolist(),
            "within": usual.within.tolist(),
            "weights": _WEIGHTS.tolist(),
        }

    def names(self, sites: Sequence[OrgName]) -> tuple[str, ...]:
        """Four numbers of each quantity."""
        del sites
        return tuple(f"{quantity}: {says}" for quantity in self._quantities for says in _SAYS)

    def start(self, spec: Mapping[str, Any]) -> Floats:
        """The textbook."""
        del spec
        return np.zeros(len(_SAYS) * len(self._quantities))

    def vectors(self, histories: Sequence[Series]) -> Floats:
        """What each patient says; zeros for one of whom too little was read."""
        usual = usual_of(self._twin.population())
        found = np.zeros((len(histories), len(self._quantities), len(_SAYS)))
        for row, history in enumerate(histories):
            table = engine.columns(history, self._quantities)
            for place, column in enumerate(table.T):
                read = column[np.isfinite(column)]
                if read.size >= _FEWEST_READINGS:
                    level = (np.median(read) - usual.mean[place]) / usual.between[place]
                    step = _STEP_MAD * float(np.median(np.abs(np.diff(read))))
                    spread = math.log(max(step / usual.within[place], 1e-6))
                    said = np.array([1.0, level, level**2 - 1, spread])
                    found[row, place] = np.clip(said, -_FARTHEST, _FARTHEST) * _WEIGHTS
        flat = found.reshape(len(histories), -1)
        norms = np.linalg.norm(flat, axis=1, keepdims=True)
        cut: Floats = flat * (self.length / np.maximum(norms, self.length))
        return cut

    def population(self, weights: Floats, *, noise_variance: float, divisor: int) -> Population:
        """The textbook, moved as far as the sums are believed against their own noise."""
        sums = divisor * weights.reshape(-1, len(_SAYS)) / _WEIGHTS
        sd = divisor * math.sqrt(noise_variance) / _WEIGHTS
        # A count that could be noise alone must not make a small sum look like a large mean.
        people = np.maximum(sums[:, 0], max(2 * sd[0], 1.0))
        level, square, spread = (sums[:, each] / people for each in (1, 2, 3))
        noise = (sd[1:, None] / people) ** 2
        moved = _believed(level, noise[0] + 1 / people, expected=_LEVEL)
        wider = _believed(square - level**2, noise[1] + 2 / people, expected=_SQUARE)
        noisier = _believed(spread, noise[2] + _SPREAD**2 / people, expected=_SPREAD)
        start = self._twin.population()
        usual = usual_of(start)
        return {
            **start,
            "mean": _within(self._twin, usual.mean + moved * usual.between),
            "between": usual.between * np.sqrt(np.clip(1 + wider, 0.25, 4.0)),
            "within": usual.within * np.exp(np.clip(noisier, -1.0, 1.0)),
        }

    def deployed(self, released: Population | None, histories: Sequence[Series]) -> Deployment:
        """As released: the more is read of a patient, the less it counts."""
        del histories
        if released is None:
            return Deployment(self._twin.population(), False, ("the textbook is used",), {})
        return Deployment(released, True, ("used as released",), {})


def _believed(found: Floats, variance: Floats, *, expected: float) -> Floats:
    """A noisy number held back towards 0, where it was expected with this standard deviation."""
    return found * expected**2 / (expected**2 + variance)


def _within(twin: BaselineTwin, mean: Floats) -> Floats:
    """No level is usual that could not be read."""
    low = np.array([each.low for each in twin.spec.inputs])
    high = np.array([each.high for each in twin.spec.inputs])
    return np.clip(mean, low, high)


VITALS_START = BaselineStart("vitals_start/1", VITALS)
WELLNESS_START = BaselineStart("wellness_start/1", WELLNESS)
