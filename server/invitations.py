"""Who was invited, who asked to join, who endorsed them, who was put out, who called; durable.

One SQLite file that commands write and the running coordinator reads. Of an invitation only the
hash of its secret is kept. A commit is on disk when the call returns; dying inside one leaves
nothing of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server import database
from server.admission import JoinRequest
from twinward.admission import KIND
from twinward.errors import IdentityError
from twinward.ids import Fingerprint, OrgName
from twinward.signing import Document

REVOKED, LEFT = "revoked", "left"
_TABLES = """
create table if not exists invitations (
    hash blob primary key, org text not null, hosts text not null, expires real not null,
    renews integer not null, candidate text);
create table if not exists candidates (
    fingerprint text primary key, org text not null unique, request blob not null,
    admission blob not null, asked real not null, admitted integer not null default 0);
create table if not exists out (
    fingerprint text primary key, org text not null, why text not null, at real not null);
create table if not exists recorded (
    fingerprint text primary key, changes integer not null, why text);
create table if not exists seen (fingerprint text primary key, at real not null);
"""


@dataclass(frozen=True, slots=True)
class Invitation:
    """A token that was handed out. ``candidate`` is the identity that used it.

    One that ``renews`` is for a member whose certificate expired.
    """

    org: OrgName
    hosts: tuple[str, ...]
    expires: float
    renews: bool
    candidate: Fingerprint | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A hospital that used its invitation. ``admission`` carries the endorsements so far."""

    org: OrgName
    fingerprint: Fingerprint
    request: bytes
    admission: Document
    admitted: bool


