"""Made-up patients' readings, to learn baselines from and to try them on: nobody's.

A *region* has people who are unlike the textbook: levels lie elsewhere, differ by another amount,
readings spread by another. A patient is drawn from a region; the same seed, the same readings.
"""

from __future__ import annotations

import numpy as np

from models.baseline.engine import DAY, Usual
from models.baseline.twin import BaselineTwin, usual_of
from models.twin import Series

_APART = (0.6, 0.25, 0.3)
"""How far regions are from the textbook: levels in standard deviations, and two logarithms."""


def region(twin: BaselineTwin, seed: int) -> Usual:
    """What is usual of the people of a made-up region."""
    generator = np.random.default_rng([20261121, seed])
    textbook = usual_of(twin.population())
    moved, wider, noisier = generator.standard_normal((3, textbook.mean.size)) * [
        [each] for each in _APART
    ]
    return Usual(
        mean=textbook.mean + moved * textbook.between,
        between=textbook.between * np.exp(wider),
        within=textbook.within * np.exp(noisier),
        drift=textbook.drift,
        slope=0 * textbook.slope,
    )


def patient(
    twin: BaselineTwin, people: Usual, *, days: float, seed: int, step_minutes: float = 60.0
) -> Series:
    """One patient of a region: a level of their own that wanders, and readings around it."""
    generator = np.random.default_rng([7, seed])
    count, width = max(1, round(days * DAY / step_minutes)), people.mean.size
    level = generator.normal(people.mean, people.between)
    wander = people.drift * np.sqrt(step_minutes / DAY) * generator.standard_normal((count, width))
    table = generator.normal(level + np.cumsum(wander, axis=0), people.within)
    low = [each.low for each in twin.spec.inputs]
    high = [each.high for each in twin.spec.inputs]
    names = [each.name for each in twin.spec.inputs]
    columns = np.clip(table, low, high).T
    return Series(
        step_minutes * np.arange(count, dtype=np.float64),
        dict(zip(names, columns.copy(), strict=True)),
    )
