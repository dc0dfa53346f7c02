"""Patients of one hospital from a file in the UCI heart-disease format, or a clear refusal.

Fourteen comma-separated columns per line, one patient per line, ``?`` where nothing is recorded;
the archive also writes 0 for a pressure or a cholesterol that was not measured. A refusal names
file, line, column and the allowed range, never the value: error texts end up in tickets.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np

from hospital_node.data.contract import ALL, ZERO_IS_MISSING, is_in_range, is_whole
from hospital_node.data.table import Patients
from models.cardiac_risk.inputs import LABEL, Column
from twinward.errors import DataError
from twinward.ids import OrgName, RecordNumber, org_name

_MISSING = "?"
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)")
_FILE = re.compile(r"processed\.([a-z0-9-]+)\.data")
_LARGEST_FILE = 64 * 2**20


def read(path: Path, *, hospital: OrgName, max_patients: int | None = None) -> Patients:
    """All patients of the file, or none: the first fault refuses the whole file.

    Raises:
        DataError: TW8001 unreadable, TW8002 no patient in it, TW8003 wrong number of columns,
            TW8004 not a number, TW8005 out of the column's range, TW8006 no label,
            TW8007 more patients than the plan's public cap.
    """
    lines = _lines(path)
    if max_patients is not None and len(lines) > max_patients:
        raise DataError(
            f"the file has more patients than the {max_patients} that the plan allows",
            code="TW8007",
            at=str(path),
            help="agree on a plan with a larger public cap, or import a part of the patients",
        )
    table = np.array([_patient(text, at=f"{path}:{number}") for number, text in lines])
    table.setflags(write=False)
    return Patients(
        hospital=hospital,
        records=tuple(RecordNumber(f"{hospital}-{number:04d}") for number, _ in lines),
        columns={column.name: table[:, index] for index, column in enumerate(ALL)},
        repeated=sum(count - 1 for count in Counter(text for _, text in lines).values()),
    )


def find(folder: Path) -> dict[OrgName, Path]:
    """The files ``processed.HOSPITAL.data`` of a folder, or of its ``heart_disease``, by hospital.

    Raises:
        DataError: TW8008, there is none.
    """
    for place in (folder, folder / "heart_disease"):
        found = {
            org_name(match[1]): path
            for path in sorted(place.glob("processed.*.data"))
            if (match := _FILE.fullmatch(path.name))
        }
        if found:
            return found
    raise DataError(
        "there are no files `processed.HOSPITAL.data` here",
        code="TW8008",
        at=str(folder),
        help="point TWINWARD_DATA_DIR at the folder with the UCI files, or unset it to use "
        "virtual hospitals",
    )


def _lines(path: Path) -> list[tuple[int, str]]:
    """Line numbers and texts of all lines that are not blank."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise _unreadable(path, f"it is larger than {_LARGEST_FILE // 2**20} MiB")
        text = path.read_text(encoding="ascii")
    except OSError as error:
        raise _unreadable(path, error.strerror or "input/output error") from error
    except UnicodeDecodeError as error:
        raise _unreadable(path, "it is not plain ASCII text") from error
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise DataError(
            "the file holds no patient",
            code="TW8002",
            at=str(path),
            help="export the patients again; one line each, fourteen columns",
        )
    return lines


def _patient(text: str, *, at: str) -> list[float]:
    cells = [cell.strip() for cell in text.split(",")]
    if len(cells) != len(ALL):
        raise DataError(
            f"the line has {len(cells)} columns instead of {len(ALL)}",
            code="TW8003",
            at=at,
            help=f"write {', '.join(column.name for column in ALL)}; `?` where unknown",
        )
    return [_value(cell, column, at=at) for cell, column in zip(cells, ALL, strict=True)]


def _value(cell: str, column: Column, *, at: str) -> float:
    place = f"{at}: column `{column.name}`"
    if cell == _MISSING:
        if column is LABEL:
            raise DataError(
                "the patient has no label",
                code="TW8006",
                at=place,
                help="leave out patients whose diagnosis is unknown",
            )
        return np.nan
    if not _NUMBER.fullmatch(cell):
        raise DataError(
            "the cell holds no decimal number",
            code="TW8004",
            at=place,
            help="write a number with a decimal point, or `?` where unknown",
        )
    value = float(cell)
    if value == 0.0 and column.name in ZERO_IS_MISSING:
        return np.nan
    if not (is_in_range(value, column) and is_whole(value, column)):
        whole = "a whole number " if column.whole else ""
        raise DataError(
            f"the value is not {whole}from {column.low:g} to {column.high:g}",
            code="TW8005",
            at=place,
            note=column.meaning,
            help="correct the value and its unit at the source, or write `?` where unknown",
        )
    return value


def _unreadable(path: Path, why: str) -> DataError:
    return DataError(
        f"the file cannot be read: {why}",
        code="TW8001",
        at=str(path),
        help="check path and permissions; the node needs read access only",
    )
