"""The data contract: which fields a patient's record has, their units, and what each may hold.

Ranges and codings are those of the models (``models.cardiac_risk.inputs``); what is added here is
what an import needs to bring other people's numbers into them: the unit, as UCUM writes it, the
molar mass of a substance that may be given in moles, and the limit that turns a sugar into a flag.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.cardiac_risk.inputs import COLUMNS, LABEL, Column

ALL = (*COLUMNS, LABEL)
"""Every column, in the order of a UCI file."""

ZERO_IS_MISSING = frozenset({"trestbps", "chol"})
"""Where the UCI archive writes 0 for what was not measured."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record, as an import sees it.

    Attributes:
        column: Name, range and meaning, as the models have it.
        unit: UCUM unit that the models expect; None for a code or a flag.
        grams_per_mole: Molar mass, where mol and g may be exchanged; None otherwise.
        above: The field is a flag: 1 if the quantity is above this, in ``unit``.
    """

    column: Column
    unit: str | None = None
    grams_per_mole: float | None = None
    above: float | None = None


_QUANTITIES: Mapping[str, tuple[str, float | None, float | None]] = {
    "age": ("a", None, None),
    "trestbps": ("mm[Hg]", None, None),
    "chol": ("mg/dL", 386.65, None),  # cholesterol
    "fbs": ("mg/dL", 180.156, 120.0),  # glucose
    "thalach": ("/min", None, None),
    "oldpeak": ("mm", None, None),
}

FIELDS: Mapping[str, Field] = {
    column.name: Field(column, *_QUANTITIES.get(column.name, (None, None, None))) for column in ALL
}
"""The fields that an import can fill, by the name of their column."""


def is_in_range(value: float, column: Column) -> bool:
    """Whether a column may hold this number; never true for NaN or infinity."""
    return column.low <= value <= column.high


def is_whole(value: float, column: Column) -> bool:
    """Whether the number is whole where the column asks for it."""
    return not column.whole or value == int(value)
