"""Accounts of auditors: invited for some studies until a day, read-only, closed when it is over.

An invitation is a code that works once and within a week; it is stored hashed. The auditor sets a
passphrase with it, of which Argon2id is stored, or, if the invitation names an OpenID provider,
binds who they are there. An account has one of the two ways, never both, and only an invitation
makes one. Nothing of an account goes to the ledger.
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
from typing import NamedTuple

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

# Whoever signs in at a provider; `subject` is null until the invitation's code was used.
_IDENTITIES = """create table if not exists identities (
  name text primary key, issuer text not null, subject text, unique (issuer, subject)
) without rowid"""

_ROWS = "select auditors.*, issuer, subject from auditors left join identities using (name)"


class _Row(NamedTuple):
    name: str
    studies: str
    until: float
    invited: float
    code: bytes | None
    seal: str | None
    issuer: str | None
    subject: str | None


@dataclass(frozen=True, slots=True)
class Auditor:
    """One account.

    Attributes:
        name: As for an organisation: ``a-z 0-9 -``.
        studies: Names of the studies that it shows, or None for the whole network.
        until: End of its validity, Unix seconds.
        invited: When it was made or renewed, Unix seconds; earlier sessions are of somebody else.
        is_open: Whether a passphrase has been set, or somebody at a provider bound.
        issuer: The OpenID provider that its auditor signs in at; None for a passphrase.
    """

    name: str
    studies: tuple[str, ...] | None
    until: float
    invited: float
    is_open: bool
    issuer: str | None


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
        self._db.execute(_IDENTITIES)

    def invite(
        self,
        name: str,
        *,
        studies: Sequence[str] | None,
        until: float,
        issuer: str | None = None,
        subject: str | None = None,
    ) -> str | None:
        """Make or renew an account; returns the one-time code, which is kept nowhere.

        An account that was open is closed until its auditor uses the new code. With ``issuer`` the
        code binds whoever brings it from that OpenID provider; with ``subject`` too, that person
        is bound at once and there is no code.

        Raises:
            UsageError: TW7040 the end lies in the past; TW1001, TW1002 names; TW7068 that person
                has another account.
        """
        org_name(name)
        chosen = None if studies is None else [study_id(study) for study in studies]
        if until <= self._clock.now():
            raise UsageError(
                f"the access of `{name}` would have ended on {iso(until)}",
                code="TW7040",
                help="give a day in the future with `--until`",
            )
        code = None if subject is not None else _new_code()
        row = (name, json.dumps(chosen), until, self._clock.now(), code and _hashed(code))
        with self._lock, self._db:
            self._db.execute("begin immediate")
            self._db.execute("insert or replace into auditors values (?, ?, ?, ?, ?, null)", row)
            self._db.execute("delete from identities where name = ?", (name,))
            if issuer is not None:
                try:
                    self._db.execute(
                        "insert into identities values (?, ?, ?)", (name, issuer, subject)
                    )
                except sqlite3.IntegrityError as error:
                    raise UsageError(
                        "this person signs in to another account here",
                        code="TW7068",
                        help="remove that account first: `twinward explorer auditors` lists them",
                    ) from error
        return code

    def accept(self, name: str, *, code: str, chosen: str) -> Auditor:
        """Set the passphrase with the one-time code, which is used up.

        Raises:
            IdentityError: TW7041, no invitation is open under this name and code; TW7067, it is
                for an OpenID provider.
            UsageError: TW7042, the passphrase is too short or too long.
        """
        if not passphrase.SHORTEST <= len(chosen) <= passphrase.LONGEST:
            raise UsageError(
                f"a passphrase has {passphrase.SHORTEST} to {passphrase.LONGEST} characters",
                code="TW7042",
                help="take four or five unrelated words",
            )
        self.require_invited(name, code=code, issuer=None)
        seal = passphrase.sealed(chosen)
        with self._lock:
            self._use_up(name, code, seal=seal)
        return self._required(name)

    def require_invited(self, name: str, *, code: str, issuer: str | None) -> None:
        """Make sure that this invitation is open, and for this way to sign in.

        Args:
            name: Of the account.
            code: The one-time code, which stays usable.
            issuer: The OpenID provider, or None for a passphrase.

        Raises:
            IdentityError: TW7041, no invitation is open under this name and code; TW7067, it is
                for another way.
        """
        now, row = self._clock.now(), self._row(name)
        if (
            row is None
            or row.code is None
            or not hmac.compare_digest(row.code, _hashed(code))
            or not 0 <= now - row.invited <= INVITATION_SECONDS
            or now >= row.until
        ):
            raise IdentityError(
                "there is no open invitation with this name and code",
                code="TW7041",
                help="check both, or ask the coordinator for a new invitation",
            )
        if row.issuer != issuer:
            raise IdentityError(
                "this invitation is for another way to sign in",
                code="TW7067",
                help="open /join for a passphrase, /join/provider for your organisation's sign-in",
            )

    def bind(self, name: str, *, code: str, issuer: str, subject: str) -> Auditor:
        """Let whom the provider calls ``subject`` into the account from now on; uses up the code.

        Raises:
            IdentityError: As for `require_invited`; TW7068, that person has another account.
        """
        self.require_invited(name, code=code, issuer=issuer)
        with self._lock, self._db:
            self._db.execute("begin immediate")
            self._use_up(name, code, seal=None)
            try:
                self._db.execute(
                    "update identities set subject = ? where name = ?", (subject, name)
                )
            except sqlite3.IntegrityError as error:
                raise IdentityError(
                    "this person signs in to another account here",
                    code="TW7068",
                    help="remove that account first: `twinward explorer auditors` lists them",
                ) from error
        return self._required(name)

    def known(self, *, issuer: str, subject: str) -> Auditor:
        """The account that is bound to this person at a provider, if it has not ended.

        Raises:
            IdentityError: TW7066; the same whether it ended, was removed or never was.
        """
        with self._lock:
            row = self._db.execute(
                f"{_ROWS} where issuer = ? and subject = ?", (issuer, subject)
            ).fetchone()
        if row is None or self._clock.now() >= _Row(*row).until:
            raise IdentityError(
                "nobody invited you here under this identity, or the access has ended",
                code="TW7066",
                help="accept your invitation at /join/provider, or ask the coordinator for one",
            )
        return _auditor(_Row(*row))

    def sign_in(self, name: str, *, given: str) -> Auditor:
        """The account, if this is its passphrase and it has not ended.

        Raises:
            IdentityError: TW7043; the same for every reason, after the same time.
        """
        row = self._row(name)
        living = row is not None and self._clock.now() < row.until
        opened = passphrase.opens(
            given[: passphrase.LONGEST], row.seal if row is not None and living else None
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
        if row is None or self._clock.now() >= row.until:
            return None
        return _auditor(row)

    def is_account(self, name: str) -> bool:
        """Whether there is an account of this name, also one that ended or was never opened."""
        return self._row(name) is not None

    def everyone(self) -> list[Auditor]:
        """All accounts, also those that ended."""
        with self._lock:
            rows = self._db.execute(f"{_ROWS} order by name").fetchall()
        return [_auditor(_Row(*row)) for row in rows]

    def remove(self, name: str) -> None:
        """Close an account at once: its pages are refused from the next request on.

        Raises:
            UsageError: TW7044, there is none of this name.
        """
        with self._lock, self._db:
            self._db.execute("begin immediate")
            gone = self._db.execute("delete from auditors where name = ?", (name,))
            self._db.execute("delete from identities where name = ?", (name,))
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

    def _use_up(self, name: str, code: str, *, seal: str | None) -> None:
        used = self._db.execute(
            "update auditors set code = null, seal = ? where name = ? and code = ?",
            (seal, name, _hashed(code)),
        )
        if used.rowcount != 1:
            raise IdentityError(
                "this invitation was used a moment ago",
                code="TW7041",
                help="sign in, or ask the coordinator for a new invitation",
            )

    def _row(self, name: str) -> _Row | None:
        with self._lock:
            row = self._db.execute(f"{_ROWS} where name = ?", (name,)).fetchone()
        return None if row is None else _Row(*row)

    def _required(self, name: str) -> Auditor:
        row = self._row(name)
        assert row is not None  # noqa: S101 - it was there a moment ago
        return _auditor(row)


def _auditor(row: _Row) -> Auditor:
    studies = json.loads(row.studies)
    return Auditor(
        name=row.name,
        studies=None if studies is None else tuple(studies),
        until=row.until,
        invited=row.invited,
        is_open=row.seal is not None or row.subject is not None,
        issuer=row.issuer,
    )


def _new_code() -> str:
    return "-".join(
        "".join(secrets.choice(_ALPHABET) for _ in range(_LETTERS)) for _ in range(_GROUPS)
    )


def _hashed(code: str) -> bytes:
    return hashlib.sha256(code.strip().lower().encode()).digest()
