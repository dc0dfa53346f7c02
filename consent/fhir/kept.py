"""Versions of Consents as they were served: added, never changed. Stays in the hospital.

The vault decides what is permitted; this file remembers how it was told to others, version by
version. Whom a version is about and what it says are hidden under the key of the vault
(`consent.hidden`); its state, times and number stand beside them, to be searched by.
`Versions.forget` erases a patient.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from consent.fhir.moments import FOR_EVER, span
from consent.fhir.refusal import Json
from consent.hidden import Hidden, changed_outside
from consent.store import Migration, Store, execute_all
from consent.vault import other_key
from twinward.clock import iso
from twinward.ids import RecordNumber

FORM = 2
_TABLE = """
create table versions (
  seq integer primary key autoincrement, id text not null, version integer not null,
  newest integer not null, record blob not null, status text not null, begins real not null,
  ends real not null, at real not null, body blob not null, unique (id, version)
) strict;
create index newest_by_record on versions (record, seq) where newest = 1;
create index newest_in_order on versions (seq) where newest = 1;
create table site (key_check blob not null) strict;
"""
_TABLES = f"""{_TABLE.rstrip()}
create table followed (study blob primary key, change integer not null) strict, without rowid;
create table assertions (
  client text not null, jti text not null, expires real not null, primary key (client, jti)
) strict, without rowid;
"""
_TO_FORM_2 = f"""
drop index newest_by_record;
drop index newest_in_order;
alter table versions rename to old_versions;
{_TABLE.strip()}
insert into versions select seq, id, version, newest, hide(record), status, begins, ends, at,
  hide(body, id, version) from old_versions order by seq;
