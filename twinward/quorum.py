"""Whether enough of a study's patients are behind the hospitals that are there.

Exact numbers of patients may not leave a hospital. So each declares a coarse class before anybody
approves the plan, and the plan says what part of the declared whole every step needs (ADR 15).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

CLASSES = (1, 2, 4, 8, 16)
"""What a hospital may declare: how many times the smallest one of the study it is, roughly."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What hospitals declared, in the order of the plan's sites, and what part has to be there."""

    classes: tuple[int, ...]
    least_percent: int

    def enough(self, sites: Sequence[str], present: Collection[str]) -> bool:
        """Whether those present hold the part that every step needs, as declared."""
        there = sum(size for site, size in zip(sites, self.classes, strict=True) if site in present)
        return 100 * there >= self.least_percent * sum(self.classes)
