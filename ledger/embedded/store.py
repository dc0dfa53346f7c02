"""Everything the embedded node keeps, in one SQLite file: one durable transaction per block.

Trie nodes and headers as py-evm writes them (`kv`), and rows for what clients ask (`blocks`,
`transactions`, `logs`). Dying at any moment leaves either the whole block or nothing of it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eth.db.backends.base import BaseAtomicDB

from ledger.embedded.blocks import BlockRows
from twinward.errors import LedgerError

_SCHEMA = 1
_TABLES = """
create table kv (key blob primary key, value blob not null) without rowid;
create table blocks (
  number integer primary key, hash blob not null unique, header blob not null,
  size integer not null);
create table transactions (
  hash blob primary key, block integer not null, position integer not null,
  sender blob not null, raw blob not null, status integer not null,
  gas_used integer not null, cumulative integer not null, contract blob, bloom blob not null
) without rowid;
create unique index transactions_by_block on transactions (block, position);
create table logs (
  block integer not null, position integer not null, tx blob not null,
  tx_position integer not null, address blob not null,
  topic0 blob, topic1 blob, topic2 blob, topic3 blob, data blob not null,
  primary key (block, position)) without rowid;
create index logs_by_topic0 on logs (address, topic0, block);
create index logs_by_topic2 on logs (topic2) where topic2 is not null;
create index logs_by_topic3 on logs (topic3) where topic3 is not null;
create table about (name text primary key, value blob not null) without rowid;
"""


class Store(BaseAtomicDB):  # type: ignore[misc] # py-evm is untyped
    """A key-value store for py-evm, and the rows beside it. Not safe for several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._in_block = False
        self._lock = _only_writer(path)
        try:
            self._db = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=1.0
            )
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = full")
            self._db.execute("pragma cache_size = -65536")
            self._create()
        except sqlite3.OperationalError as error:
            raise _cannot_open(path, error) from error
        except sqlite3.DatabaseError as error:
            raise damaged(path, error) from error

    def _create(self) -> None:
        self._db.execute("begin immediate")
        (version,) = self._db.execute("pragma user_version").fetchone()
        if version == 0:
            for statement in _TABLES.split(";\n"):
                self._db.execute(statement)
            self._db.execute(f"pragma user_version = {_SCHEMA}")
        self._db.execute("commit")
        if version not in {0, _SCHEMA}:
            raise LedgerError(
                f"the ledger's database has format {version}, this program reads {_SCHEMA}",
                code="TW5014",
                at=str(self._path),
                help="run the version of Twinward that wrote it",
            )

    # What py-evm needs

    def __getitem__(self, key: bytes) -> bytes:
        row = self._db.execute("select value from kv where key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return bytes(row[0])

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._require_block()
        self._db.execute("insert or replace into kv values (?, ?)", (key, value))

    def __delitem__(self, key: bytes) -> None:
        self._require_block()
        if self._db.execute("delete from kv where key = ?", (key,)).rowcount == 0:
            raise KeyError(key)

    def _exists(self, key: bytes) -> bool:
        return self._db.execute("select 1 from kv where key = ?", (key,)).fetchone() is not None

    @contextmanager
    def atomic_batch(self) -> Iterator[Store]:
        """py-evm's smaller batches; the block around them is what becomes durable."""
        self._require_block()
        yield self

    # One durable transaction

    @contextmanager
    def block(self) -> Iterator[None]:
        """All writes inside become durable together, or none of them happens."""
        self._db.execute("begin immediate")
        self._in_block = True
        try:
            yield
            self._db.execute("commit")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("rollback")
            raise
        finally:
            self._in_block = False

    def _require_block(self) -> None:
        if not self._in_block:
            raise RuntimeError("a write outside of a block")

    # Rows

    def insert(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add rows to one of the tables above, inside of a block."""
        self._require_block()
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self._db.executemany(f"insert into {table} values ({marks})", rows)  # noqa: S608 - our own table names

    def insert_block(self, rows: BlockRows) -> None:
        """Add what clients ask about a block, inside of a block."""
        self.insert("blocks", [rows.block])
        self.insert("transactions", rows.transactions)
        self.insert("logs", rows.logs)

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        return self._db.execute(query, parameters).fetchall()

    def row(self, query: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row of a query, or None."""
        found: tuple[Any, ...] | None = self._db.execute(query, parameters).fetchone()
        return found

    def close(self) -> None:
        """Release the file."""
        self._db.close()
        os.close(self._lock)


def _only_writer(path: Path) -> int:
    """A lock that this process holds while it lives: a second node on the folder is refused.

    Not SQLite's exclusive mode, which would keep a backup or a check of a running node out too.
    """
    try:
        lock = os.open(path.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
    except OSError as error:
        raise _cannot_open(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise _cannot_open(path, "another node is running on it") from error
    return lock


def _cannot_open(path: Path, why: object) -> LedgerError:
    return LedgerError(
        f"the ledger's database cannot be opened ({why})",
        code="TW5012",
        at=str(path),
        help="stop the other node on this folder, or check the folder's permissions",
    )


def damaged(path: Path, why: object) -> LedgerError:
    """The refusal of a database that SQLite cannot read."""
    return LedgerError(
        f"the ledger's database is damaged ({why})",
        code="TW5013",
        at=str(path),
        help="restore the folder from backup, or copy it from a witness",
    )
