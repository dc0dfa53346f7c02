"""What a reader makes of its source: drafts of patients, each with the defects found on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hospital_node.data.contract import FIELDS, is_in_range, is_whole
from hospital_node.data.defects import Defect
from hospital_node.data.units import UnitMismatch, UnitUnknown, factor
from twinward.ids import RecordNumber

Values = Mapping[str, float]
"""What is recorded of a patient, by field; a field that is not recorded is not in it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """One patient as a source has them.

    Attributes:
        record: The hospital's own number.
        where: File and line, or file and resource.
        values: In the units of the contract, within its ranges.
        qualifies: Whether every field that the mapping requires is there.
        signal: A recording, as `recordings.packed`; empty in a table or a bundle.
    """

    record: RecordNumber
    where: str
    values: Values
    qualifies: bool
    signal: bytes = b""


@dataclass(frozen=True, slots=True)
class Read:
    """What one part of a source holds.

    Attributes:
        drafts: Its patients.
        defects: What is wrong with them, and with what became no patient.
        bytes: How much was read, after decompression.
    """

    drafts: Sequence[Draft]
    defects: Sequence[Defect]
    bytes: int


class Source(Protocol):
    """Files of one format with the mapping that says what is where in them.

    A source is read in parts, always the same and in the same order, so that an import that died
    goes on with the part after the last one that is on disk.
    """

    @property
    def files(self) -> Sequence[Path]:
        """The files that it is made of."""
        ...

    @property
    def mapping(self) -> bytes:
        """What names the mapping: other bytes, another import."""
        ...

    def parts(self, *, skip: int) -> Iterator[Read]:
        """All parts but the first ``skip``."""
        ...


class Refused(Exception):
    """A value that cannot be taken; its argument names the kind of defect."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def quantity(name: str, value: float, unit: str | None) -> float:
    """A number of a field, in the unit and form that the models expect.

    Args:
        name: The field.
        value: The number as it was given.
        unit: Its UCUM unit; None if the field's own.

    Raises:
        Refused: It cannot be.
    """
    wanted = FIELDS[name]
    if wanted.unit is not None and unit is not None:
        try:
            value *= factor(unit, wanted.unit, wanted.grams_per_mole)
        except UnitUnknown:
            raise Refused("unit-unknown") from None
        except UnitMismatch:
            raise Refused("unit-mismatch") from None
    if wanted.above is not None:
        if not 0 < value < 100 * wanted.above:
            raise Refused("out-of-range")
        value = float(value > wanted.above)
    return checked(name, value)


def checked(name: str, value: float) -> float:
    """A number that the field may hold.

    Raises:
        Refused: It may not.
    """
    column = FIELDS[name].column
    if not is_in_range(value, column):
        raise Refused("out-of-range")
    if not is_whole(value, column):
        raise Refused("not-whole")
    return value


def incomplete(values: Values, required: Iterable[str], *, where: str) -> list[Defect]:
    """A defect for each field that is required and missing."""
    return [Defect("incomplete", where, name) for name in required if name not in values]
