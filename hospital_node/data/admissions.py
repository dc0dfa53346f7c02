"""A table of admissions as CSV: a line for each, when somebody came and when they left.

Headed ``arrived,left``, it says nothing about who; headed ``record,arrived,left``, the record
number says which admissions are of one patient, whose consent is asked and whose privacy is kept.
``left`` is empty while in. A refusal names the line and no value: messages end up in logs.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from hospital_node.data.diaries import Diaries
from hospital_node.record import is_record_number
from models.census.stays import observed
from models.twin import Floats
from twinward.errors import DataError
from twinward.ids import OrgName, RecordNumber

COLUMNS = ("arrived", "left")
WITH_RECORDS = ("record", *COLUMNS)
_MOST_LINES = 500_000
_LARGEST_FILE = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Admissions:
    """Every admission of a file, by arrival. Stays at the hospital.

    Attributes:
        came: Minutes since 1970, [n].
        left: Likewise; infinite while in.
        records: Whose each is; empty if the file does not say.
    """

    came: Floats
    left: Floats
    records: tuple[RecordNumber, ...]


def heading(text: str) -> tuple[str, ...]:
    """The names in the first line of a table."""
    return tuple(cell.strip() for cell in text.split("\n", 1)[0].split(","))


def is_table(path: Path) -> bool:
    """Whether this file is a table of admissions with record numbers, by its first line."""
    try:
        with path.open("rb") as file:
            first = file.readline(200)
    except OSError:
        return False
    return heading(first.decode("utf-8-sig", errors="replace")) == WITH_RECORDS


def parse(text: str) -> Admissions:
    """Every admission of a text with one of the two headings.

    Raises:
        DataError: TW7146, a line is wrong; nothing was taken.
    """
    named = heading(text) == WITH_RECORDS
    wanted = WITH_RECORDS if named else COLUMNS
    came, left, records = [], [], []
    for line, row in enumerate(csv.reader(io.StringIO(text)), start=1):
        if line == 1 or not row:
            continue
        if line > _MOST_LINES:
            raise _bad(line, f"there are more than {_MOST_LINES:,} lines")
        if len(row) != len(wanted):
            raise _bad(line, f"it has {len(row)} cells instead of {len(wanted)}")
        if named:
            if not is_record_number(row[0].strip()):
                raise _bad(line, "it names no patient")
            records.append(RecordNumber(row[0].strip()))
        arrived, gone = row[-2:]
        came.append(_moment(arrived, line))
        left.append(_moment(gone, line) if gone.strip() else math.inf)
        if left[-1] < came[-1]:
            raise _bad(line, "somebody left before they came")
    if not came:
        raise _bad(2, "there are no admissions")
    order = np.argsort(came, kind="stable")
    whose = tuple(records[place] for place in order) if named else ()
    return Admissions(np.array(came)[order], np.array(left)[order], whose)


def read(path: Path, *, hospital: OrgName) -> Diaries:
    """The patients of a table with record numbers, each with their own admissions as a history.

    Raises:
        DataError: TW7136, it cannot be read; TW7146, a line is wrong; nothing was taken.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise _unreadable(path, f"it is larger than {_LARGEST_FILE // 2**20} MiB")
        found = parse(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, "it is no readable text in UTF-8") from error
    rows: dict[RecordNumber, list[int]] = {}
    for row, record in enumerate(found.records):
        rows.setdefault(record, []).append(row)
    return Diaries(
        hospital,
        tuple(rows),
        tuple(observed(found.came[own], found.left[own]) for own in rows.values()),
    )


def _moment(cell: str, line: int) -> float:
    try:
        moment = datetime.fromisoformat(cell.strip())
    except ValueError:
        raise _bad(line, "a time is no date of the form 2026-11-21T08:30") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() / 60


def _unreadable(path: Path, why: str) -> DataError:
    return DataError(
        f"this table of admissions cannot be used: {why}",
        code="TW7136",
        at=str(path),
        help=f"give a CSV file headed `{','.join(WITH_RECORDS)}`, one line per admission",
    )


def _bad(line: int, reason: str) -> DataError:
    # The cell itself is not repeated: it is a patient's, and messages end up in logs.
    return DataError(
        f"line {line} of the admissions cannot be used: {reason}",
        code="TW7146",
        help="correct the file; nothing of it was taken",
    )
