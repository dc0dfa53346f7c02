"""Accounts of auditors: invited for some studies until a day, read-only, closed when it is over.

An invitation is a code that works once and within a week; it is stored hashed. The auditor sets a
passphrase with it, of which Argon2id is stored. Nothing of an account goes to the ledger.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from twinward.clock import Clock, iso
from twinward.errors import IdentityError, UsageError
from twinward.ids import org_name, study_id
from twinward.web import passphrase

INVITATION_SECONDS = 7 * 86_400
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # no letters that look like others
_GROUPS, _LETTERS = 6, 4

_TABLE = """create table if not exists auditors (
  name text primary key, studies text, until real not null, invited real not null,
  code blob, seal text
) without rowid"""


@dataclass(frozen=True, slots=True)
class Auditor:
    """One account.

    Attributes:
        name: As for an organisation: ``a-z 0-9 -``.
        studies: Names of the studies that it shows, or None for the whole network.
        until: End of its validity, Unix seconds.
        is_open: Whether a passphrase has been set.
    """

    name: str
    studies: tuple[str, ...] | None
    until: float
    is_open: bool


class Auditors:
    """The accounts of one explorer in one SQLite file. Thread-safe."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        """Open or create the file, which only its owner can read."""
        path.touch(mode=0o600)
        self._clock = clock
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = full")
        self._db.execute(_TABLE)

    def invite(self, name: str, *, studies: Sequence[str] | None, until: float) -> str:
        """Make or renew an account; returns the one-time code, which is kept nowhere.

        An account that was open is closed until its auditor uses the new code.

        Raises:
            UsageError: TW7040 the end lies in the past; TW1001, TW1002 names.
        """
        org_name(name)
        chosen = None if studies is None else [study_id(study) for study in studies]
        if until <= self._clock.now():
            raise UsageError(
                f"the access of `{name}` would have ended on {iso(until)}",
                code="TW7040",
                help="give a day in the future with `--until`",
            )
        code = "-".join(
            "".join(secrets.choice(_ALPHABET) for _ in range(_LETTERS)) for _ in range(_GROUPS)
        )
        with self._lock:
            self._db.execute(
                "insert or replace into auditors values (?, ?, ?, ?, ?, null)",
                (name, json.dumps(chosen), until, self._clock.now(), _hashed(code)),
            )
        return code

    def accept(self, name: str, *, code: str, chosen: str) -> Auditor:
        """Set the passphrase with the one-time code, which is used up.

        Raises:
            IdentityError: TW7041, no invitation is open under this name and code.
            UsageError: TW7042, the passphrase is too short or too long.
        """
        if not passphrase.SHORTEST <= len(chosen) <= passphrase.LONGEST:
            raise UsageError(
                f"a passphrase has {passphrase.SHORTEST} to {passphrase.LONGEST} characters",
                code="TW7042",
                help="take four or five unrelated words",
            )
        now, given = self._clock.now(), _hashed(code)
        row = self._row(name)
        if (
            row is None
            or row[4] is None
            or not hmac.compare_digest(row[4], given)
            or not 0 <= now - row[3] <= INVITATION_SECONDS
            or now >= row[2]
        ):
            raise IdentityError(
                "there is no open invitation with this name and code",
                code="TW7041",
                help="check both, or ask the coordinator for a new invitation",
            )
        seal = passphrase.sealed(chosen)
        with self._lock:
            used = self._db.execute(
                "update auditors set code = null, seal = ? where name = ? and code = ?",
                (seal, name, given),
            )
        if used.rowcount != 1:
            raise IdentityError(
                "this invitation was used a moment ago",
                code="TW7041",
                help="sign in with the passphrase, or ask the coordinator for a new invitation",
            )
        return self._required(name)

    def sign_in(self, name: str, *, given: str) -> Auditor:
        """The account, if this is its passphrase and it has not ended.

        Raises:
            IdentityError: TW7043; the same for every reason, after the same time.
        """
        row = self._row(name)
        living = row is not None and self._clock.now() < row[2]
        opened = passphrase.opens(
            given[: passphrase.LONGEST], row[5] if row is not None and living else None
        )
        if not opened:
            raise IdentityError(
                "name and passphrase do not fit, or the access has ended",
                code="TW7043",
                help="try again, or ask the coordinator for a new invitation",
            )
        return self._required(name)

    def find(self, name: str) -> Auditor | None:
        """The account of this name while it is valid, or None."""
        row = self._row(name)
        if row is None or self._clock.now() >= row[2]:
            return None
        return _auditor(row)

    def everyone(self) -> list[Auditor]:
        """All accounts, also those that ended."""
        with self._lock:
            rows = self._db.execute("select * from auditors order by name").fetchall()
        return [_auditor(row) for row in rows]

    def remove(self, name: str) -> None:
        """Close an account at once: its pages are refused from the next request on.

        Raises:
            UsageError: TW7044, there is none of this name.
        """
        with self._lock:
            gone = self._db.execute("delete from auditors where name = ?", (name,))
        if gone.rowcount != 1:
            raise UsageError(
                f"there is no auditor `{name}`",
                code="TW7044",
                help="list them with `twinward explorer auditors`",
            )

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()

    def _row(self, name: str) -> tuple[str, str, float, float, bytes | None, str | None] | None:
        with self._lock:
            row: tuple[str, str, float, float, bytes | None, str | None] | None
            row = self._db.execute("select * from auditors where name = ?", (name,)).fetchone()
        return row

    def _required(self, name: str) -> Auditor:
        row = self._row(name)
        assert row is not None  # noqa: S101 - it was there a moment ago
        return _auditor(row)


def _auditor(row: tuple[str, str, float, float, bytes | None, str | None]) -> Auditor:
    studies = json.loads(row[1])
    return Auditor(row[0], None if studies is None else tuple(studies), row[2], row[5] is not None)


def _hashed(code: str) -> bytes:
    return hashlib.sha256(code.strip().lower().encode()).digest()
