"""What is excepted from a permission: uses that it forbids, and categories of data left out.

Each is a nested provision of type ``deny``. One names purposes, another names codes, none both:
elements of one provision narrow one another, so together they would forbid less.
https://hl7.org/fhir/R4/consent-definitions.html#Consent.provision.code
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from consent.fhir.refusal import Json, of_element
from consent.study import Study

FORBIDDEN: Final = "urn:twinward:forbidden-uses"
CATEGORIES: Final = "urn:twinward:data-categories"

_FORBIDS = {
    "not-for-profit": "for-profit",
    "no-methods-only": "methods-only",
    "genetic-only": "not-genetic",
    "ethics-approved": "without-ethics-approval",
    "in-region": "outside-the-region",
    "named-users": "by-users-not-named",
    "named-institutions": "by-institutions-not-named",
    "as-described-only": "not-as-described",
}
_RESTRICTIONS = {forbidden: name for name, forbidden in _FORBIDS.items()}
_AT = "Consent.provision.provision"


@dataclass(frozen=True, slots=True)
class Exceptions:
    """Restrictions (rows of the purpose table), and the study's categories that are left out."""

    limits: tuple[str, ...]
    without: tuple[str, ...]


def category(name: str) -> Json:
    """The coding that names a category of data."""
    return {"system": CATEGORIES, "code": name}


def read(provision: Mapping[str, Any], study: Study) -> Exceptions:
    """What a permission excepts.

    Raises:
        Refused: TW8601, the first element that cannot be kept to.
    """
    limits: list[str] = []
    without: set[str] = set()
    for number, nested in enumerate(provision.get("provision", [])):
        at = f"{_AT}[{number}]"
        for name in sorted(set(nested) - {"type", "purpose", "code"}):
            raise of_element(f"{at}.{name}", "an exception names uses or categories, nothing else")
        if nested.get("type") != "deny" or len(nested) == 1:
            raise of_element(f"{at}.type", "an exception from a permission denies something")
        if len(nested) > 2:
            raise of_element(f"{at}.code", "a category is left out of every use or of none")
        limits += _limits(nested, at)
        without |= set(_categories(nested, study, at))
    return Exceptions(tuple(limits), tuple(sorted(without)))


def written(names: Collection[str], without: Collection[str]) -> Json:
    """The exceptions as a part of a provision; `read` reads the same. Empty if there are none.

    Args:
        names: Rows of the purpose table.
        without: Categories that are left out.
    """
    nested: list[Json] = []
    forbidden = [_FORBIDS[name] for name in names if name in _FORBIDS]
    if forbidden:
        codings = [{"system": FORBIDDEN, "code": code} for code in forbidden]
        nested.append({"type": "deny", "purpose": codings})
    if without:
        concepts = [{"coding": [category(name)], "text": name} for name in without]
        nested.append({"type": "deny", "code": concepts})
    return {"provision": nested} if nested else {}


def _limits(nested: Mapping[str, Any], at: str) -> Iterator[str]:
    for number, coding in enumerate(nested.get("purpose", [])):
        limit = _RESTRICTIONS.get(str(coding.get("code")))
        if coding.get("system") != FORBIDDEN or limit is None:
            raise of_element(f"{at}.purpose[{number}]", "this use cannot be forbidden by itself")
        yield limit


def _categories(nested: Mapping[str, Any], study: Study, at: str) -> Iterator[str]:
    optional = {one.name for one in study.optional}
    for number, concept in enumerate(nested.get("code", [])):
        codings = concept.get("coding", [])
        found = {(each.get("system"), each.get("code")) for each in codings}
        if set(concept) - {"coding", "text"} or [system for system, _ in found] != [CATEGORIES]:
            raise of_element(f"{at}.code[{number}]", f"one coding of {CATEGORIES} is needed")
        ((_, name),) = found
        if name not in optional:
            raise of_element(
                f"{at}.code[{number}]",
                "this cannot be left out of the study; `$offers` names what can",
            )
        yield str(name)
