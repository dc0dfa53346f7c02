"""Alerts at a rate that is held, whatever a patient's readings do, and a burden beside them.

How unusual a moment is, is one score: the farthest of its readings in standard deviations. An alert
is a score beyond what adaptive conformal calibration allows (``models.calibration``), so the share
of moments with an alert stays at the target even while readings drift: staff are not flooded. The
price is that a patient whom everything has gone wrong with gives no more alerts than another. That
is what the *burden* is for: the share of the last moments that were more unusual than 19 of 20
moments of the patient's own baseline. One in twenty is as usual, and it has no upper limit but 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.calibration import Calibration

Floats = NDArray[np.float64]

TARGET = 0.05
"""Share of moments that give an alert."""

LOOKED_BACK = 100
"""Moments that a burden is of."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What has been seen so far. Stays at the hospital.

    Attributes:
        calibration: Of scores; what is outside of it is an alert.
        beyond: Of the last moments, which were beyond the baseline's; oldest first.
        edge: Score that one in twenty moments of the patient's own baseline was beyond.
    """

    calibration: Calibration
    beyond: tuple[bool, ...]
    edge: float


@dataclass(frozen=True, slots=True)
class Seen:
    """One moment, judged.

    Attributes:
        score: How unusual its farthest reading was, in standard deviations; NaN if none was read.
        p: Share of recent moments that were at least as unusual; NaN while too few are known.
        alert: Whether it is beyond what the rate allows.
        farthest: Index of the quantity that was farthest off.
        burden: Share of the last moments beyond the patient's own baseline; NaN while too few are.
    """

    score: float
    p: float
    alert: bool
    farthest: int
    burden: float


def begin(scores: Floats) -> Watch:
    """From the scores of a patient's own baseline, oldest first."""
    known = scores[np.isfinite(scores)]
    calibration = Calibration(target=1 - TARGET, level=TARGET)
    for score in known:
        calibration = calibration.after(float(score))
    return Watch(calibration, (), _edge(known))


def see(watch: Watch, off: Floats) -> tuple[Watch, Seen]:
    """Judge one moment by how far each reading was off; NaN where nothing was read."""
    far = np.abs(off)
    if not np.isfinite(far).any():
        return watch, Seen(np.nan, np.nan, alert=False, farthest=-1, burden=_burden(watch.beyond))
    score = float(np.nanmax(far))
    recent = np.array(watch.calibration.scores)
    p = (1 + np.count_nonzero(recent >= score)) / (1 + recent.size) if recent.size else np.nan
    alert = score > watch.calibration.reach
    beyond = (*watch.beyond[-LOOKED_BACK + 1 :], score > watch.edge)
    after = replace(watch, calibration=watch.calibration.after(score), beyond=beyond)
    return after, Seen(score, float(p), alert, int(np.nanargmax(far)), _burden(beyond))


def _edge(known: Floats) -> float:
    """The 95th percentile, unless the baseline itself holds more that stands out than that."""
    if not known.size:
        return np.inf
    middle = np.median(known)
    typical = 1.4826 * np.median(np.abs(known - middle))
    return float(min(np.quantile(known, 1 - TARGET), middle + 3 * typical))


def _burden(beyond: tuple[bool, ...]) -> float:
    return sum(beyond) / len(beyond) if 5 * len(beyond) >= LOOKED_BACK else np.nan
