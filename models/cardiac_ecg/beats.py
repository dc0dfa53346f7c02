"""From ten seconds of electrocardiogram to one beat: found, lined up, and the median of each time.

What is left is the form of a beat in every lead. How regular beats follow each other is lost, so a
model over it cannot see a rhythm. One patient's recording at a time: nothing here mixes patients.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

HERTZ = 100
LEADS = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")
BEFORE, AFTER = 30, 50
"""Samples of a beat before and from its steepest moment on: 0.3 s and 0.5 s."""

_SMOOTHED_SECONDS, _APART_SECONDS, _DRIFT_SECONDS = 0.08, 0.25, 1.0
_STEEP, _OF = 0.4, 97.0
"""A beat is where the signal is at least so steep, as a share of its 97th percentile."""
_MOST = 20.0
"""Millivolts that are believed; no heart gives more."""

_QUIET = 8
"""First samples of a beat, between two waves: their median is the beat's zero."""


def found(recording: Floats, *, hertz: float = HERTZ) -> Integers:
    """Where the beats of a recording are, in samples: its steepest moments, at least 0.25 s apart.

    Args:
        recording: [leads, times], millivolts; what is not finite counts as zero.
        hertz: Samples in a second.
    """
    steps = np.diff(_believed(recording), axis=1)
    steep = _mean_around(np.sqrt((steps**2).sum(axis=0))[None], round(_SMOOTHED_SECONDS * hertz))[0]
    apart = round(_APART_SECONDS * hertz)
    if steep.size <= 2 * apart or not steep.any():
        return np.zeros(0, dtype=np.int64)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(steep, apart), 2 * apart + 1)
    high = steep >= _STEEP * np.percentile(steep, _OF)
    peaks = np.flatnonzero(high & (steep == around.max(axis=1)))
    at: Integers = peaks[np.diff(peaks, prepend=-apart - 1) > apart].astype(np.int64)
    return at


def middle_beat(recording: Floats) -> Floats:
    """The median beat of a recording of ``HERTZ``, [leads, BEFORE + AFTER]; flat if there is none.

    The slow drift of each lead is taken out, and each beat's zero is where it is quiet.
    """
    clean = _believed(recording)
    clean = clean - _mean_around(clean, round(_DRIFT_SECONDS * HERTZ))
    at = found(clean)
    at = at[(at >= BEFORE) & (at < clean.shape[1] - AFTER)]
    if not at.size:
        return np.zeros((len(clean), BEFORE + AFTER))
    each = np.stack([clean[:, peak - BEFORE : peak + AFTER] for peak in at])
    each -= np.median(each[:, :, :_QUIET], axis=2, keepdims=True)
    middle: Floats = np.median(each, axis=0)
    return middle


def _believed(recording: Floats) -> Floats:
    return np.clip(np.nan_to_num(recording, posinf=0.0, neginf=0.0), -_MOST, _MOST)


def _mean_around(rows: Floats, width: int) -> Floats:
    """Mean of an odd number of samples around each, the ends repeated."""
    half = width // 2
    padded = np.pad(rows, ((0, 0), (half + 1, half)), mode="edge")
    padded[:, 0] = 0.0
    total = np.cumsum(padded, axis=1)
    return (total[:, 2 * half + 1 :] - total[:, : -2 * half - 1]) / (2 * half + 1)
