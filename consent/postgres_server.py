"""A session with the server of a vault: how it is made, and what is required of the server."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Sequence
from typing import Any

from psycopg import Connection, connect
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from consent import postgres_errors as says
from consent.postgres_url import PostgresUrl

OLDEST = 140_000
"""PostgreSQL 14, as the server counts."""
OURS = 0x5457
"""First half of the numbers of our advisory locks."""

_WAIT_MS = 5_000
_SETTINGS = (
    "default_transaction_isolation = 'read committed'",
    "jit = off",
    "max_parallel_workers_per_gather = 0",
    # Whoever is gone without a word does not keep the one place for long.
    "tcp_keepalives_idle = 10",
    "tcp_keepalives_interval = 5",
    "tcp_keepalives_count = 3",
)
_ALONE_TRIES, _ALONE_SECONDS = 20, 0.25
_WHO_HOLDS = (
    "select a.application_name from pg_locks l join pg_stat_activity a using (pid)"
    " where l.locktype = 'advisory' and l.granted and l.classid = %s and l.objid = %s"
    " and l.database = (select oid from pg_database where datname = current_database())"
)


def form_of(url: PostgresUrl) -> int:
    """The form of the vault there; 0 if there is none.

    Raises:
        ConsentError: TW3160, TW3163.
    """
    with says.explained(), connect_to(url) as connection:
        found = state(connection, url)
        return 0 if found is None else int(found[0])


def version_of(url: PostgresUrl) -> str:
    """The server's version, after every promise that a vault needs of it was seen to hold.

    Raises:
        ConsentError: TW3160, TW3163 to TW3165.
    """
    with says.explained(), connect_to(url) as connection:
        require_able(connection)
        return ".".join(map(str, divmod(connection.info.server_version, 10_000)))


def connect_to(url: PostgresUrl) -> Connection:
    """A session in the vault's schema, over what its address says, that writes.

    Raises:
        psycopg.Error: As it comes; `postgres_errors.explained` says it in our words.
    """
    told = make_conninfo(
        host=url.host,
        port=url.port,
        user=url.user,
        dbname=url.database,
        application_name=f"twinward, process {os.getpid()} on {socket.gethostname()}",
        gssencmode="disable",  # it would stand in for TLS
        target_session_attrs="read-write",
        connect_timeout=5,
        tcp_user_timeout=15_000,
        keepalives_idle=10,
        client_encoding="utf8",
        **dict(url.options),
    )
    connection = connect(told, autocommit=True)
    try:
        connection.execute(SQL("set search_path to {}, pg_temp").format(Identifier(url.schema)))
        connection.execute(f"set lock_timeout = {_WAIT_MS}".encode())
        for setting in _SETTINGS:
            connection.execute(f"set {setting}".encode())
    except BaseException:
        connection.close()
        raise
    return connection


def require_able(connection: Connection) -> None:
    """The server is new enough, and what it confirms is on its disk."""
    if connection.info.server_version < OLDEST:
        raise says.too_old(found=connection.info.server_version // 10_000)
    for name in ("fsync", "full_page_writes"):
        if _setting(connection, name) != "on":
            raise says.not_durable(name)
    if _setting(connection, "synchronous_commit") in {"off", "local"}:
        connection.execute("set synchronous_commit = on")


def _setting(connection: Connection, name: str) -> str:
    (value,) = connection.execute("select current_setting(%s)", (name,)).fetchone() or ("",)
    return str(value)


def state(connection: Connection, url: PostgresUrl) -> Sequence[Any] | None:
    """Form, name and count of the vault; None if there is none."""
    there = connection.execute(
        "select 1 from pg_tables where schemaname = %s and tablename = 'vault'", (url.schema,)
    ).fetchone()
    if there is None:
        return None
    vault = SQL("select form, name, count from {}.vault").format(Identifier(url.schema))
    return connection.execute(vault).fetchone()


def require_alone(connection: Connection, url: PostgresUrl) -> None:
    """Hold the vault's one place for a daemon until the connection ends."""
    schema = "select oid::int4 from pg_namespace where nspname = %s"
    (which,) = connection.execute(schema, (url.schema,)).fetchone() or (0,)
    # Of one that was just killed, the server may not know it yet.
    for _ in range(_ALONE_TRIES):
        got = connection.execute("select pg_try_advisory_lock(%s, %s)", (OURS, which)).fetchone()
        if got is not None and got[0]:
            return
        threading.Event().wait(_ALONE_SECONDS)
    holder = connection.execute(_WHO_HOLDS, (OURS, which)).fetchone()
    raise says.not_alone(holder=None if holder is None else str(holder[0]))
