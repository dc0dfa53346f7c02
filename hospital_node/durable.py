"""One SQLite file of this node: private, durable, and refusing rather than forgetting.

When a call or a transaction has ended, its change is on disk (WAL, ``synchronous=FULL``); when the
process dies inside it, nothing of it remains. https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from twinward.errors import BudgetError
from twinward.files import create_private


class DurableFile:
    """A connection that threads share; one statement or transaction at a time.

    Args:
        path: The file; made, readable by its owner only, if it is not there.
        what: What the file is, in the words of a refusal.
        versions: Statements that bring the file from version n to n + 1, for n = 0, 1, ...; the
            version of a file counts how many of them were applied.
        alone: Keep every other process off the file, for whoever caches what is in it.

    Raises:
        BudgetError: TW4106, the file cannot be used; TW4107, a newer release wrote it.
    """

    def __init__(
        self, path: Path, *, what: str, versions: Sequence[Sequence[str]], alone: bool = False
    ) -> None:
        self.path = path
        self._what = what
        self.is_open = True
        self._lock = threading.Lock()
        with self._refusing():
            create_private(path)
            self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self._prepare(versions, alone=alone)
            except BaseException:
                self.connection.close()
                raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, alone on the file from the first read on."""
        with self._refusing():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise

    def change(self, sql: str, values: Sequence[object] = ()) -> int:
        """One statement, on disk when this returns; answers how many rows it touched.

        Raises:
            sqlite3.IntegrityError: It contradicts what is there; nothing was changed.
        """
        with self._refusing():
            return self.connection.execute(sql, values).rowcount

    def rows(self, sql: str, values: Any = ()) -> list[Any]:
        """The rows of a query."""
        with self._refusing():
            return self.connection.execute(sql, values).fetchall()

    def row(self, sql: str, values: Any = ()) -> Any | None:
        """The first row of a query, if any."""
        with self._refusing():
            return self.connection.execute(sql, values).fetchone()

    def copy_to(self, path: Path) -> None:
        """Copy what is in the file now to a new one, for a backup while nobody else may read it."""
        with self._refusing():
            create_private(path)
            with closing(sqlite3.connect(path)) as copy:
                self.connection.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")

    def close(self) -> None:
        """Close the file; everything in it is durable already."""
        with self._lock:
            self.is_open = False
            self.connection.close()

    def _prepare(self, versions: Sequence[Sequence[str]], *, alone: bool) -> None:
        db = self.connection
        if alone:
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute("PRAGMA busy_timeout = 1000")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("BEGIN IMMEDIATE")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        for statements in versions[version:]:
            for statement in statements:
                db.execute(statement)
        if version < len(versions):
            db.execute(f"PRAGMA user_version = {len(versions)}")
        db.execute("COMMIT")
        if version > len(versions):
            raise BudgetError(
                f"the {self._what} has version {version}; this program knows up to {len(versions)}",
                code="TW4107",
                at=str(self.path),
                help="install the newer release that wrote it; never start with an empty file",
            )

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """One caller at a time; trouble with the file becomes a refusal, never a lost charge."""
        try:
            with self._lock:
                yield
        except sqlite3.IntegrityError:
            raise
        except (OSError, sqlite3.Error) as error:
            raise BudgetError(
                f"the {self._what} cannot be used: {error}",
                code="TW4106",
                at=str(self.path),
                help="check disk space and permissions; if it is damaged, bring back the latest "
                "copy, never start with an empty file",
            ) from error
