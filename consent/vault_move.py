"""A vault that was a file moves into the hospital's own server: every row, or none.

One transaction of the server takes all of it. Dying before its end leaves the server empty, dying
after it leaves two equal vaults, which the next call notices. Who called removes the file last.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from consent.postgres_url import PostgresUrl
from consent.store import Database
from consent.vault import Vault
from twinward.errors import ConsentError

Table = tuple[str, Iterable[tuple[Any, ...]]]
_ORDER: Final = {
    "site": "key_check", "mandates": "id", "enrolments": "code_hash", "standings": "record",
    "bindings": "study, subject", "grants": "seq", "withdrawals": "seq", "changes": "seq",
}  # fmt: skip
"""Every table, what others refer to before them, and its key."""
_COUNTED: Final = {"mandates": "id", "grants": "seq", "withdrawals": "seq", "changes": "seq"}
_AT_ONCE = 10_000


def copy(path: Path, url: PostgresUrl, *, key: bytes) -> int:
    """Copy a vault's file into the server; how many rows. Nobody else may have either open.

    Raises:
        ConsentError: TW3173, the server has other consents; TW3160 to TW3171, TW8641.
    """
    Vault.open(path, key=key).store.close()  # in its newest form, all of it in the file itself
    target = Vault.open(url, key=key, alone=True)
    with (
        closing(target.store),
        closing(sqlite3.connect(path, isolation_level=None)) as source,
        target.store.transaction() as database,
    ):
        source.execute("begin immediate")  # nobody writes there meanwhile
        if any(_some(database, table) for table in _ORDER if table != "site"):
            if _digest(_file(source)) != _digest(_server(database)):
                raise _has_others(url)
        else:
            for table, rows in _file(source):
                _fill(database, table, rows)
            for table, number in source.execute("select name, seq from sqlite_sequence"):
                database.execute(
                    "select setval(pg_get_serial_sequence(?, ?), ?)",
                    (table, _COUNTED[table], number),
                )
            if _digest(_file(source)) != _digest(_server(database)):
                raise _has_others(url)
        return sum(_count(database, table) for table in _ORDER)


def _file(source: sqlite3.Connection) -> Iterator[Table]:
    for table, order in _ORDER.items():
        yield table, source.execute(f"select * from {table} order by {order}")  # noqa: S608 - ours


def _server(database: Database) -> Iterator[Table]:
    for table, order in _ORDER.items():
        yield table, _walked(database, f"select * from {table} order by {order}")  # noqa: S608 - ours


def _walked(database: Database, sql: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a query of the server, never all of them in memory."""
    database.execute(f"declare walk no scroll cursor for {sql}")
    while some := database.execute(f"fetch {_AT_ONCE} from walk").fetchall():
        yield from some
    database.execute("close walk")


def _fill(database: Database, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    database.execute(f"delete from {table}")  # noqa: S608 - ours; the mark of the key is made anew
    some: list[tuple[Any, ...]] = []

    def write() -> None:
        if some:
            marks = ", ".join("?" * len(some[0]))
            database.executemany(f"insert into {table} values ({marks})", some)  # noqa: S608 - ours
            some.clear()

    for row in rows:
        some.append(row)
        if len(some) == _AT_ONCE:
            write()
    write()


def _some(database: Database, table: str) -> bool:
    found = database.execute(f"select 1 from {table} limit 1").fetchone()  # noqa: S608 - ours
    return found is not None


def _count(database: Database, table: str) -> int:
    (found,) = database.execute(f"select count(*) from {table}").fetchone()  # noqa: S608 - ours
    return int(found)


def _digest(tables: Iterable[Table]) -> bytes:
    """Of every row of every table."""
    state = hashlib.sha256()
    for table, rows in tables:
        state.update(table.encode())
        for row in rows:
            state.update(repr(row).encode())
    return state.digest()


def _has_others(url: PostgresUrl) -> ConsentError:
    return ConsentError(
        "the server holds other consents than this file",
        code="TW3173",
        at=str(url),
        help="nothing was changed; find out which of the two the node wrote last, and put the "
        "other away: a withdrawal in either must not be forgotten",
    )
