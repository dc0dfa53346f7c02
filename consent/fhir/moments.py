"""Dates of FHIR: a partial date is a span of time. UTC where no zone is named.

https://hl7.org/fhir/R4/datatypes.html#dateTime https://hl7.org/fhir/R4/search.html#date
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_FORM = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?(Z|[+-]\d\d:\d\d)?)?)?)?"
)
FOR_EVER = 253_402_300_799.0
"""The end of the year 9999, Unix seconds."""


def span(text: str) -> tuple[float, float] | None:
    """First moment and the moment after the last one, Unix seconds; None if it is no date."""
    found = _FORM.fullmatch(text) if text.isascii() else None
    if found is None:
        return None
    year, month, day, hour, minute, second, zone = found.groups()
    try:
        start = datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0),
            int(second or 0), tzinfo=UTC,
        )  # fmt: skip
        if zone not in (None, "Z"):
            ahead = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:]))
            start -= ahead if zone[0] == "+" else -ahead
        return start.timestamp(), _after(start, month=month, day=day, hour=hour).timestamp()
    except (ValueError, OverflowError):
        return None


def _after(start: datetime, *, month: str | None, day: str | None, hour: str | None) -> datetime:
    if hour is not None:
        return start + timedelta(seconds=1)
    if day is not None:
        return start + timedelta(days=1)
    if month is not None:
        return (start + timedelta(days=31)).replace(day=1)
    return start.replace(year=start.year + 1)
