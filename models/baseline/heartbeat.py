"""Beats of one lead as observations: how long since the last, how sudden, how unlike the usual.

The usual beat is followed slowly as the recording goes on, so that a new position of the patient is
unusual for a minute and not for ever. Nothing here knows a diagnosis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.twin import Series

Floats = NDArray[np.float64]

BEFORE_SECONDS, AFTER_SECONDS = 0.20, 0.30
_FIRST_BEATS = 30
_FOLLOWED = 0.02
_SHORTEST, _LONGEST = 0.2, 4.0


def observations(signal: Floats, at: NDArray[np.int64], *, hertz: float) -> Series:
    """A row per beat but the first: minutes since the recording began, and three quantities.

    ``interval`` in seconds since the beat before; ``suddenness``, the logarithm of its ratio to the
    median of the eight before it; ``unlikeness``, the logarithm of the root mean square difference
    from the usual beat over that beat's own size. Beats whose form is cut off by an end of the
    recording, or nearer than 0.2 s to the one before, are left out.

    Args:
        signal: One lead, millivolts.
        at: Beats, in samples, rising.
        hertz: Samples in a second.
    """
    before, after = round(BEFORE_SECONDS * hertz), round(AFTER_SECONDS * hertz)
    at = at[(at >= before) & (at < signal.size - after)]
    at = at[np.diff(at, prepend=-signal.size) >= _SHORTEST * hertz]
    if at.size < _FIRST_BEATS:
        return Series(np.zeros(0), {})
    clean = np.nan_to_num(signal)
    forms = np.stack([clean[beat - before : beat + after] for beat in at])
    forms -= np.median(forms, axis=1, keepdims=True)
    intervals = np.clip(np.diff(at) / hertz, _SHORTEST, _LONGEST)
    return Series(
        at[1:] / hertz / 60,
        {
            "interval": intervals,
            "suddenness": _suddenness(intervals),
            "unlikeness": _unlikeness(forms)[1:],
        },
    )


def _suddenness(intervals: Floats) -> Floats:
    padded = np.concatenate([np.repeat(intervals[:1], 8), intervals])
    usual = np.median(np.lib.stride_tricks.sliding_window_view(padded, 8)[:-1], axis=1)
    found: Floats = np.log(intervals / usual)
    return found


def _unlikeness(forms: Floats) -> Floats:
    usual = np.median(forms[:_FIRST_BEATS], axis=0)
    found = np.empty(len(forms))
    for row, form in enumerate(forms):
        size = max(float(np.sqrt(np.mean(usual**2))), 1e-3)
        off = form - usual
        found[row] = np.log(max(float(np.sqrt(np.mean(off**2))) / size, 1e-3))
        # No single beat, however wild, moves the usual one by more than its share of a usual one.
        usual = usual + _FOLLOWED * np.clip(off, -size, size)
    return found
