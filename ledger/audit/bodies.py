"""The erasable part of an audit log: bodies, and a key for each patient, in two files.

A patient's key makes their topic in the log and seals their bodies; it is random and derived from
nothing. Once it is deleted, no record, backup of bodies or secret of the organisation leads from a
person to an entry or back. Keep the file of keys out of long-lived backups. Other people (auditors,
staff) are kept in the same way, under `person`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.log.entry import commit
from twinward.errors import LedgerError
from twinward.files import create_private

_SALT, _NONCE = 32, 12
_BETWEEN = "\x1f"  # in no number of a patient
_BODIES = """
create table if not exists bodies (
  commitment blob primary key, topic text not null, sealed blob not null) without rowid;
create index if not exists bodies_by_topic on bodies (topic) where topic <> ''
"""
_KEYS = """
create table if not exists keys (
  patient text primary key, key blob not null, topic text not null) without rowid;
create table if not exists standing (
  topic text not null, about text not null, word text not null, primary key (topic, about)
) without rowid
"""


PATIENT, AUDITOR, STAFF = "patient", "auditor", "staff"
PEOPLE = (PATIENT, AUDITOR, STAFF)
"""Families of topics that stand for one person each."""


def person(family: str, name: str) -> str:
    """Under which word the key of somebody who is no patient is kept; patients by their number."""
    return f"{family}{_BETWEEN}{name}"


@dataclass(frozen=True, slots=True)
class Kept:
    """A body that is kept: what its entry commits to, and the person's topic if it has one."""

    commitment: bytes
    topic: str | None


