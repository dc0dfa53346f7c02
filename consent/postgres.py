"""The vault's tables in a PostgreSQL server of the hospital's own; a commit means: on its disk.

What a file promises holds here too: each transaction waits for whoever writes, is whole or not at
all, and when it has ended the server has it on disk (``synchronous_commit``, refused without
``fsync``). Every transaction counts one up. So a server that forgot what it had confirmed, put back
from a backup or replaced by a standby that lagged behind, is noticed and refused.

A lost connection is made anew at the next question. What was under way then is refused: it was
not taken, or nobody can say that it was; the same again changes nothing twice.

https://www.postgresql.org/docs/current/wal-reliability.html
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Self

from psycopg import Connection, Cursor, Error
from psycopg.sql import SQL, Identifier

from consent import postgres_errors as says
from consent import postgres_server
from consent.postgres_url import PostgresUrl
from consent.store import Database, Found, execute_all

Migration = Callable[[Database], None]
_NONE: Mapping[int, Migration] = MappingProxyType({})

_OF_A_FILE = (
    (re.compile(r"\binteger primary key autoincrement\b"), "bigserial primary key"),
    (re.compile(r"\binteger\b"), "bigint"),
    (re.compile(r"\bblob\b"), "bytea"),
    (re.compile(r"\) strict(, without rowid)?"), ")"),
)

_MAKE_STATE = (
    "create table vault (form bigint not null, name bytea not null, count bigint not null)"
)
_COUNT_UP = "update vault set count = count + 1 returning form, name, count"
_IS_SCHEMA = "select 1 from pg_namespace where nspname = %s"
_TABLES_OF = "select tablename from pg_tables where schemaname = %s order by tablename"
_ANYTHING_IN = (
    "select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = %s"
    " limit 1"
)


@lru_cache(maxsize=256)
def translated(sql: str) -> str:
    """A statement of ours as PostgreSQL and its driver take it."""
    if sql.lstrip().startswith(("create", "alter")):
        for pattern, instead in _OF_A_FILE:
            sql = pattern.sub(instead, sql)
    return sql.replace("%", "%%").replace("?", "%s")


class PostgresStore:
    """A connection that threads share; one transaction at a time, of all processes together."""

    def __init__(self, url: PostgresUrl, *, version: int, alone: bool) -> None:
        self._url = url
        self._version = version
        self._alone = alone
        self._lock = threading.RLock()
        self._connection: Connection | None = None
        self._inside = False
        self._name: bytes | None = None
        self._count = -1

    @classmethod
    def open(
        cls,
        url: PostgresUrl,
        *,
        tables: str,
        version: int,
        migrations: Mapping[int, Migration] = _NONE,
        alone: bool = False,
    ) -> Self:
        """Open the tables of a vault, or make them, or bring older ones to this form.

        With ``alone`` a second process that says so too is refused, whatever machine it is on.

        Raises:
            ConsentError: TW3021 made by another version; TW3160 no answer, TW3163 not let in,
                TW3164 too old, TW3165 not durable, TW3166 rights, TW3167 not alone, TW3169
                somebody else's tables, TW3170 held up, TW3171 cannot be written.
        """
        store = cls(url, version=version, alone=alone)
        try:
            store._connected(making=(tables, migrations))
        except BaseException:
            store.close()
            raise
        return store

    @contextmanager
    def transaction(self) -> Iterator[Database]:
        """All or nothing; durable when the block has ended. All who write wait for one another."""
        with self._lock:
            connection, count = self._begun()
            self._inside = True
            try:
                yield _Inside(connection)
            except BaseException:
                with suppress(Error):  # a lost connection has rolled it back
                    connection.execute("rollback")
                raise
            finally:
                self._inside = False
            with says.explained():
                connection.execute("commit")
            self._count = count

    @contextmanager
    def held(self) -> Iterator[None]:
        """Many short reads that wait once for whoever writes, and not once for each of them."""
        with self._lock:
            yield

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        """The rows of a query; sees every transaction that has ended.

        Raises:
            ConsentError: TW3160 and the others of `open`.
        """
        with self._lock:
            return self._asked(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[object] = ()) -> Any | None:
        """The first row of a query, if any.

        Raises:
            ConsentError: TW3160 and the others of `open`.
        """
        with self._lock:
            return self._asked(sql, values).fetchone()

    def scrub(self, *, whole: bool = False) -> bool:
        """Let the server forget what was deleted or overwritten, as far as it can be told to.

        The space of dead rows is given back; with ``whole`` each table is written anew, into new
        files. Its log and its backups keep what they have (docs/storage.md).
        """
        how = SQL("vacuum (full, analyze)" if whole else "vacuum")
        with self._lock, says.explained():
            connection = self._connected()
            found = connection.execute(_TABLES_OF, (self._url.schema,)).fetchall()
            for (table,) in found:
                connection.execute(how + SQL(" {}").format(Identifier(table)))
        return True

    def close(self) -> None:
        """Let go of the server."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _asked(self, sql: str, values: Sequence[object]) -> Cursor[Any]:
        connection = self._connected()
        with says.explained():
            try:
                return connection.execute(translated(sql), values)
            except Error:
                if self._inside or not connection.closed:
                    raise
            # The server was started again since: a question can be asked once more.
        connection = self._connected()
        with says.explained():
            return connection.execute(translated(sql), values)

    def _begun(self) -> tuple[Connection, int]:
        """A transaction that nobody else writes beside, and its number."""
        for _ in range(2):
            connection = self._connected()
            with says.explained():
                try:
                    connection.execute("begin")
                    row = connection.execute(_COUNT_UP).fetchone()
                except Error:
                    if connection.closed:
                        continue  # nothing was begun: make a new connection
                    connection.execute("rollback")
                    raise
            try:
                form, name, count = row or (0, b"", 0)
                self._require_same((form, name, count - 1))
            except BaseException:
                connection.execute("rollback")
                raise
            return connection, int(count)
        raise says.away()

    def _connected(
        self, *, making: tuple[str, Mapping[int, Migration]] | None = None
    ) -> Connection:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        if self._inside:
            raise says.away()
        with says.explained():
            connection = postgres_server.connect_to(self._url)
            try:
                postgres_server.require_able(connection)
                if making is not None:
                    self._prepare(connection, tables=making[0], migrations=making[1])
                self._require_same(postgres_server.state(connection, self._url))
                if self._alone:
                    postgres_server.require_alone(connection, self._url)
            except BaseException:
                connection.close()
                raise
        self._connection = connection
        return connection

    def _require_same(self, row: Sequence[Any] | None) -> None:
        """These are the tables that were opened, with all that was ever confirmed in them."""
        form, name, count = row or (0, b"", -1)
        if count < max(self._count, 0) or (self._name is not None and bytes(name) != self._name):
            raise says.forgot()
        if form != self._version:
            raise says.another_form(found=int(form), wanted=self._version)
        self._name, self._count = bytes(name), int(count)

    def _prepare(
        self, connection: Connection, *, tables: str, migrations: Mapping[int, Migration]
    ) -> None:
        """Make the tables, or bring older ones to this form: in one transaction."""
        with connection.transaction():
            connection.execute("select pg_advisory_xact_lock(%s, 0)", (postgres_server.OURS,))
            database, state = _Inside(connection), postgres_server.state(connection, self._url)
            found = self._version if state is None else int(state[0])
            if state is None:
                schema = Identifier(self._url.schema)
                if connection.execute(_ANYTHING_IN, (self._url.schema,)).fetchone():
                    raise says.others_tables(self._url.schema)
                if not connection.execute(_IS_SCHEMA, (self._url.schema,)).fetchone():
                    connection.execute(SQL("create schema {}").format(schema))
                execute_all(database, tables)
                connection.execute(_MAKE_STATE)
                connection.execute("insert into vault values (%s, %s, 0)", (found, os.urandom(16)))
            while found < self._version and found in migrations:
                migrations[found](database)
                found += 1
            if found != self._version:
                raise says.another_form(found=found, wanted=self._version)
            connection.execute("update vault set form = %s", (found,))


class _Inside:
    """The transaction under way, with `?` for each value."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Found:
        with says.explained():
            return self._connection.execute(translated(sql), values)

    def executemany(self, sql: str, values: Sequence[Sequence[Any]], /) -> object:
        with says.explained(), self._connection.cursor() as cursor:
            cursor.executemany(translated(sql), values)
        return None
