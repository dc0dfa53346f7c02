"""The patient table that a node works on: one row per patient, one array per column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinward.ids import OrgName, RecordNumber


@dataclass(frozen=True, slots=True)
class Patients:
    """All patients of one hospital who can be used, in a fixed order. Stays in the hospital.

    ``columns`` holds one read-only float64 array per UCI column, NaN where nothing is recorded;
    ``repeated`` counts lines that say exactly what an earlier line says. They are kept as patients
    of their own: two people can have the same numbers, and such a file has no identity to tell.
    """

    hospital: OrgName
    records: tuple[RecordNumber, ...]
    columns: Mapping[str, NDArray[np.float64]]
    repeated: int

    def __len__(self) -> int:
        """How many patients; a count that never leaves the hospital."""
        return len(self.records)

    def without(self, row: int) -> Patients:
        """The same table, the same rows, and nothing of one patient: overwritten in place."""
        for column in self.columns.values():
            overwrite(column, row)
        return replace(self, records=unnamed(self.records, row))


def unnamed(records: tuple[RecordNumber, ...], row: int) -> tuple[RecordNumber, ...]:
    """The record numbers with one that is nobody's in this row; rows keep their numbers."""
    return (*records[:row], RecordNumber(f"nobody:{row}"), *records[row + 1 :])


def overwrite(array: NDArray[Any], where: int | slice) -> None:
    """Put NaN over what an array holds here, also one that is read-only to everyone else."""
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    was = owner.flags.writeable, array.flags.writeable
    owner.setflags(write=True)
    array.setflags(write=True)
    array[where] = np.nan
    array.setflags(write=was[1])
    owner.setflags(write=was[0])
