"""Recordings of one hospital's patients from a folder laid out as PTB-XL is, or a clear refusal.

``ptbxl_database.csv`` names patients, recordings and findings, ``scp_statements.csv`` says which
statement belongs to which class of findings, recordings are WFDB. A refusal names file and line and
no value of a patient.

Source: Wagner et al., PTB-XL, Scientific Data 2020 (doi:10.1038/s41597-020-0495-6).
"""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hospital_node.data import wfdb
from hospital_node.data.table import Patients
from models.cardiac_ecg.beats import HERTZ, LEADS
from models.cardiac_ecg.risk import RECORDING
from twinward.errors import DataError
from twinward.ids import OrgName, RecordNumber

Floats = NDArray[np.float64]

DATABASE, STATEMENTS = "ptbxl_database.csv", "scp_statements.csv"
_NEEDED = ("patient_id", "site", "scp_codes", "filename_lr")
_SECONDS = 10
_NORMAL, _INFARCTION = "NORM", "MI"


@dataclass(frozen=True, slots=True)
class Recordings:
    """All recordings of a folder in its order; a patient may have several. Stays here.

    Attributes:
        patients: Whose.
        sites: Where, as the file says; for splits of public data.
        samples: Millivolts, [recordings, leads, times].
        infarction: 1.0 an infarction is reported, 0.0 normal and nothing else, NaN neither.
        abnormality: 1.0 any class of findings and not normal, 0.0 normal only, NaN neither.
    """

    patients: tuple[RecordNumber, ...]
    sites: tuple[str, ...]
    samples: Floats
    infarction: Floats
    abnormality: Floats


def read(folder: Path, *, hospital: OrgName) -> Patients:
    """The patients of this folder, each with their first recording that has a label, or the first.

    One recording each: a patient is the unit of privacy, and a second of the same heart adds
    little.

    Raises:
        DataError: TW7155 to TW7157, a recording; TW7158, the tables.
    """
    found = recordings(folder)
    chosen: dict[RecordNumber, int] = {}
    for row, patient in enumerate(found.patients):
        before = chosen.setdefault(patient, row)
        if np.isnan(found.abnormality[before]) and not np.isnan(found.abnormality[row]):
            chosen[patient] = row
    rows = np.array(list(chosen.values()))
    columns = {
        RECORDING: found.samples[rows],
        "infarction": found.infarction[rows],
        "abnormality": found.abnormality[rows],
    }
    for column in columns.values():
        column.setflags(write=False)
    return Patients(hospital=hospital, records=tuple(chosen), columns=columns, repeated=0)


def recordings(folder: Path) -> Recordings:
    """Every recording of the folder.

    Raises:
        DataError: TW7155 to TW7157, a recording; TW7158, the tables.
    """
    lines = list(listed(folder))
    if not lines:
        raise _bad(folder / DATABASE, "there is no recording in it")
    patients, samples, labels = [], [], []
    for line in lines:
        patients.append(line.patient())
        labels.append(line.labels())
        samples.append(line.samples())
    return Recordings(
        patients=tuple(patients),
        sites=tuple(line.row["site"].removesuffix(".0") for line in lines),
        samples=np.stack(samples),
        infarction=np.array([infarction for infarction, _ in labels]),
        abnormality=np.array([abnormality for _, abnormality in labels]),
    )


def listed(folder: Path) -> Iterator[Line]:
    """Every line of the folder's table; what it says is looked at when it is asked.

    Raises:
        DataError: TW7158, one of the two tables.
    """
    classes = {
        row[""]: row["diagnostic_class"]
        for row in _rows(folder / STATEMENTS, needed=("", "diagnostic", "diagnostic_class"))
        if row["diagnostic"] in {"1", "1.0"}
    }
    for number, row in enumerate(_rows(folder / DATABASE, needed=_NEEDED), start=2):
        yield Line(folder, f"{folder / DATABASE}:{number}", row, classes)


@dataclass(frozen=True, slots=True)
class Line:
    """One recording as the table names it.

    Attributes:
        folder: Where the recordings are.
        at: File and line.
        row: Its cells.
        classes: Class of findings by statement.
    """

    folder: Path
    at: str
    row: Mapping[str, str]
    classes: Mapping[str, str]

    @property
    def name(self) -> str:
        """The recording's file, without its ending."""
        return self.row["filename_lr"]

    def patient(self) -> RecordNumber:
        """Whose. Raises TW7158."""
        return _patient(self.row["patient_id"], at=self.at)

    def labels(self) -> tuple[float, float]:
        """Infarction and abnormality, as in `Recordings`. Raises TW7158."""
        found = _classes(self.row["scp_codes"], self.classes, at=self.at)
        return (
            _label(found, is_ill=_INFARCTION in found),
            _label(found, is_ill=bool(found) and _NORMAL not in found),
        )

    def samples(self) -> Floats:
        """Millivolts, [leads, times]. Raises TW7155 to TW7158."""
        return _samples(self.folder, self.name, at=self.at)


def _rows(path: Path, *, needed: Sequence[str]) -> list[Mapping[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if missing := [name for name in needed if name not in (rows.fieldnames or ())]:
                raise _bad(path, f"it has no column `{missing[0]}`")
            return list(rows)
    except OSError as error:
        raise _bad(path, error.strerror or "input/output error") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise _bad(path, "it is not a table in UTF-8") from error


def _patient(cell: str, *, at: str) -> RecordNumber:
    number = cell.strip().removesuffix(".0")
    if not number.isalnum() or len(number) > 64:
        raise _bad(at, "it names no patient")
    return RecordNumber(number)


def _classes(cell: str, classes: Mapping[str, str], *, at: str) -> set[str]:
    try:
        codes = ast.literal_eval(cell)  # the archive writes a dictionary as Python does
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        codes = None
    if not isinstance(codes, dict):
        raise _bad(at, "its statements are not a table of codes")
    return {classes[code] for code in codes if code in classes}


def _samples(folder: Path, name: str, *, at: str) -> Floats:
    path = (folder / f"{name}.hea").resolve()
    if not path.is_relative_to(folder.resolve()):
        raise _bad(at, "its recording is said to be in another folder")
    record = wfdb.read(path)
    leads = [each.upper() for each in record.names]
    known = (record.hertz, record.samples.shape[1]) == (HERTZ, HERTZ * _SECONDS)
    if not known or set(record.units) != {"mV"} or sorted(leads) != sorted(LEADS):
        raise _bad(
            at, f"its recording is not of twelve leads, {_SECONDS} s at {HERTZ} Hz, in millivolts"
        )
    return record.samples[[leads.index(lead) for lead in LEADS]]


def _label(found: set[str], *, is_ill: bool) -> float:
    return 1.0 if is_ill else 0.0 if found == {_NORMAL} else np.nan


def _bad(at: Path | str, why: str) -> DataError:
    return DataError(
        f"the recordings of this folder cannot be used: {why}",
        code="TW7158",
        at=str(at),
        help=f"give a folder laid out as PTB-XL: {DATABASE}, {STATEMENTS}, records at {HERTZ} Hz",
    )
