"""How far an answer can be believed: what the twin would have said of this patient's own past."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hospital_node.twins.store import Kept
from models.calibration import Calibration
from models.twin import Replay, Series, Twin

Floats = NDArray[np.float64]

_HORIZONS = (30.0, 60.0, 120.0, 240.0)
_CALIBRATED_DAYS = 14
_FEWEST_COMPARED = 30
_SHOWN_MINUTES = 120


def pasts(
    twin: Twin, kept: Kept, history: Series, *, horizon_minutes: float
) -> dict[float, Replay]:
    """What would have been said on the last days, at each horizon within what is asked."""
    since = history.minutes >= history.minutes[-1] - _CALIBRATED_DAYS * 1440
    recent = Series(
        history.minutes[since], {name: column[since] for name, column in history.values.items()}
    )
    # The error an hour ahead is always looked at: whether the twin is any help shows there.
    horizons = {60.0} | {each for each in _HORIZONS if each <= horizon_minutes}
    return {
        horizon: twin.replay(kept.individual, recent, horizon_minutes=horizon)
        for horizon in sorted(horizons)
    }


def reach(calibrations: dict[float, Calibration], minutes: Floats) -> Floats:
    """Half width in units of the scale at each moment, between the horizons that were looked at."""
    horizons = np.array(list(calibrations))
    known = np.array([max(each.reach, 0.0) for each in calibrations.values()])
    if np.isinf(known).any():  # between something and nothing there is nothing
        return known[np.minimum(np.searchsorted(horizons, minutes), horizons.size - 1)]
    between: Floats = np.interp(minutes, horizons, known)
    return between


def recent(history: Series, output: str) -> tuple[tuple[float, float], ...]:
    """What was observed of this output in the last two hours: minutes before now, value."""
    before = history.minutes - history.minutes[-1]
    since = before >= -_SHOWN_MINUTES
    values = history.values.get(output, np.full(before.shape, np.nan))
    return tuple(zip(before[since].tolist(), values[since].tolist(), strict=True))


def skill(pasts: dict[float, Replay]) -> float:
    """Error an hour ahead against that of the last reading."""
    past = pasts[60.0]
    known = np.isfinite(past.said) & np.isfinite(past.seen) & np.isfinite(past.last)
    if known.sum() < _FEWEST_COMPARED:
        return float("nan")
    twin_error = np.mean((past.said - past.seen)[known] ** 2)
    stays_error = np.mean((past.last - past.seen)[known] ** 2)
    if stays_error == 0:  # nothing ever changed: there is nothing to be better at
        return float("nan")
    return float(np.sqrt(twin_error / stays_error))
