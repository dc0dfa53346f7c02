"""What a patient can choose on the page, and the draft that it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consent import purposes
from consent.policy import Grade
from consent.record import DAY, midnight_before
from consent.study import Study
from twinward.errors import UsageError

YEARS = (1, 2, 5)
LIMITS = ("not-for-profit", "no-methods-only", "ethics-approved", "in-region")
"""Restrictions that a patient is offered; the others need words that no form can ask for."""


@dataclass(frozen=True, slots=True)
class Picked:
    """One choice.

    Attributes:
        purpose: What the study may be part of: its own purpose, or a broader one.
        limits: Restrictions on top.
        years: How long.
        without: Categories of data that are left out.
    """

    purpose: str
    limits: tuple[str, ...]
    years: int
    without: tuple[str, ...] = ()

    @classmethod
    def of(cls, form: Mapping[str, str], study: Study) -> Picked:
        """Read a form; what it does not say is what the letter asks, for the shortest time.

        Raises:
            UsageError: TW8071, not one of the choices.
        """
        purpose, years = form.get("purpose", study.purpose), form.get("years", str(YEARS[0]))
        if purpose not in offered(study) or years not in map(str, YEARS):
            raise not_offered()
        limits = tuple(name for name in LIMITS if form.get(name))
        without = tuple(
            one.name for n, one in enumerate(study.optional) if form.get(f"without-{n}")
        )
        return cls(purpose, limits, int(years), without)

    @property
    def names(self) -> tuple[str, ...]:
        """Rows of the purpose table."""
        return (self.purpose, *self.limits)

    def until(self, now: float) -> int:
        """The midnight at which it ends, Unix seconds."""
        return midnight_before(now + self.years * 365 * DAY)

    def draft(self, now: float, *, grade: Grade) -> dict[str, Any]:
        """What the desk is asked about before anything is signed."""
        return {
            "purposes": f"{purposes.bits(self.names):032x}",
            "without": list(self.without),
            "not_before": midnight_before(now),
            "expiry": self.until(now),
            "grade": grade.value,
        }


def not_offered() -> UsageError:
    """The refusal of a choice that the page does not offer."""
    return UsageError(
        "this is not one of the choices on the page",
        code="TW8071",
        help="go back and choose again",
    )


def offered(study: Study) -> tuple[str, ...]:
    """The purposes that cover the study, the narrowest first; own care stands alone."""
    broader = purposes.purpose(study.purpose).broader
    return (study.purpose, *(name for name in ("health-research",) if name in broader))
