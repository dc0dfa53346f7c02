"""Intervals that hold: adaptive conformal calibration of whatever a model says.

A model's own spread is not to be believed: fitted to one patient it is several times too narrow.
So every interval is widened or narrowed until, on this patient's own past, it held as often as it
promised, and goes on being corrected with each observation that comes in (Gibbs and Candes,
Adaptive Conformal Inference Under Distribution Shift, NeurIPS 2021). No assumption on the model, on
errors or on their staying the same; the promise is about the share over time, not about each hour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.twin import Replay

Floats = NDArray[np.float64]

RECENT = 600
"""Scores that are remembered."""

FEWEST = 30
"""Before so many have been seen, there is no interval at all."""

RATE = 0.01
"""How fast a share that is off is corrected."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What has been learnt about one kind of answer to one patient. Stays at the hospital.

    Attributes:
        target: Share of observations that shall fall inside, 0.9 for a 90 % interval.
        level: Miscoverage now asked of the scores so that the share comes out; may leave [0, 1].
        scores: The last ``RECENT`` scores |seen - said| / scale, oldest first.
        inside: How many observations fell inside since the beginning.
        seen: How many there were for which there was an interval.
    """

    target: float = 0.9
    level: float = 0.1
    scores: tuple[float, ...] = ()
    inside: int = 0
    seen: int = 0

    @property
    def reach(self) -> float:
        """Half an interval's width in units of the scale.

        Infinite while too little is known, or when everything has to be inside; negative, and so
        reaching nothing, when too much was inside.
        """
        if len(self.scores) < FEWEST or self.level <= 0:
            return math.inf
        if self.level >= 1:
            return -1.0
        # One more than there are: the next score is as likely as any to be the largest.
        rank = math.ceil((1 - self.level) * (len(self.scores) + 1))
        if rank > len(self.scores):
            return math.inf
        return float(np.partition(np.array(self.scores), rank - 1)[rank - 1])

    @property
    def coverage(self) -> float:
        """Share that fell inside so far; NaN before the first interval."""
        return self.inside / self.seen if self.seen else np.nan

    def interval(self, said: Floats, scale: Floats) -> tuple[Floats, Floats]:
        """Lower and upper ends around what a model says."""
        reach = max(self.reach, 0.0)
        half = np.full_like(scale, np.inf) if math.isinf(reach) else reach * scale
        return said - half, said + half

    def after(self, score: float) -> Calibration:
        """The calibration once one more score is known; one that is no number is ignored."""
        if not np.isfinite(score):
            return self
        scores = (*self.scores[-RECENT + 1 :], float(score))
        if len(self.scores) < FEWEST:
            return replace(self, scores=scores)
        held = score <= self.reach
        level = self.level + RATE * ((1 - self.target) - (not held))
        return replace(
            self, level=level, scores=scores, inside=self.inside + held, seen=self.seen + 1
        )


def of_past(past: Replay, *, target: float = 0.9) -> Calibration:
    """The calibration of one kind of answer from what would have been said and was seen."""
    return replay(np.abs(past.seen - past.said) / past.scale, target=target)


def replay(scores: Floats, *, target: float = 0.9) -> Calibration:
    """The calibration after a whole past, oldest score first."""
    calibration = Calibration(target=target, level=1 - target)
    for score in scores:
        calibration = calibration.after(float(score))
    return calibration
