"""What is believed of a person before their diary is read: public, or learnt from many in private.

Each hospital fits its own patients, turns each into seven numbers of bounded length, and only the
noised sum over all patients of all hospitals leaves. The covariance stays a public one: at the size
of a few hospitals learning it costs more privacy than it is worth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.glucose.fit import Prior
from models.glucose.personal import CENTRE, SCALE

Floats = NDArray[np.float64]

LENGTH = 2.0
"""Each patient's seven numbers, in public scales from the public centre, are cut to this length."""

_SHARE = 0.3
_SPREAD = 1.5
"""Variance between people of the mean that the noise is weighed against."""

WIDE = Prior(mean=CENTRE, covariance=np.diag(SCALE**2))
"""Textbook values, believed loosely: for a person with days of data, and for fitting patients
before anything is released."""

TIGHT = Prior(mean=CENTRE, covariance=np.diag(SCALE**2) * _SHARE)
"""The same, believed more firmly; no patients needed."""


def summary(copies: Floats) -> Floats:
    """Each patient's seven numbers, [people, 7], each row at most ``LENGTH`` long.

    Args:
        copies: Of each person, fitted under ``WIDE``, [people, copies, 7].
    """
    numbers = (copies.mean(axis=1) - CENTRE) / SCALE
    lengths = np.linalg.norm(numbers, axis=1, keepdims=True)
    cut: Floats = numbers * np.minimum(1.0, LENGTH / np.maximum(lengths, 1e-300))
    return cut


def learnt(noised_mean: Floats, *, noise_variance: float) -> Prior:
    """The private prior: what was released, weighed against its own noise. Costs no privacy.

    Args:
        noised_mean: Sum of the summaries with its noise, over a public number of patients, [7].
        noise_variance: Of each of these numbers; public.
    """
    mean = noised_mean * _SPREAD / (_SPREAD + noise_variance)
    return Prior(
        mean=CENTRE + SCALE * mean,
        covariance=np.diag(SCALE**2) * (_SHARE + noise_variance),
    )
