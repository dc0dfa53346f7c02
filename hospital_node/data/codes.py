"""Code systems by short name, and whether a code can be one of its system at all.

LOINC numbers and SNOMED CT identifiers end in a check digit, so a mistyped one is noticed without
a table of all codes: https://loinc.org/kb/users-guide/ (Luhn, appendix on check digits),
https://docs.snomed.org/ (SCTID check digit, Verhoeff's dihedral check).
"""

from __future__ import annotations

import re
from functools import lru_cache

LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
SYSTEMS = {"loinc": LOINC, "snomed": SNOMED}
_LOINC = re.compile(r"(\d{1,7})-(\d)")
_SNOMED = re.compile(r"[1-9]\d{5,17}")
_TURNS = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


@lru_cache(maxsize=65536)
def is_possible(system: str, code: str) -> bool:
    """False for a code that its system cannot have; true for systems that are not known here."""
    if system == LOINC:
        match = _LOINC.fullmatch(code)
        return match is not None and _luhn(match[1]) == int(match[2])
    if system == SNOMED:
        return _SNOMED.fullmatch(code) is not None and _verhoeff(code) == 0
    return True


def _luhn(digits: str) -> int:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 if place % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return -total % 10


def _verhoeff(digits: str) -> int:
    check = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit)
        for _ in range(place % 8):
            value = _TURNS[value]
        check = _dihedral(check, value)
    return check


def _dihedral(a: int, b: int) -> int:
    """The product in the symmetry group of a pentagon: 0 to 4 turn, 5 to 9 turn and flip."""
    if a < 5:
        return (a + b) % 5 if b < 5 else 5 + (a + b) % 5
    return 5 + (a - b) % 5 if b < 5 else (a - b) % 5