class Bodies:
    """Bodies by commitment. Thread-safe; durable when a call returns."""

    def __init__(self, bodies: Path, keys: Path) -> None:
        """Open or create the two files.

        Raises:
            LedgerError: TW3610, a file is damaged.
        """
        self._lock = threading.RLock()
        self._paths = (bodies, keys)
        with self._refusing():
            self._bodies = _open(bodies, _BODIES)
            self._keys = _open(keys, _KEYS)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except sqlite3.Error as error:
            raise LedgerError(
                f"the bodies of the audit log cannot be used: {error}",
                code="TW3610",
                at=str(self._paths[0].parent),
                help="stop, keep the files, and restore them from the newest backup; entries that"
                " lost their body stay provable",
            ) from error

    def keep(self, events: Sequence[tuple[str | None, Mapping[str, Any]]]) -> list[Kept]:
        """Keep events, each with the patient or `person` it is about, before they are entered."""
        with self._refusing():
            known = self._known({patient for patient, _ in events if patient is not None})
            kept, rows = [], []
            for patient, event in events:
                body = _spelled(event)
                salt = os.urandom(_SALT)
                commitment, content = commit(body, salt=salt), salt + body
                topic = None
                if patient is not None:
                    key, topic = known[patient]
                    nonce = os.urandom(_NONCE)
                    content = nonce + AESGCM(key).encrypt(nonce, content, commitment)
                kept.append(Kept(commitment, topic))
                rows.append((commitment, topic or "", content))
            with _transaction(self._bodies):
                self._bodies.executemany("insert into bodies values (?, ?, ?)", rows)
            return kept

    def _known(self, patients: set[str]) -> dict[str, tuple[bytes, str]]:
        """Key and topic of each patient; new ones are made and durable."""
        read = "select key, topic from keys where patient = ?"
        found = {p: self._keys.execute(read, (p,)).fetchone() for p in patients}
        fresh = {p: _new_key(p) for p, row in found.items() if row is None}
        if fresh:
            with _transaction(self._keys):
                self._keys.executemany(
                    "insert into keys values (?, ?, ?)", ((p, *made) for p, made in fresh.items())
                )
        return {**found, **fresh}

    def topic(self, patient: str) -> str | None:
        """The topic of a patient's entries; None if there are none, or no longer."""
        with self._refusing():
            row = self._keys.execute(
                "select topic from keys where patient = ?", (patient,)
            ).fetchone()
        return None if row is None else str(row[0])

    def topic_for(self, whose: str) -> str:
        """The topic of a patient's or `person`'s entries, made where there is none yet."""
        with self._refusing():
            return self._known({whose})[whose][1]

    def body(self, commitment: bytes) -> tuple[bytes, bytes] | None:
        """Salt and body of an entry; None if it was erased.

        Raises:
            LedgerError: TW3611, the body was changed.
        """
        with self._refusing():
            row = self._bodies.execute(
                "select topic, sealed from bodies where commitment = ?", (commitment,)
            ).fetchone()
            if row is None:
                return None
            topic, content = row
            if topic:
                key = self._keys.execute(
                    "select key from keys where topic = ?", (topic,)
                ).fetchone()
                if key is None:
                    return None  # dying between the two deletions of an erasure leaves this
                content = _opened(key[0], content, commitment)
        salt, body = content[:_SALT], content[_SALT:]
        if commit(body, salt=salt) != commitment:
            raise _changed()
        return salt, body

    def noted(self, about: str, patients: Sequence[str]) -> dict[str, str]:
        """The word that was noted last on this matter, of those of these patients who have one."""
        found = dict[str, str]()
        with self._refusing():
            for start in range(0, len(patients), 500):
                some = patients[start : start + 500]
                marks = ",".join("?" * len(some))
                rows = self._keys.execute(
                    "select patient, word from keys join standing using (topic)"  # noqa: S608 - marks
                    f" where about = ? and patient in ({marks})",
                    (about, *some),
                )
                found.update(rows.fetchall())
        return found

    def note(self, about: str, words: Mapping[str, str]) -> None:
        """Note what was entered, so that it is entered when it changes and not at each start.

        Call it after the entries were made: dying in between enters a word twice, never not at
        all.
        """
        with self._refusing(), _transaction(self._keys):
            self._keys.executemany(
                "insert or replace into standing select topic, ?, ? from keys where patient = ?",
                ((about, word, patient) for patient, word in words.items()),
            )

    def people(self) -> list[str]:
        """Everyone for whom there is a key: patients by their number, others as `person`."""
        with self._refusing():
            return [one for (one,) in self._keys.execute("select patient from keys")]

    def erase(self, patient: str) -> int:
        """Delete a patient's key and bodies for good; returns how many bodies.

        The key goes first: dying in between leaves bodies that nobody can open, which the next
        call for any patient clears.
        """
        with self._refusing():
            row = self._keys.execute(
                "select topic from keys where patient = ?", (patient,)
            ).fetchone()
            if row is not None:
                with _transaction(self._keys):
                    self._keys.execute("delete from keys where topic = ?", row)
                    self._keys.execute("delete from standing where topic = ?", row)
                _scrub(self._keys)
            with _transaction(self._bodies):
                topics = {t for (t,) in self._keys.execute("select topic from keys")}
                gone = self._bodies.execute("select distinct topic from bodies where topic <> ''")
                orphans = [(t,) for (t,) in gone if t not in topics]
                before = self._bodies.total_changes
                self._bodies.executemany("delete from bodies where topic = ?", orphans)
                count = self._bodies.total_changes - before
            _scrub(self._bodies)
            return count

    def reopen(self) -> None:
        """Let go of what was read from the files: another process has erased somebody there."""
        with self._refusing():
            self.close()
            bodies, keys = self._paths
            self._bodies = _open(bodies, _BODIES)
            self._keys = _open(keys, _KEYS)

    def close(self) -> None:
        """Release the files."""
        with self._lock:
            self._bodies.close()
            self._keys.close()


def _spelled(event: Mapping[str, Any]) -> bytes:
    """RFC 8785 for what bodies hold, text and booleans under ASCII names, ten times as fast."""
    return json.dumps(event, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def _new_key(whose: str) -> tuple[bytes, str]:
    key = os.urandom(32)
    name = hmac.new(key, b"twinward/audit/topic/v1", hashlib.sha256).hexdigest()
    family, between, _ = whose.partition(_BETWEEN)
    return key, f"{family if between else PATIENT}:{name}"


def _opened(key: bytes, sealed: bytes, commitment: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], commitment)
    except (InvalidTag, ValueError) as error:
        raise _changed() from error


def _changed() -> LedgerError:
    return LedgerError(
        "a body of the audit log is not the one that its entry commits to",
        code="TW3611",
        help="the file was changed from outside: keep it, and restore the bodies from a backup",
    )


def _open(path: Path, tables: str) -> sqlite3.Connection:
    create_private(path)
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("pragma journal_mode = wal")
    db.execute("pragma synchronous = full")
    db.execute("pragma secure_delete = on")
    for statement in tables.split(";\n"):
        db.execute(statement)
    return db


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("begin immediate")
    try:
        yield
    except BaseException:
        db.execute("rollback")
        raise
    db.execute("commit")


def _scrub(db: sqlite3.Connection) -> None:
    """Nothing deleted stays in the write-ahead log either."""
    db.execute("pragma wal_checkpoint(truncate)")
