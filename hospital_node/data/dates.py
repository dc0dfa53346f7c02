"""Dates as other systems write them, and a patient's age at one."""

from __future__ import annotations

from datetime import UTC, date, datetime

from hospital_node.data.drafts import Refused

_LONGEST_LIFE_DAYS = 130 * 366


def moment(text: str, *, now: datetime, birth: date | None = None) -> datetime:
    """An ISO 8601 or FHIR date or time; of a year or a month alone, its middle.

    Args:
        text: As it was written; without a zone it counts as UTC.
        now: Nothing can have been measured later; a day of grace for other time zones.
        birth: Nothing can have been measured earlier.

    Raises:
        Refused: no-date, bad-date, future-date, before-birth.
    """
    if not text:
        raise Refused("no-date")
    try:
        whole = {4: f"{text}-07-01", 7: f"{text}-15"}.get(len(text), text)
        found = datetime.fromisoformat(whole)
    except ValueError:
        raise Refused("bad-date") from None
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    if (found - now).days >= 1:
        raise Refused("future-date")
    if birth is not None and (found.date() - birth).days < -1:
        raise Refused("before-birth")
    return found


def birth_date(text: str, *, now: datetime) -> date:
    """A date of birth.

    Raises:
        Refused: no-date, bad-date, future-date; also when nobody lives so long.
    """
    found = moment(text, now=now).date()
    if (now.date() - found).days > _LONGEST_LIFE_DAYS:
        raise Refused("bad-date")
    return found


def age(birth: date, at: date) -> float:
    """Whole years from birth to a date."""
    return float(at.year - birth.year - ((at.month, at.day) < (birth.month, birth.day)))
