"""Where a hospital's own PostgreSQL server keeps its consent vault; the driver is not loaded here.

The address carries no password: that stands in a file of its own (libpq's passfile, mode 0600) or
comes with a client certificate. A server on another machine is only ever talked to over TLS, under
the name on its certificate (``sslmode=verify-full``).
https://www.postgresql.org/docs/current/libpq-connect.html
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from twinward.errors import UsageError

SCHEMA: Final = "twinward"
"""The schema of the vault's tables; one vault in a database."""

_OPTIONS = frozenset({"host", "passfile", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslmode"})
_VERIFIED = "verify-full"


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """A database of a server.

    Attributes:
        host: Name or address; a folder, beginning with ``/``, in which the server's socket lies.
        port: Its port.
        user: The role that owns the vault's tables.
        database: Its name.
        options: Further settings of libpq: where certificates and the passfile lie.
        schema: Of the vault's tables.
    """

    host: str
    port: int
    user: str
    database: str
    options: tuple[tuple[str, str], ...] = ()
    schema: str = SCHEMA

    def __str__(self) -> str:
        """For people and errors; there is no secret in it."""
        return f"postgresql://{self.user}@{self.host}:{self.port}/{self.database}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``postgresql://user@host:port/database?sslrootcert=...``.

        Raises:
            UsageError: TW3161, the driver is not installed; TW3162, malformed, with a password in
                it, or not protected on its way.
        """
        if find_spec("psycopg") is None:
            raise UsageError(
                "the driver for PostgreSQL is not installed",
                code="TW3161",
                help="pip install 'twinward[postgresql]'",
            )
        try:
            parts = urlsplit(text)
            port = parts.port or 5432
            options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        except ValueError as error:
            raise _wrong("it cannot be read") from error
        if parts.password is not None or "password" in options:
            raise _wrong("a password stands in it, where backups and logs would find it")
        if unknown := sorted(options.keys() - _OPTIONS):
            raise _wrong(f"it has settings that are not taken here: {', '.join(unknown)}")
        host = options.pop("host", "") or unquote(parts.hostname or "")
        named = (parts.username or "", host, parts.path.removeprefix("/"))
        if parts.scheme != "postgresql" or not all(named) or "," in host:
            raise _wrong("one server, one user and one database have to stand in it")
        mode = options.setdefault("sslmode", "prefer" if is_local(host) else _VERIFIED)
        if mode != _VERIFIED and not is_local(host):
            raise _wrong(f"`sslmode={mode}` would let somebody between here and the server read it")
        return cls(host, port, unquote(named[0]), unquote(named[2]), tuple(options.items()))


def is_local(host: str) -> bool:
    """Whether nothing that is sent there leaves this machine."""
    if host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _wrong(note: str) -> UsageError:
    return UsageError(
        "this is not the address of a PostgreSQL server for the consent database",
        code="TW3162",
        note=note,
        help="write `postgresql://user@host/database?sslrootcert=/path/ca.pem`; the password "
        "belongs in a file of mode 0600 that `passfile=` names",
    )
