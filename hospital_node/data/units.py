"""Converting a quantity between units written in UCUM, or saying why that cannot be done.

A strict part of the case-sensitive codes of UCUM (https://ucum.org/ucum): the atoms below with
metric prefixes, products by ``.``, quotients by ``/``, whole exponents, annotations in braces.
Units with an offset (Cel) and arbitrary ones ([iU]) are not among them: nothing that the models
read is given in them, and a wrong conversion is worse than a refusal.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

_Dimension = tuple[int, int, int, int]
"""Exponents of length (m), mass (g), time (s) and amount of substance (mol)."""

_ATOMS: dict[str, tuple[float, _Dimension, bool]] = {
    # code: factor to m, g, s, mol; dimension; whether it takes prefixes
    "m": (1.0, (1, 0, 0, 0), True),
    "g": (1.0, (0, 1, 0, 0), True),
    "s": (1.0, (0, 0, 1, 0), True),
    "mol": (1.0, (0, 0, 0, 1), True),
    "L": (1e-3, (3, 0, 0, 0), True),
    "l": (1e-3, (3, 0, 0, 0), True),
    "Hz": (1.0, (0, 0, -1, 0), True),
    "Pa": (1e3, (-1, 1, -2, 0), True),
    "m[Hg]": (133.322e6, (-1, 1, -2, 0), True),
    "bar": (1e8, (-1, 1, -2, 0), True),
    "[in_i]": (0.0254, (1, 0, 0, 0), False),
    "[ft_i]": (0.3048, (1, 0, 0, 0), False),
    "[lb_av]": (453.59237, (0, 1, 0, 0), False),
    "[oz_av]": (28.349523125, (0, 1, 0, 0), False),
    "min": (60.0, (0, 0, 1, 0), False),
    "h": (3600.0, (0, 0, 1, 0), False),
    "d": (86400.0, (0, 0, 1, 0), False),
    "wk": (604800.0, (0, 0, 1, 0), False),
    "mo": (2629800.0, (0, 0, 1, 0), False),
    "a": (31557600.0, (0, 0, 1, 0), False),
    "%": (1e-2, (0, 0, 0, 0), False),
}
_PREFIXES = {
    "k": 1e3, "h": 1e2, "da": 1e1, "d": 1e-1, "c": 1e-2, "m": 1e-3, "u": 1e-6, "n": 1e-9,
    "p": 1e-12, "f": 1e-15,
}  # fmt: skip
_TERM = re.compile(
    r"([./]?)(?:((?:[A-Za-z%]|\[[A-Za-z_]+\])+|\d+)([+-]?\d+)?(?:\{[^{}]*\})?|\{[^{}]*\})"
)
_LONGEST, _LARGEST_EXPONENT = 40, 6


class UnitUnknown(ValueError):
    """The text is no unit that is understood here."""


class UnitMismatch(ValueError):
    """The unit measures something else than the field holds."""


@lru_cache(maxsize=4096)
def factor(unit: str, to: str, grams_per_mole: float | None = None) -> float:
    """What a number in ``unit`` is multiplied by to be in ``to``.

    Args:
        unit: UCUM code, case-sensitive.
        to: The same.
        grams_per_mole: Molar mass of the substance; lets mol and g stand for each other.

    Raises:
        UnitUnknown: One of the two is not understood.
        UnitMismatch: They measure different things.
    """
    (size, dimension), (target, wanted) = _parsed(unit), _parsed(to)
    amount = dimension[3] - wanted[3]
    if amount and grams_per_mole is not None:
        size *= grams_per_mole**amount
        dimension = (dimension[0], dimension[1] + amount, dimension[2], wanted[3])
    if dimension != wanted:
        raise UnitMismatch(unit)
    found = size / target
    # 1.0 and not 0.9999999999999999 where decimal prefixes cancel.
    return float(f"{found:.15g}")


def _parsed(unit: str) -> tuple[float, _Dimension]:
    if not unit or len(unit) > _LONGEST:
        raise UnitUnknown(unit)
    size, dimension, at = 1.0, [0, 0, 0, 0], 0
    while at < len(unit):
        match = _TERM.match(unit, at)
        if match is None or (bool(match[1]) != bool(at) and unit[at] != "/"):
            raise UnitUnknown(unit)
        exponent = int(match[3] or 1) * (-1 if match[1] == "/" else 1)
        value, atom = _atom(match[2] or "1", unit)
        if not value or abs(exponent) > _LARGEST_EXPONENT:
            raise UnitUnknown(unit)
        size *= math.pow(value, exponent)
        dimension = [own + exponent * each for own, each in zip(dimension, atom, strict=True)]
        at = match.end()
    if not 0 < size < math.inf:
        raise UnitUnknown(unit)
    return size, (dimension[0], dimension[1], dimension[2], dimension[3])


def _atom(code: str, unit: str) -> tuple[float, _Dimension]:
    if code.isdigit():
        return float(code), (0, 0, 0, 0)
    if code in _ATOMS:
        value, dimension, _ = _ATOMS[code]
        return value, dimension
    for prefix, scale in _PREFIXES.items():
        value, dimension, takes = _ATOMS.get(code.removeprefix(prefix), (0.0, (0, 0, 0, 0), False))
        if takes and code.startswith(prefix):
            return scale * value, dimension
    raise UnitUnknown(unit)
