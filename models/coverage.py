"""How often calibrated intervals held, as a life with them would have shown it.

Each answer's interval uses only outcomes that were known when it was given: one of an hour ahead is
learnt from an hour later.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.calibration import Calibration
from models.twin import Replay

Floats = NDArray[np.float64]

_Z95 = 1.959964


def held(past: Replay, *, horizon_minutes: float) -> Floats:
    """For each answer 1 if its 90 % interval held, 0 if not, NaN if there was none or no outcome.

    Args:
        past: In time order.
        horizon_minutes: How far ahead it was said.
    """
    known, heard = Calibration(), 0
    found = np.full(past.minutes.size, np.nan)
    scores = np.abs(past.seen - past.said) / past.scale
    for row, now in enumerate(past.minutes):
        while past.minutes[heard] + horizon_minutes <= now:
            known = known.after(float(scores[heard]))
            heard += 1
        if np.isfinite(scores[row]) and math.isfinite(known.reach):
            found[row] = float(scores[row] <= known.reach)
    return found


def share(parts: list[Floats]) -> tuple[float, float, float, int]:
    """Share over people, its 95 % interval, and how many answers: errors of one person go together.

    NaN for the ends with fewer than two people.

    Args:
        parts: Of each person, 1 and 0 and NaN.
    """
    known = [part[np.isfinite(part)] for part in parts]
    known = [part for part in known if part.size]
    count = int(sum(part.size for part in known))
    if not count:
        return math.nan, math.nan, math.nan, 0
    middle = float(sum(part.sum() for part in known)) / count
    if len(known) < 2:
        return middle, math.nan, math.nan, count
    # Ratio of sums over people (Cochran, Sampling Techniques, 6.3).
    off = np.array([part.sum() - middle * part.size for part in known])
    sd = math.sqrt(len(known) / (len(known) - 1) * float((off**2).sum())) / count
    return middle, max(middle - _Z95 * sd, 0.0), min(middle + _Z95 * sd, 1.0), count
