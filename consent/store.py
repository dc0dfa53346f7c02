"""One SQLite file, private to its owner, in which a commit means: on disk.

Used by the hospital's vault and, with other tables, by a patient's wallet. What a vault asks of
any store is `DurableStore`; the other one is a database server (`consent.postgres`). WAL with
``synchronous=FULL``: when `Store.transaction` has ended, the change survives a crash of the process
and of the machine; when the process dies inside it, nothing of it remains.
https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from twinward.errors import ConsentError, IdentityError
from twinward.files import create_private

Migration = Callable[[sqlite3.Connection], None]
"""Brings a file from one form to the next, inside the transaction that it is given."""
_NO_MIGRATIONS: Mapping[int, Migration] = {}


class Found(Protocol):
    """What a statement found or did."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""


class Database(Protocol):
    """What can be done inside a transaction; ``?`` stands for each value."""

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Found:
        """Do one statement."""

    def executemany(self, sql: str, values: Sequence[Sequence[Any]], /) -> object:
        """Do one statement once for each of these values."""


class DurableStore(Protocol):
    """Tables in which a commit means durable; one transaction at a time, shared by threads."""

    def transaction(self) -> AbstractContextManager[Database]:
        """All or nothing; durable when the block has ended."""

    def held(self) -> AbstractContextManager[None]:
        """Many short reads that wait once for whoever writes."""

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        """The rows of a query; sees every transaction that has ended."""

    def row(self, sql: str, values: Sequence[object] = ()) -> Any | None:
        """The first row of a query, if any."""

    def scrub(self, *, whole: bool = False) -> bool:
        """Leave nothing of what was deleted or overwritten; False: somebody holds it, try again.

        ``whole`` says that nearly every row was overwritten, and that nobody else waits.
        """

    def close(self) -> None:
        """Let go of it."""


class Store:
    """A connection that threads share; one transaction at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.RLock()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        tables: str,
        version: int,
        migrations: Mapping[int, Migration] = _NO_MIGRATIONS,
    ) -> Store:
        """Open or create the file, mode 0600, with these tables.

        Dying between the creation of the file and of its tables leaves an empty file, which the
        next call fills. ``migrations`` lead from the form that they are named by to the next one,
        all in one transaction: dying in it leaves the old form whole. There is no way back.

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
            _prepare(
                connection, tables=tables, version=version, migrations=migrations, at=str(path)
            )
        except sqlite3.DatabaseError as error:
            connection.close()
            raise _damaged(str(path)) from error
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

    @contextmanager
    def held(self) -> Iterator[None]:
        """Many short reads that wait once for whoever writes, and not once for each of them."""
        with self._lock:
            yield

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        """The rows of a query; sees every transaction that has ended."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[object] = ()) -> Any | None:
        """The first row of a query, if any."""
        with self._lock:
            return self._connection.execute(sql, values).fetchone()

    def scrub(self, *, whole: bool = False) -> bool:
        """Bring what was written into the file itself; nothing of before stays in the log.

        Deleted rows are overwritten where they stood (``secure_delete``), ``whole`` or not.
        """
        del whole
        with self._lock:
            busy, *_ = self._connection.execute("pragma wal_checkpoint(truncate)").fetchone()
        return not busy

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()


def form_of(path: Path) -> int:
    """The form of a file; 0 if there is none, or an empty one.

    Raises:
        ConsentError: TW3022.
    """
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            return _form(database)
    except sqlite3.DatabaseError as error:
        raise _damaged(str(path)) from error


def execute_all(connection: Database, statements: str) -> None:
    """Several statements, each ended by a semicolon and a line, inside the transaction."""
    for statement in statements.split(";\n"):
        connection.execute(statement)


def _prepare(
    connection: sqlite3.Connection,
    *,
    tables: str,
    version: int,
    migrations: Mapping[int, Migration],
    at: str,
) -> None:
    connection.execute("pragma busy_timeout = 5000")
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    connection.execute("pragma secure_delete = on")
    if _form(connection) != version:
        connection.execute("begin immediate")  # whoever else opens the file waits, and looks again
        try:
            _bring_to(connection, version, tables=tables, migrations=migrations, at=at)
        except BaseException:
            connection.rollback()
            raise
        connection.commit()
        # What the old form said in the clear is not left in the log of changes either.
        connection.execute("pragma wal_checkpoint(truncate)")
    connection.execute("pragma foreign_keys = on")


def _bring_to(
    connection: sqlite3.Connection,
    version: int,
    *,
    tables: str,
    migrations: Mapping[int, Migration],
    at: str,
) -> None:
    found = _form(connection)
    if found == 0:
        execute_all(connection, tables)
        found = version
    while found < version and found in migrations:
        migrations[found](connection)
        found += 1
    if found != version:
        raise ConsentError(
            f"the consent database has form {found}; this version reads form {version}",
            code="TW3021",
            at=at,
            help="run the version of Twinward that made it; nothing was changed",
        )
    connection.execute(f"pragma user_version = {int(version)}")


def _form(connection: sqlite3.Connection) -> int:
    (found,) = connection.execute("pragma user_version").fetchone()
    return int(found)


def _damaged(at: str) -> ConsentError:
    return ConsentError(
        "the consent database is damaged",
        code="TW3022",
        at=at,
        help="stop; restore the file from backup, then compare it with the ledger",
    )
