"""Made-up wards, to try the twin on: nobody's stays, of curves that the twin is not told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.census.stays import DAY, weekday
from models.twin import Floats

_MONDAY = 4 * DAY
"""5 January 1970: minutes count from 1970, so weekdays are those of a calendar."""


@dataclass(frozen=True, slots=True)
class Ward:
    """A made-up ward.

    Attributes:
        daily: Arrivals of a mean day.
        short: Share of patients with short stays.
        medians: Of short and long stays, days.
        weekend: Arrivals of a weekend day over those of a weekday.
        yearly: How far arrivals rise and fall over a year, as share.
        uneven: Variance of a day's own level.
    """

    daily: float
    short: float
    medians: tuple[float, float]
    weekend: float
    yearly: float
    uneven: float


def ward(seed: int) -> Ward:
    """Another seed is another ward."""
    generator = np.random.default_rng([20261121, seed])
    return Ward(
        daily=float(np.exp(generator.normal(np.log(12.0), 0.5))),
        short=float(generator.uniform(0.35, 0.65)),
        medians=(
            float(np.exp(generator.normal(np.log(1.8), 0.2))),
            float(np.exp(generator.normal(np.log(8.0), 0.2))),
        ),
        weekend=float(generator.uniform(0.5, 0.85)),
        yearly=float(generator.uniform(0.05, 0.25)),
        uneven=float(generator.uniform(0.02, 0.1)),
    )


def stays(ward: Ward, *, days: int, seed: int) -> tuple[Floats, Floats]:
    """When each patient came and left, minutes; rising by arrival; some leave after the end."""
    generator = np.random.default_rng(seed)
    starts = _MONDAY + DAY * np.arange(days, dtype=np.float64)
    weekly = np.where(weekday(starts) >= 5, ward.weekend, 1.0)
    season = 1 + ward.yearly * np.sin(2 * np.pi * np.arange(days) / 365 + generator.uniform(0, 6))
    own = generator.gamma(1 / ward.uneven, ward.uneven, size=days)
    counts = generator.poisson(ward.daily * weekly / weekly.mean() * season * own)
    came = np.sort(np.repeat(starts, counts) + DAY * generator.random(counts.sum()))
    is_short = generator.random(came.size) < ward.short
    medians = np.where(is_short, *ward.medians)
    spread = np.where(is_short, 0.5, 0.7)
    lasted = medians * np.exp(spread * generator.standard_normal(came.size))
    came = np.round(came)
    return came, came + np.maximum(np.round(lasted * DAY), 1.0)
