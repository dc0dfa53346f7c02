"""What hospitals may teach each other about stays: counts, cut per patient, summed under noise.

The vector that a secure sum carries is ``WIDTH`` numbers: the first seven are arrivals of each
weekday, Monday first; the others are stays that ended in each part of ``BORDERS``. One patient is
the sum of their admissions, cut to ``LENGTH``: one admission goes in whole, and whoever came often
counts as much as one who came once. No weights are needed and one step is all (``population``).

From the noised sum alone ``population`` makes the curves that a new ward starts from; that costs no
privacy.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from models.census.stays import DAYS, curve, hazards, weekday
from models.twin import Floats, Population

BORDERS = (0, 1, 2, 3, 4, 5, 7, 10, 14, 21, 30, 45, 90)
"""Days; the last part is of who stayed longer."""

WIDTH = 7 + len(BORDERS)
LENGTH = math.sqrt(2.0)
"""One admission is a weekday and a stay, each 1."""

_HELD = 100.0
"""Patients that the public curve counts as, beside three deviations of the noise."""

_WEEKDAYS = 0.1
"""How far a weekday's share is expected from the public one, as standard deviation."""


def of_patient(came: Floats, stayed: Floats) -> Floats:
    """One patient's row, cut to ``LENGTH``. Only ever summed with others' under noise.

    Args:
        came: Moment of each admission in the window, minutes since 1970.
        stayed: Days of each.

    Returns:
        [WIDTH]; zeros for who was never admitted, or whose numbers are none.
    """
    sound = np.isfinite(came) & np.isfinite(stayed) & (stayed >= 0)
    row = np.zeros(WIDTH)
    np.add.at(row, weekday(came[sound]), 1.0)
    np.add.at(row, 6 + np.searchsorted(BORDERS, stayed[sound], side="right"), 1.0)
    return row * min(1.0, LENGTH / max(float(np.linalg.norm(row)), LENGTH))


def population(noised: Floats, *, noise_sd: float, start: Population) -> Population:
    """Curves of stays and weekdays from a noised sum, weighed against its own noise.

    Args:
        noised: The sum over all hospitals, [WIDTH].
        noise_sd: Of each of its numbers; public.
        start: The public curves.
    """
    held = _HELD + 3 * noise_sd
    usual = np.asarray(start["survival"])
    ended = np.maximum(noised[7:], 0.0)
    edges = np.array(BORDERS)
    daily = hazards(usual)
    for part, (low, high) in enumerate(pairwise(edges)):
        at_risk = ended[part:].sum()
        public = 1 - usual[high] / max(usual[low], 1e-12)
        share = (ended[part] + held * public) / (at_risk + held)
        # Within a part the days keep the public form: all rates are raised to one power.
        power = math.log(max(1 - share, 1e-9)) / math.log(max(1 - public, 1e-9))
        daily[low:high] = 1 - (1 - daily[low:high]) ** power
    usual = np.asarray(start["weekly"])
    daily_count = max(float(noised[:7].sum()), 7.0, 7 * 2 * noise_sd) / 7
    noise = (noise_sd**2 + daily_count) / daily_count**2
    believed = _WEEKDAYS**2 / (_WEEKDAYS**2 + noise)
    weekly = np.maximum(usual + believed * (noised[:7] / daily_count - usual), 0.05)
    return {**start, "survival": curve(daily[:DAYS]), "weekly": weekly / weekly.mean()}
