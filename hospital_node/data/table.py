"""The patient table that a node works on: one row per patient, one array per column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
