"""What a patient can choose on the page, and the draft that it makes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
READ = "read-"
"""Begins the name of the field of a category that can be left out."""


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
    def of(cls, form: Mapping[str, str], study: Study, *, closed: Collection[str] = ()) -> Picked:
        """Read a form; what it does not say is the study's own purpose, for the shortest time.

        A category that can be left out is read only where the form says so, with its place and
        its name: what is lost on the way, or comes from a page about another study, narrows.

        Args:
            form: What the page sent.
            study: What it is about.
            closed: Categories that this visitor cannot let in.

        Raises:
            UsageError: TW8071, not one of the choices.
        """
        purpose, years = form.get("purpose", study.purpose), form.get("years", str(YEARS[0]))
        if purpose not in offered(study) or years not in map(str, YEARS):
            raise not_offered()
        limits = tuple(name for name in LIMITS if form.get(name))
        boxes = {field(n): one.name for n, one in enumerate(study.optional)}
        ticked = {name: value for name, value in form.items() if name.startswith(READ)}
        if any(boxes.get(name) != value or value in closed for name, value in ticked.items()):
            raise not_offered()
        without = tuple(name for box, name in boxes.items() if box not in ticked)
        return cls(purpose, limits, int(years), without)

    @classmethod
    def again(cls, grant: Mapping[str, Any] | None, study: Study) -> Picked:
        """What the form shows before it is touched: the last yes, or no more than is needed.

        A first form lets in nothing that can be left out: no box is ticked before the patient
        ticks it (GDPR Art. 25(2) and recital 32). How long has to be said anew.
        """
        if grant is None:
            return cls(study.purpose, (), YEARS[0], tuple(one.name for one in study.optional))
        said = grant["purposes"]
        return cls(
            next((name for name in offered(study) if name in said), study.purpose),
            tuple(name for name in LIMITS if name in said),
            YEARS[0],
            tuple(grant["without"]),
        )

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


def field(place: int) -> str:
    """The field of the optional category at this place of the study's."""
    return f"{READ}{place}"


def offered(study: Study) -> tuple[str, ...]:
    """The purposes that cover the study, the narrowest first; own care stands alone."""
    broader = purposes.purpose(study.purpose).broader
    return (study.purpose, *(name for name in ("health-research",) if name in broader))
