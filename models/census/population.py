"""Counts of arrivals and stays as something that a network trains, in one noised sum."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from models.census import counts
from models.census.stays import DAY, arrivals_of, stays_of
from models.census.twin import CensusTwin
from models.deployment import Deployment
from models.twin import Floats, Population, Series
from twinward.ids import OrgName

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class WardCounts:
    """Where a new ward starts: how long patients stay and on which weekdays they come."""

    name = "ward_counts/1"
    kind = "prior"
    twin = CensusTwin.spec.name
    title = "How long patients stay, and when they come"
    length = counts.LENGTH
    intended_use = (
        "Starting point of a ward that has little past of its own, for the planning of beds; "
        "research and teaching."
    )
    limits = (
        "Counts of patients under noise, each cut to one admission: who came often counts as one.",
        "Not for decisions about a patient. A mean over wards, which no single ward need be like.",
        "Only stays that had ended when a hospital wrote its file: give it three months for that.",
        "A ward with four weeks of its own gains next to nothing from it (measured).",
    )
    fewest = 200.0

    def spec(self, sites: Sequence[OrgName]) -> dict[str, Any]:
        """Every public constant, as JSON values; the curves that it is weighed against, too."""
        del sites
        usual = CensusTwin().population()
        return {
            "length": counts.LENGTH,
            "borders": list(counts.BORDERS),
            "survival": usual["survival"].tolist(),
            "weekly": usual["weekly"].tolist(),
        }

    def names(self, sites: Sequence[OrgName]) -> tuple[str, ...]:
        """Arrivals of each weekday, then stays by their length."""
        del sites
        parts = [f"stayed {low} to {high} days" for low, high in pairwise(counts.BORDERS)]
        came = [f"came on a {day}" for day in _DAYS]
        return (*came, *parts, f"stayed {counts.BORDERS[-1]} days or more")

    def start(self, spec: Mapping[str, Any]) -> Floats:
        """No counts."""
        del spec
        return np.zeros(counts.WIDTH)

    def vectors(self, histories: Sequence[Series]) -> Floats:
        """Each patient's admissions that have ended; zeros for who was never in."""
        return np.array([_row(history) for history in histories]).reshape(-1, counts.WIDTH)

    def population(self, weights: Floats, *, noise_variance: float, divisor: int) -> Population:
        """The textbook's curves, moved by as many patients as stand out of the noise."""
        sd = divisor * math.sqrt(noise_variance)
        return counts.population(divisor * weights, noise_sd=sd, start=CensusTwin().population())

    def deployed(self, released: Population | None, histories: Sequence[Series]) -> Deployment:
        """As released: a ward's own stays count for more, the more there are."""
        del histories
        if released is None:
            return Deployment(CensusTwin().population(), False, ("the textbook is used",), {})
        return Deployment(released, True, ("used as released",), {})


def _row(history: Series) -> Floats:
    if not arrivals_of(history).size:
        return np.zeros(counts.WIDTH)
    known = stays_of(history)
    return counts.of_patient(known.came, (known.left - known.came) / DAY)
