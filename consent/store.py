"""One SQLite file, private to its owner, in which a commit means: on disk.

Used by the hospital's vault and, with other tables, by a patient's wallet. WAL with
``synchronous=FULL``: when `Store.transaction` has ended, the change survives a crash of the process
and of the machine; when the process dies inside it, nothing of it remains.
https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twinward.errors import ConsentError, IdentityError
from twinward.files import create_private


class Store:
    """A connection that threads share; one transaction at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.RLock()

    @classmethod
    def open(cls, path: Path, *, tables: str, version: int) -> Store:
        """Open or create the file, mode 0600, with these tables.

        Dying between the creation of the file and of its tables leaves an empty file, which the
        next call fills.

        Raises:
            IdentityError: TW3020, other users can read it.
            ConsentError: TW3021 made by another version, TW3022 damaged.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_private(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise IdentityError(
                "the consent database can be read by other users",
                code="TW3020",
                at=str(path),
                help=f"run `chmod 600 {path}` and find out who could have read it",
            )
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, tables=tables, version=version, at=str(path))
        except sqlite3.DatabaseError as error:
            connection.close()
            raise ConsentError(
                "the consent database is damaged",
                code="TW3022",
                at=str(path),
                help="stop; restore the file from backup, then compare it with the ledger",
            ) from error
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; durable when the block has ended. Threads wait for one another."""
        with self._lock:
            self._connection.execute("begin immediate")
            try:
                yield self._connection
            except BaseException:
                self._connection.rollback()
                raise
            self._connection.commit()

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        """The rows of a query; sees every transaction that has ended."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[object] = ()) -> Any | None:
        """The first row of a query, if any."""
        with self._lock:
            return self._connection.execute(sql, values).fetchone()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()


def _prepare(connection: sqlite3.Connection, *, tables: str, version: int, at: str) -> None:
    connection.execute("pragma busy_timeout = 5000")
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    connection.execute("pragma foreign_keys = on")
    connection.execute("pragma secure_delete = on")
    (found,) = connection.execute("pragma user_version").fetchone()
    if found == 0:
        connection.executescript(
            f"begin immediate; {tables} pragma user_version = {int(version)}; commit;"
        )
    elif found != version:
        raise ConsentError(
            f"the consent database has form {found}; this version reads form {version}",
            code="TW3021",
            at=at,
            help="run the version of Twinward that made it, or migrate it",
        )
