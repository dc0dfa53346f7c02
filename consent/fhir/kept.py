"""Versions of Consents as they were served: added, never changed. Stays in the hospital.

The vault decides what is permitted; this file remembers how it was told to others, version by
version. Patients are in it by the hospital's own numbers: `Versions.forget` erases one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consent.fhir.moments import FOR_EVER, span
from consent.fhir.refusal import Json
from consent.store import Store
from twinward.clock import iso
from twinward.ids import RecordNumber

_VERSION = 1
_TABLES = """
create table versions (
  seq integer primary key autoincrement, id text not null, version integer not null,
  newest integer not null, record text not null, status text not null, begins real not null,
  ends real not null, at real not null, body text not null, unique (id, version)
) strict;
create index newest_by_record on versions (record, seq) where newest = 1;
create index newest_in_order on versions (seq) where newest = 1;
create table followed (study blob primary key, change integer not null) strict, without rowid;
create table assertions (
  client text not null, jti text not null, expires real not null, primary key (client, jti)
) strict, without rowid;
"""


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

    def __init__(self, path: Path) -> None:
        """Open or create the file (mode 0600).

        Raises:
            IdentityError: TW3020.
            ConsentError: TW3021, TW3022.
        """
        self.store = Store.open(path, tables=_TABLES, version=_VERSION)

    def add(self, name: str, record: RecordNumber, resource: Json, *, at: float) -> Version:
        """Keep a next version of the Consent of this name; durable when this returns."""
        with self.store.transaction() as database:
            return self._add(database, name, record, resource, at=at)

    def _add(
        self,
        database: sqlite3.Connection,
        name: str,
        record: RecordNumber,
        resource: Json,
        *,
        at: float,
    ) -> Version:
        (last,) = database.execute(
            "select max(version) from versions where id = ?", (name,)
        ).fetchone()
        number = (last or 0) + 1
        meta = {**resource.get("meta", {}), "versionId": str(number), "lastUpdated": iso(at)}
        whole = {**resource, "id": name, "meta": meta}
        begins, ends = _period(resource)
        database.execute("update versions set newest = 0 where id = ? and newest = 1", (name,))
        cursor = database.execute(
            "insert into versions (id, version, newest, record, status, begins, ends, at, body)"
            " values (?, ?, 1, ?, ?, ?, ?, ?, ?)",
            (name, number, record, resource["status"], begins, ends, at, json.dumps(whole)),
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
        return self._read("where record = ? and newest = 1 order by seq", (record,))

    def find(
        self, where: Sequence[tuple[str, Sequence[Any]]], *, after: int, limit: int
    ) -> tuple[int, list[Version]]:
        """How many newest versions fulfil all conditions, and those after a number, in order."""
        conditions = "".join(f" and ({condition})" for condition, _ in where)
        values = [value for _, each in where for value in each]
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
            return database.execute("delete from versions where record = ?", (record,)).rowcount

    def _read(self, where: str, values: Sequence[Any]) -> list[Version]:
        columns = "seq, id, version, status, at, body"
        return [
            Version(seq, name, number, status, at, json.loads(body))
            for seq, name, number, status, at, body in self.store.rows(
                f"select {columns} from versions {where}",  # noqa: S608 - ours
                values,
            )
        ]


def _period(resource: Json) -> tuple[float, float]:
    period = resource.get("provision", {}).get("period", {})
    begins = span(period.get("start", ""))
    ends = span(period.get("end", ""))
    return (begins[0] if begins else 0.0, ends[1] if ends else FOR_EVER)
