"""Questions of an auditor's own, in SQL: read only, from listed tables, within a time limit.

Three walls: the connection is read-only, an authorizer allows reading the history's own tables and
plain functions and nothing else, and a clock stops whatever takes too long.
"""

# ruff: noqa: SIM905 - a list of words reads best as words
from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ledger.history import History
from ledger.history_schema import readable
from ledger.questions.question import Cell
from twinward.errors import UsageError

SECONDS = 5.0
MOST_ROWS = 10_000
_LONGEST_QUERY = 20_000
_LONGEST_VALUE = 2**20
_MOST_BYTES = 2**25
_STEPS_BETWEEN_LOOKS = 20_000
_FUNCTIONS = frozenset(
    (
        "abs avg coalesce count date datetime first_value format group_concat hex ifnull iif instr"
        " json_array_length json_each json_extract julianday lag last_value lead length like lower"
        " ltrim max min nullif printf rank round row_number rtrim strftime substr substring sum"
        " time total trim unixepoch upper"
    ).split(" ")
)
_HARMLESS = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE})


@dataclass(frozen=True, slots=True)
class Result:
    """Columns and rows; ``cut`` says that there were more rows than are shown."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    cut: bool


def run(
    path: Path,
    query: str,
    *,
    seconds: float = SECONDS,
    most_rows: int = MOST_ROWS,
    clock: Callable[[], float] = time.monotonic,
) -> Result:
    """The rows of one SELECT over the history in this file.

    Args:
        path: The history.
        query: One statement.
        seconds: After which it is stopped.
        most_rows: After which the rest is left out.
        clock: Seconds that only grow.

    Raises:
        UsageError: TW3730 not a query that is allowed here, TW3731 it took too long.
        LedgerError: TW3702, there is no history in this file.
    """
    with closing(History.reader(path)) as history:
        db, ends = history.db, clock() + seconds
        db.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, _LONGEST_QUERY)
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
        db.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        db.set_authorizer(_authorizer(readable()))
        db.set_progress_handler(lambda: int(clock() > ends), _STEPS_BETWEEN_LOOKS)
        try:
            cursor = db.execute(query)
            rows, cut = _fetched(cursor, most_rows)
        except (sqlite3.Error, sqlite3.Warning) as error:
            if getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
                raise UsageError(
                    f"the query was stopped after {seconds:g} s",
                    code="TW3731",
                    help="ask for fewer rows, or join on indexed columns",
                ) from error
            raise UsageError(
                f"the query is not allowed here or not correct: {error}",
                code="TW3730",
                help=f"one SELECT over {', '.join(sorted(readable()))}",
            ) from error
        columns = tuple(one[0] for one in cursor.description or ())
        return Result(columns, rows, cut=cut)


def _fetched(cursor: sqlite3.Cursor, most_rows: int) -> tuple[tuple[tuple[Cell, ...], ...], bool]:
    """The first rows, as many as there may be and as memory is meant for; whether some are left."""
    rows: list[tuple[Cell, ...]] = []
    size = 0
    for row in cursor:
        size += sum(len(cell) for cell in row if isinstance(cell, str | bytes))
        if len(rows) == most_rows or size > _MOST_BYTES:
            return tuple(rows), True
        rows.append(tuple(map(_cell, row)))
    return tuple(rows), False


def _authorizer(tables: frozenset[str]) -> Callable[..., int]:
    def allow(action: int, first: str | None, second: str | None, *_: object) -> int:
        if action in _HARMLESS:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ and (first in tables or first == "json_each"):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and second in _FUNCTIONS:
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    return allow


def _cell(value: object) -> Cell:
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    assert value is None or isinstance(value, str | int | float)  # noqa: S101 - SQLite has no more
    return value
