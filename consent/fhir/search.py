"""Search over Consents: the parameters that are served, and the refusal of every other.

https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from consent.fhir.kept import Whom
from consent.fhir.moments import span
from consent.fhir.refusal import Issue, Refused

PARAMETERS: Final = ("_id", "patient", "status", "period", "_lastUpdated")
_PAGING: Final = ("_count", "_after", "_format")
_PAGE, _LARGEST_PAGE, _MOST = 50, 500, 20

Condition = tuple[str, Sequence[Any]]

_PERIOD = {
    "eq": ("begins >= ? and ends <= ?", "ab"),
    "ne": ("not (begins >= ? and ends <= ?)", "ab"),
    "gt": ("ends > ?", "b"),
    "ge": ("ends > ?", "a"),
    "lt": ("begins < ?", "a"),
    "le": ("begins < ?", "b"),
    "sa": ("begins >= ?", "b"),
    "eb": ("ends <= ?", "a"),
}
_INSTANT = {
    "eq": ("at >= ? and at < ?", "ab"),
    "ne": ("not (at >= ? and at < ?)", "ab"),
    "gt": ("at >= ?", "b"),
    "ge": ("at >= ?", "a"),
    "lt": ("at < ?", "a"),
    "le": ("at < ?", "b"),
    "sa": ("at >= ?", "b"),
    "eb": ("at < ?", "a"),
}


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for, and which page of it."""

    where: tuple[Condition, ...]
    count: int
    after: int
    asked: tuple[tuple[str, str], ...]


def understand(query: Sequence[tuple[str, str]]) -> Search:
    """The search that a query string asks for.

    Raises:
        Refused: TW8607, a parameter that is not served, or a value that has not its form.
    """
    if len(query) > _MOST:
        raise _refused("", "there are too many parameters")
    where, paging = [], {"_count": _PAGE, "_after": 0}
    for name, value in query:
        if name in _CONDITIONS:
            where.append(_CONDITIONS[name](value))
        elif name in paging:
            paging[name] = _number(name, value)
        elif name not in _PAGING:
            raise _refused(name, f"served are {', '.join((*PARAMETERS, *_PAGING))}")
    asked = tuple(each for each in query if each[0] != "_after")
    return Search(tuple(where), min(paging["_count"], _LARGEST_PAGE), paging["_after"], asked)


def _patient(value: str) -> Condition:
    return "record = ?", [Whom(value.removeprefix("Patient/"))]


def _one_of(column: str) -> Callable[[str], Condition]:
    def made(value: str) -> Condition:
        values = value.split(",")[:_MOST]
        return f"{column} in ({', '.join('?' * len(values))})", values

    return made


def _dates(name: str, table: dict[str, tuple[str, str]]) -> Callable[[str], Condition]:
    def made(value: str) -> Condition:
        prefix, text = (value[:2], value[2:]) if value[:2] in table else ("eq", value)
        found = span(text)
        if found is None:
            raise _refused(name, "a date with one of the prefixes of FHIR is needed")
        condition, which = table[prefix]
        return condition, [found["ab".index(each)] for each in which]

    return made


_CONDITIONS: dict[str, Callable[[str], Condition]] = {
    "_id": _one_of("id"),
    "patient": _patient,
    "status": _one_of("status"),
    "period": _dates("period", _PERIOD),
    "_lastUpdated": _dates("_lastUpdated", _INSTANT),
}


def _number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 12):
        raise _refused(name, "a whole number is needed")
    return int(value)


def _refused(name: str, why: str) -> Refused:
    return Refused(400, [Issue("not-supported", name, why)], code="TW8607")
