"""What the server of a vault says, as refusals with a next step; no value is ever named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import Error, OperationalError, errors

from twinward.errors import EXIT_UNREACHABLE, ConsentError


class VaultAway(ConsentError):
    """The server of the vault does not answer; the same call may be repeated safely."""

    exit_status = EXIT_UNREACHABLE
    default_code = "TW3160"


_WHERE = "node.toml: vault_server"
"""Not the address: what the desk refuses is told to patients too."""
_CANNOT_WRITE = (
    errors.ReadOnlySqlTransaction,
    errors.DiskFull,
    errors.OutOfMemory,
    errors.ConfigurationLimitExceeded,
    errors.IoError,
)
_NOT_LET_IN = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "is not permitted to log in",
    "permission denied for database",
    "certificate",
    "does not support SSL",
)
"""Beginnings of reasons that libpq gives as text only, before there is a session."""


@contextmanager
def explained() -> Iterator[None]:
    """Turn what the driver raises into refusals of ours; what is our own fault stays as it is."""
    try:
        yield
    except errors.InsufficientPrivilege as error:
        raise ConsentError(
            "the server of the consent database does not give this node the rights it needs",
            code="TW3166",
            at=_WHERE,
            note=_first_line(error),
            help="let the role own its schema: `create schema twinward authorization ROLE`",
        ) from error
    except errors.LockNotAvailable as error:
        raise ConsentError(
            "another process is writing to the consent database and does not end",
            code="TW3170",
            at=_WHERE,
            help="nothing was changed; try again, and look at `pg_stat_activity` if it stays",
        ) from error
    except _CANNOT_WRITE as error:
        raise ConsentError(
            "the server of the consent database cannot write",
            code="TW3171",
            at=_WHERE,
            note=_first_line(error),
            help="nothing was changed; give it disk space, or name the server that is not a "
            "standby",
        ) from error
    except OperationalError as error:
        raise _connecting(error) from error
    except errors.UndefinedTable as error:
        raise forgot() from error


def _connecting(error: Error) -> ConsentError:
    text = str(error)
    if error.sqlstate is None and any(reason in text for reason in _NOT_LET_IN):
        return ConsentError(
            "the server of the consent database does not let this node in, or is not trusted",
            code="TW3163",
            at=_WHERE,
            note=_first_line(error),
            help="check user, database, passfile (mode 0600) and certificates in the address, and "
            "the server's `pg_hba.conf`",
        )
    if error.sqlstate is None and "read-only" in text:
        return ConsentError(
            "the server of the consent database cannot write",
            code="TW3171",
            at=_WHERE,
            note=_first_line(error),
            help="name the server that is not a standby",
        )
    return away()


def _first_line(error: Error) -> str:
    """The server's own reason, without where it stands."""
    said = str(error.diag.message_primary or str(error).strip().splitlines()[-1])
    return said.rpartition(" failed: ")[2][:200]


def away() -> VaultAway:
    """No answer, or a lost connection."""
    return VaultAway(
        "the server of the consent database does not answer",
        code="TW3160",
        at=_WHERE,
        note="what was asked was not taken, or not confirmed; nobody's data is used meanwhile",
        help="bring the server back and give the same again: it is never taken twice",
    )


def too_old(*, found: int) -> ConsentError:
    """A server that nobody mends any more."""
    return ConsentError(
        f"the server of the consent database is PostgreSQL {found}",
        code="TW3164",
        at=_WHERE,
        help="use PostgreSQL 14 or newer",
    )


def not_durable(setting: str) -> ConsentError:
    """A server that would forget withdrawals that it had confirmed."""
    return ConsentError(
        f"the server of the consent database runs with `{setting}` off",
        code="TW3165",
        at=_WHERE,
        note="a withdrawal that it confirmed could be gone after a power cut",
        help=f"set `{setting} = on` in its `postgresql.conf`",
    )


def not_alone(*, holder: str | None) -> ConsentError:
    """Two daemons on one vault."""
    return ConsentError(
        "another node has this consent database open",
        code="TW3167",
        at=_WHERE,
        note=holder,
        help="stop that one; two nodes on one vault would each know half of the withdrawals",
    )


def forgot() -> ConsentError:
    """Another vault, or an older state of this one, in place of what was open."""
    return ConsentError(
        "the server of the consent database does not have what it had confirmed",
        code="TW3168",
        at=_WHERE,
        note="it was put back from a backup, or a standby that lagged behind took its place",
        help="stop the node; bring the newest state of the server back, compare it with the "
        "ledger, then start the node again",
    )


def others_tables(schema: str) -> ConsentError:
    """A schema of our name that is not ours."""
    return ConsentError(
        f"the schema `{schema}` there holds tables that are not of a consent database",
        code="TW3169",
        at=_WHERE,
        help="give the node a database of its own; nothing was changed",
    )


def another_form(*, found: int, wanted: int) -> ConsentError:
    """Tables of another release."""
    return ConsentError(
        f"the consent database has form {found}; this version reads form {wanted}",
        code="TW3021",
        at=_WHERE,
        help="run the version of Twinward that made it; nothing was changed",
    )
