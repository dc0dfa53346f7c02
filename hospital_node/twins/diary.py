"""A patient's diary from a CSV file: one row per moment, a column per quantity, nothing guessed.

The first column is ``time``: ISO 8601, or minutes. The others are inputs of the twin by name, in
its units; an empty cell is nothing observed. A file that is wrong anywhere is refused as a whole,
with the line.
"""

from __future__ import annotations

import csv
import io
import math
from datetime import UTC, datetime

import numpy as np

from models.twin import Quantity, Series, TwinSpec
from twinward.errors import DataError

_MOST_ROWS = 500_000


def read(text: str, *, spec: TwinSpec) -> Series:
    """The observations of a file, in minutes (since 1970 if the times are dates).

    Raises:
        DataError: TW7130, a heading; TW7131, a cell, with its line; TW7112 comes from ``Series``.
    """
    rows = csv.reader(io.StringIO(text))
    heading = [name.strip() for name in next(rows, [])]
    inputs = {each.name: each for each in spec.inputs}
    unknown = [name for name in heading[1:] if name not in inputs]
    if heading[:1] != ["time"] or len(heading) < 2 or unknown or len(set(heading)) < len(heading):
        raise DataError(
            f"the first line of a diary must be `time` and inputs of `{spec.name}`, each once",
            code="TW7130",
            note=f"it is: {','.join(heading)[:200] or 'empty'}",
            help=f"use time and any of: {', '.join(inputs)}",
        )
    minutes, cells = [], []
    for line, row in enumerate(rows, start=2):
        if not row:
            continue
        if line > _MOST_ROWS:
            raise _bad(line, f"there are more than {_MOST_ROWS:,} lines")
        if len(row) != len(heading):
            raise _bad(line, f"it has {len(row)} cells instead of {len(heading)}")
        minutes.append(_minute(row[0].strip(), line))
        cells.append(
            [
                _value(cell.strip(), inputs[name], line)
                for name, cell in zip(heading[1:], row[1:], strict=True)
            ]
        )
        if len(minutes) > 1 and minutes[-1] <= minutes[-2]:
            raise _bad(line, "its time is not later than the line before")
    if not minutes:
        raise _bad(2, "there are no observations")
    table = np.array(cells)
    columns = {name: table[:, number].copy() for number, name in enumerate(heading[1:])}
    return Series(np.array(minutes), columns)


def write(series: Series) -> str:
    """The same as text, values to thousandths."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["time", *series.values])
    for number, minute in enumerate(series.minutes):
        cells = [column[number] for column in series.values.values()]
        rows.writerow(
            [f"{minute:.10g}", *("" if math.isnan(cell) else f"{cell:.3f}" for cell in cells)]
        )
    return out.getvalue()


def _minute(cell: str, line: int) -> float:
    try:
        value = float(cell)
    except ValueError:
        try:
            moment = datetime.fromisoformat(cell)
        except ValueError:
            raise _bad(line, "its time is neither minutes nor a date") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        value = moment.timestamp() / 60
    if not math.isfinite(value):
        raise _bad(line, "its time is not a number")
    return value


def _value(cell: str, quantity: Quantity, line: int) -> float:
    if not cell:
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        raise _bad(line, f"its {quantity.name} is not a number") from None
    if not quantity.low <= value <= quantity.high:
        raise _bad(
            line,
            f"its {quantity.name} is not between {quantity.low:g} and {quantity.high:g} "
            f"{quantity.unit}",
        )
    return value


def _bad(line: int, reason: str) -> DataError:
    # The value itself is not repeated: messages end up in logs and this one would be a patient's.
    return DataError(
        f"line {line} of the diary cannot be used: {reason}",
        code="TW7131",
        help="correct the file; nothing of it was taken",
    )