class Register:
    """The file. Thread-safe; several processes may have it open."""

    def __init__(self, path: Path) -> None:
        self._db = database.connect(path, tables=_TABLES)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the file; all of it is durable."""
        self._db.close()

    # Invitations

    def invite(
        self,
        org: OrgName,
        token_hash: bytes,
        *,
        hosts: tuple[str, ...],
        expires: float,
        renews: bool = False,
    ) -> None:
        """Keep the hash of a new token; tokens for the same name that nobody used end with it.

        ``hosts`` are the names and addresses that the hospital's certificate may have.
        """
        with self._transaction():
            self._db.execute("delete from invitations where org = ? and candidate is null", [org])
            self._db.execute(
                "insert into invitations values (?, ?, ?, ?, ?, null)",
                [token_hash, org, " ".join(hosts), expires, renews],
            )

    def invitation(self, token_hash: bytes, *, now: float) -> Invitation:
        """The invitation with this hash; one that was used still names who used it.

        Raises:
            IdentityError: TW6016 there is none, TW6017 it expired before anybody used it.
        """
        found = self._one(
            "select org, hosts, expires, renews, candidate from invitations where hash = ?",
            token_hash,
        )
        if found is None:
            raise IdentityError(
                "this invitation is not known here",
                code="TW6016",
                help="ask the coordinator for a new one: `twinward server invite`",
            )
        org, hosts, expires, renews, candidate = found
        invitation = Invitation(org, tuple(hosts.split()), expires, bool(renews), candidate)
        if invitation.candidate is None and now > invitation.expires:
            raise IdentityError(
                "this invitation has expired",
                code="TW6017",
                help="ask the coordinator for a new one: `twinward server invite`",
            )
        return invitation

    # Candidates

    def enrol(
        self,
        token_hash: bytes,
        request: JoinRequest,
        *,
        data: bytes,
        admission: Document,
        now: float,
    ) -> None:
        """Use a token: it and the candidate are bound to each other, in one transaction.

        Raises:
            IdentityError: TW6018, somebody else used it in the meantime.
        """
        fingerprint = request.identity.fingerprint
        with self._transaction():
            self._use(token_hash, fingerprint)
            self._db.execute("delete from candidates where org = ? and not admitted", [request.org])
            self._db.execute(
                "insert into candidates values (?, ?, ?, ?, ?, 0)",
                [fingerprint, request.org, data, admission.encode(), now],
            )

    def use(self, token_hash: bytes, fingerprint: Fingerprint) -> None:
        """Bind a token to the member that it renews.

        Raises:
            IdentityError: TW6018.
        """
        with self._transaction():
            self._use(token_hash, fingerprint)

    def _use(self, token_hash: bytes, fingerprint: Fingerprint) -> None:
        used = self._db.execute(
            "update invitations set candidate = ? where hash = ? and candidate is null",
            [fingerprint, token_hash],
        )
        if used.rowcount != 1:
            raise used_already()

    def candidate(self, fingerprint: str) -> Candidate | None:
        """The candidate of this identity."""
        return next((one for one in self.candidates() if one.fingerprint == fingerprint), None)

    def candidates(self) -> list[Candidate]:
        """Everybody who ever used an invitation, in the order of asking."""
        with self._lock:
            rows = self._db.execute(
                "select org, fingerprint, request, admission, admitted from candidates "
                "order by asked"
            ).fetchall()
        return [
            Candidate(
                OrgName(org),
                Fingerprint(fingerprint),
                request,
                Document.decode(admission, kind=KIND, at="admission"),
                bool(admitted),
            )
            for org, fingerprint, request, admission, admitted in rows
        ]

    def endorsed(self, fingerprint: Fingerprint, by: Fingerprint, signature: bytes) -> None:
        """Keep one hospital's signature, which the caller checked; again replaces it."""
        with self._transaction():
            (data,) = self._db.execute(
                "select admission from candidates where fingerprint = ?", [fingerprint]
            ).fetchone()
            known = Document.decode(data, kind=KIND, at="admission")
            others = [one for one in known.signatures if one[0] != by]
            merged = Document(KIND, known.payload, tuple(sorted([*others, (by, signature)])))
            self._db.execute(
                "update candidates set admission = ? where fingerprint = ?",
                [merged.encode(), fingerprint],
            )

    def admitted(self, fingerprint: Fingerprint) -> None:
        """The candidate is a member; ``admissions.json`` says so already."""
        with self._transaction():
            self._db.execute(
                "update candidates set admitted = 1 where fingerprint = ?", [fingerprint]
            )

    # Who is out

    def put_out(self, fingerprint: Fingerprint, org: OrgName, *, why: str, now: float) -> None:
        """Nobody of this identity is served from now on; the first reason stays."""
        with self._transaction():
            self._db.execute(
                "insert into out values (?, ?, ?, ?) on conflict do nothing",
                [fingerprint, org, why, now],
            )

    def take_back(self, fingerprint: Fingerprint) -> None:
        """Serve a member again that was put out by mistake."""
        with self._transaction():
            self._db.execute("delete from out where fingerprint = ?", [fingerprint])

    def out(self) -> dict[Fingerprint, str]:
        """Who is not served, and why."""
        with self._lock:
            return dict(self._db.execute("select fingerprint, why from out").fetchall())

    def record(self, fingerprint: Fingerprint, changes: int, why: str | None) -> None:
        """Note that the ledger has so many changes about a member, and what the last one says."""
        with self._transaction():
            self._db.execute(
                "insert or replace into recorded values (?, ?, ?)", [fingerprint, changes, why]
            )

    def recorded(self) -> dict[Fingerprint, tuple[int, str | None]]:
        """As ``record`` noted it, by member."""
        with self._lock:
            rows = self._db.execute("select fingerprint, changes, why from recorded").fetchall()
        return {fingerprint: (changes, why) for fingerprint, changes, why in rows}

    # Who called when

    def saw(self, seen: Mapping[Fingerprint, float]) -> None:
        """Keep when members called last, Unix seconds."""
        with self._transaction():
            self._db.executemany("insert or replace into seen values (?, ?)", seen.items())

    def seen(self) -> dict[Fingerprint, float]:
        """When each member called last, as it was kept."""
        with self._lock:
            return dict(self._db.execute("select fingerprint, at from seen").fetchall())

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("begin immediate")
            try:
                yield
            except BaseException:
                self._db.rollback()
                raise
            self._db.commit()

    def _one(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        with self._lock:
            found: tuple[Any, ...] | None = self._db.execute(sql, values).fetchone()
            return found


def used_already() -> IdentityError:
    """The refusal of a token that another identity used."""
    return IdentityError(
        "this invitation was used already, by another identity",
        code="TW6018",
        help="if it was not this hospital that used it, tell the coordinator at once: it may be "
        "an impostor; ask for a new one in any case",
    )
