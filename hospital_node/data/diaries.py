"""Patients of one hospital with diaries: a folder of files ``RECORD.csv``, or a clear refusal.

A diary is a CSV file with the column ``time`` and inputs of any of the twins below, as for a twin
(``hospital_node.twins.diary``). The name of the file is the patient's record number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hospital_node.data.table import overwrite, unnamed
from hospital_node.twins import diary
from models import twins
from models.registry import PriorModel
from models.twin import Series
from twinward.errors import DataError
from twinward.ids import OrgName, RecordNumber

Floats = NDArray[np.float64]

_TWINS = ("glucose/1", "vitals/1", "wellness/1")
"""Whose inputs a diary may hold; each study takes those of its own."""

_RECORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LARGEST_FILE = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Diaries:
    """All patients of one hospital with their histories. Stays in the hospital."""

    hospital: OrgName
    records: tuple[RecordNumber, ...]
    histories: tuple[Series, ...]
    _vectors: dict[str, Floats] = field(default_factory=dict, compare=False, repr=False)

    def vectors(self, prior: PriorModel) -> Floats:
        """What each patient says to this prior, [patients, numbers]; fitted once in a process."""
        if prior.name not in self._vectors:
            self._vectors[prior.name] = prior.vectors(self.histories)
        return self._vectors[prior.name]

    def __len__(self) -> int:
        """How many patients; a count that never leaves the hospital."""
        return len(self.records)

    def without(self, row: int) -> Diaries:
        """The same patients in the same rows, and nothing of one: overwritten in place."""
        history = self.histories[row]
        for values in history.values.values():
            overwrite(values, slice(None))
        history.minutes[:] = np.arange(history.minutes.size)
        for vectors in self._vectors.values():
            vectors[row] = 0.0
        return replace(self, records=unnamed(self.records, row))


def read(folder: Path, *, hospital: OrgName) -> Diaries:
    """All diaries of the folder, or none: the first fault refuses the whole folder.

    Raises:
        DataError: TW7136, there is none, or a file cannot be one; TW7130, TW7131, what is wrong
            inside of one; the refusal names the place in the list and no patient.
    """
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise _unreadable(folder, "there is no file `RECORD.csv`")
    specs = [twins.get(name).spec for name in _TWINS]
    spec = replace(
        specs[0], name=", ".join(_TWINS), inputs=tuple(q for each in specs for q in each.inputs)
    )
    histories = []
    for number, path in enumerate(paths, start=1):
        if not _RECORD.fullmatch(path.stem) or path.stat().st_size > _LARGEST_FILE:
            raise _unreadable(folder, f"the name or the size of file {number} cannot be a diary's")
        try:
            histories.append(diary.read(path.read_text("utf-8-sig"), spec=spec))
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(folder, f"file {number} is no readable text") from error
    records = tuple(RecordNumber(path.stem) for path in paths)
    return Diaries(hospital, records, tuple(histories))


def _unreadable(folder: Path, why: str) -> DataError:
    return DataError(
        f"these diaries cannot be used: {why}",
        code="TW7136",
        at=str(folder),
        help="give a folder with one file `RECORD.csv` per patient, in UTF-8, with `time` "
        f"and inputs of {', '.join(_TWINS)}",
    )
