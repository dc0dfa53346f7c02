"""What a hospital made of a released population before its twins start from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.twin import Population


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where new twins of this hospital start. Stays at the hospital.

    Attributes:
        population: What they start from.
        private: Whether what was released is in it, or only what is public.
        words: What was done and why, for people.
        figures: Name to number, likewise.
    """

    population: Population
    private: bool
    words: tuple[str, ...]
    figures: Mapping[str, float]