drop table old_versions;
"""  # noqa: S608 - ours


@dataclass(frozen=True, slots=True)
class Whom:
    """A patient in a condition of a search; the file knows them hidden only."""

    record: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A next version of the Consent of this name: whose it is, what it says, when it came about."""

    name: str
    record: RecordNumber
    resource: Json
    at: float


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one Consent: the resource as it is served, and when it came about."""

    seq: int
    id: str
    version: int
    status: str
    at: float
    resource: Json

    @property
    def etag(self) -> str:
        """As HTTP writes it."""
        return f'W/"{self.version}"'


class Versions:
    """The versions of all Consents of one hospital."""

    def __init__(self, path: Path, *, key: bytes) -> None:
        """Open or create the file (mode 0600); an older form is hidden in one transaction.

        Args:
            path: The file.
            key: 32 bytes that are not in the file's folder: those of the vault.

        Raises:
            IdentityError: TW3020.
            ConsentError: TW3021, TW3022; TW8641, the file was made with another key.
        """
        self._hidden = _hidden(key)
        self.store = Store.open(
            path, tables=_TABLES, version=FORM, migrations=_migrations(self._hidden)
        )
        try:
            self._require_key(str(path))
        except BaseException:
            self.store.close()
            raise

    def _require_key(self, at: str) -> None:
        with self.store.transaction() as database:
            found = database.execute("select key_check from site").fetchone()
            if found is None:
                database.execute("insert into site values (?)", (self._hidden.check,))
            elif found[0] != self._hidden.check:
                raise other_key(at)

    def rehide(self, key: bytes) -> None:
        """Hide everything under this key of the vault from now on; dying in it leaves the old one.

        Raises:
            ConsentError: TW8640, a row was changed from outside; nothing was done.
        """
        old, new = self._hidden, _hidden(key)

        def again(form: bytes, *where: str | int) -> bytes:
            return new.hide(old.show(form, *_place(where)), *_place(where))

        try:
            with self.store.transaction() as database:
                database.create_function("again", -1, again)
                database.execute(
                    "update versions set body = again(body, id, version), record = again(record)"
                )
                database.execute("update site set key_check = ?", (new.check,))
        except sqlite3.OperationalError as error:
            raise changed_outside() from error
        self._hidden = new
        self.store.row("pragma wal_checkpoint(truncate)")

    def add(self, name: str, record: RecordNumber, resource: Json, *, at: float) -> Version:
        """Keep a next version of the Consent of this name; durable when this returns."""
        with self.store.transaction() as database:
            return self._add(database, Draft(name, record, resource, at))

    def add_all(self, drafts: Sequence[Draft]) -> None:
        """Keep all of these, in their order, or none: they wait for the disk once."""
        with self.store.transaction() as database:
            for draft in drafts:
                self._add(database, draft)

    def _add(self, database: sqlite3.Connection, draft: Draft) -> Version:
        name, resource, at = draft.name, draft.resource, draft.at
        (last,) = database.execute(
            "select max(version) from versions where id = ?", (name,)
        ).fetchone()
        number = (last or 0) + 1
        meta = {**resource.get("meta", {}), "versionId": str(number), "lastUpdated": iso(at)}
        whole = {**resource, "id": name, "meta": meta}
        begins, ends = _period(resource)
        database.execute("update versions set newest = 0 where id = ? and newest = 1", (name,))
        values = (
            name,
            number,
            self._hidden.hide(draft.record),
            resource["status"],
            begins,
            ends,
            at,
            self._hidden.hide(json.dumps(whole), *_place((name, number))),
        )
        cursor = database.execute(
            "insert into versions (id, version, newest, record, status, begins, ends, at, body)"
            " values (?, ?, 1, ?, ?, ?, ?, ?, ?)",
            values,
        )
        return Version(int(cursor.lastrowid or 0), name, number, resource["status"], at, whole)

    def history(self, name: str) -> list[Version]:
        """All versions of one Consent, newest first."""
        return self._read("where id = ? order by version desc", (name,))

    def newest(self, name: str) -> Version | None:
        """The newest version of one Consent."""
        return next(iter(self._read("where id = ? and newest = 1", (name,))), None)

    def version(self, name: str, number: int) -> Version | None:
        """One version of one Consent."""
        found = self._read("where id = ? and version = ?", (name, number))
        return next(iter(found), None)

    def of(self, record: RecordNumber) -> list[Version]:
        """The newest versions of one patient's Consents, oldest first."""
        hidden = self._hidden.hide(record)
        return self._read("where record = ? and newest = 1 order by seq", (hidden,))

    def find(
        self, where: Sequence[tuple[str, Sequence[Any]]], *, after: int, limit: int
    ) -> tuple[int, list[Version]]:
        """How many newest versions fulfil all conditions, and those after a number, in order."""
        conditions = "".join(f" and ({condition})" for condition, _ in where)
        values = [
            self._hidden.hide(value.record) if isinstance(value, Whom) else value
            for _, each in where
            for value in each
        ]
        (total,) = self.store.row(
            f"select count(*) from versions where newest = 1{conditions}",  # noqa: S608 - ours
            values,
        ) or (0,)
        page = self._read(
            f"where newest = 1{conditions} and seq > ? order by seq limit ?",
            [*values, after, limit],
        )
        return int(total), page

    def followed(self, study: bytes) -> int:
        """Up to which of the vault's changes this file follows it."""
        row = self.store.row("select change from followed where study = ?", (study,))
        return int(row[0]) if row else 0

    def note_followed(self, study: bytes, change: int) -> None:
        """Remember it."""
        with self.store.transaction() as database:
            database.execute("insert or replace into followed values (?, ?)", (study, change))

    def is_first(self, client: str, jti: str, *, expires: float, now: float) -> bool:
        """Whether a client's assertion of this name was never seen; from now on it was."""
        with self.store.transaction() as database:
            database.execute("delete from assertions where expires < ?", (now,))
            added = database.execute(
                "insert or ignore into assertions values (?, ?, ?)", (client, jti, expires)
            )
            return added.rowcount == 1

    def forget(self, record: RecordNumber) -> int:
        """Erase every version of a patient's Consents; how many."""
        with self.store.transaction() as database:
            hidden = self._hidden.hide(record)
            return database.execute("delete from versions where record = ?", (hidden,)).rowcount

    def _read(self, where: str, values: Sequence[Any]) -> list[Version]:
        columns = "seq, id, version, status, at, body"
        return [
            Version(seq, name, number, status, at, self._shown(body, name, number))
            for seq, name, number, status, at, body in self.store.rows(
                f"select {columns} from versions {where}",  # noqa: S608 - ours
                values,
            )
        ]

    def _shown(self, body: bytes, name: str, number: int) -> Json:
        resource: Json = json.loads(self._hidden.show(body, *_place((name, number))))
        return resource


def _hidden(key: bytes) -> Hidden:
    """What hides under the vault's key here: the forms of the two files cannot be compared."""
    return Hidden(hashlib.sha256(b"twinward/fhir/key/v1" + key).digest())


def _place(where: Sequence[str | int]) -> list[bytes]:
    return [str(one).encode() for one in where]


def _migrations(hidden: Hidden) -> Mapping[int, Migration]:
    return {1: partial(_to_form_2, hidden=hidden)}


def _to_form_2(database: sqlite3.Connection, *, hidden: Hidden) -> None:
    """Hide whom each version is about and what it says."""
    database.create_function("hide", -1, lambda text, *where: hidden.hide(text, *_place(where)))
    execute_all(database, _TO_FORM_2)


def _period(resource: Json) -> tuple[float, float]:
    period = resource.get("provision", {}).get("period", {})
    begins = span(period.get("start", ""))
    ends = span(period.get("end", ""))
    return (begins[0] if begins else 0.0, ends[1] if ends else FOR_EVER)
