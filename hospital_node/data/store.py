"""Where the records that were brought in are kept: one SQLite file that says nothing without a key.

Every import is written in parts, each in one transaction with the note that it is done. So a
process may die at any moment: the next call goes on with the part that is missing, and a patient
stands in the file once, whatever was repeated. Nothing of it leaves.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import msgspec

from hospital_node import erasures
from hospital_node.data.defects import Defect
from hospital_node.data.drafts import Draft, Read, Values
from hospital_node.durable import DurableFile
from hospital_node.sealing import Seal
from twinward.errors import DataError
from twinward.ids import RecordNumber

_PURPOSE = "patients"
_VERSIONS = (
    (
        "CREATE TABLE site (key_check BLOB NOT NULL) STRICT",
        """
CREATE TABLE patients (
    name BLOB PRIMARY KEY,
    body BLOB NOT NULL      -- sealed: record number, values
) STRICT, WITHOUT ROWID
        """,
        """
CREATE TABLE imports (
    number INTEGER PRIMARY KEY,
    source BLOB NOT NULL UNIQUE,
    done INTEGER NOT NULL,  -- 1 when its last part is on disk
    body BLOB NOT NULL      -- sealed: files, when it was begun
) STRICT
        """,
        """
CREATE TABLE parts (
    import INTEGER NOT NULL REFERENCES imports,
    part INTEGER NOT NULL,
    body BLOB NOT NULL,     -- sealed: counts and defects
    PRIMARY KEY (import, part)
) STRICT
        """,
        """
CREATE TABLE seen (         -- patients of imports that are under way
    import INTEGER NOT NULL REFERENCES imports,
    name BLOB NOT NULL,
    body BLOB NOT NULL,     -- sealed: the values, or none when two of them differ
    PRIMARY KEY (import, name)
) STRICT, WITHOUT ROWID
        """,
    ),
)


class Became(StrEnum):
    """What became of a patient of a source."""

    NEW = "new"
    CHANGED = "changed"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Kept:
    """One imported patient; without every field that the mapping requires it does not qualify."""

    record: RecordNumber
    values: Values
    qualifies: bool
    signal: bytes = b""


@dataclass(frozen=True, slots=True)
class Import:
    """One import as the file has it.

    Attributes:
        number: From 1.
        files: Names of its files.
        begun: When, ISO 8601.
        done: Whether its last part is on disk.
    """

    number: int
    files: tuple[str, ...]
    begun: str
    done: bool


@dataclass(frozen=True, slots=True)
class Part:
    """What became of one part of a source."""

    counts: Mapping[str, int]
    defects: tuple[Defect, ...]
    bytes: int


class PatientStore:
    """The imported records of one hospital. Thread-safe.

    Args:
        path: The file; made if it is not there.
        key: 32 bytes that are not in the file's folder.
        alone: Keep every other process off the file while this one writes it.
        entropy: Gives nonces.

    Raises:
        BudgetError: TW4106, TW4107, the file cannot be used.
        DataError: TW7203, it was made with another key.
    """

    def __init__(
        self,
        path: Path,
        *,
        key: bytes,
        alone: bool = False,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._seal = Seal(key, purpose=_PURPOSE, entropy=entropy)
        self._path = path
        self._file = DurableFile(
            path, what="file of imported records", versions=_VERSIONS, alone=alone
        )
        self._file.change("PRAGMA secure_delete = ON")  # a freed cell is overwritten
        with self._file.transaction() as db:
            found = db.execute("SELECT key_check FROM site").fetchone()
            if found is None:
                db.execute("INSERT INTO site VALUES (?)", (self._seal.check,))
        if found is not None and found[0] != self._seal.check:
            self._file.close()
            raise other_key(path)

    def begin(self, source: bytes, *, files: Sequence[str], at: str) -> tuple[Import, int]:
        """The import of this source, new or as far as it went, and how many parts are done."""
        name = self._seal.name(source)
        with self._file.transaction() as db:
            row = db.execute(
                "SELECT number, done, body FROM imports WHERE source = ?", (name,)
            ).fetchone()
            if row is None:
                body = msgspec.json.encode({"files": list(files), "begun": at})
                number = db.execute(
                    "INSERT INTO imports (source, done, body) VALUES (?, 0, ?)",
                    (name, self._seal.seal(body, name, "import")),
                ).lastrowid
                assert number is not None  # noqa: S101 - a row was made
                return Import(number, tuple(files), at, done=False), 0
            (parts,) = db.execute(
                "SELECT count(*) FROM parts WHERE import = ?", (row[0],)
            ).fetchone()
        return self._import(name, *row), parts

    def take(self, number: int, part: int, read: Read) -> Part:
        """Make one part durable: its patients, its defects, and that it is done; all or nothing."""
        counts = {became.value: 0 for became in Became}
        defects = list(read.defects)
        with self._file.transaction() as db:
            for draft in read.drafts:
                became = self._take(db, number, draft)
                if isinstance(became, Defect):
                    defects.append(became)
                else:
                    counts[became.value] += 1
            body = msgspec.json.encode(
                {
                    "counts": counts,
                    "defects": [[d.kind, d.where, d.field] for d in defects],
                    "bytes": read.bytes,
                }
            )
            db.execute(
                "INSERT INTO parts VALUES (?, ?, ?)",
                (number, part, self._seal.seal(body, *_place(number, part))),
            )
        return Part(counts, tuple(defects), read.bytes)

    def end(self, number: int) -> None:
        """The last part of an import is on disk."""
        with self._file.transaction() as db:
            db.execute("DELETE FROM seen WHERE import = ?", (number,))
            db.execute("UPDATE imports SET done = 1 WHERE number = ?", (number,))

    def imports(self) -> list[Import]:
        """All imports, oldest first."""
        rows = self._file.rows("SELECT source, number, done, body FROM imports ORDER BY number")
        return [self._import(*row) for row in rows]

    def parts(self, number: int) -> Iterator[Part]:
        """What became of the parts of an import."""
        rows = self._file.rows(
            "SELECT part, body FROM parts WHERE import = ? ORDER BY part", (number,)
        )
        for part, body in rows:
            kept = msgspec.json.decode(self._open(body, *_place(number, part)))
            yield Part(
                kept["counts"], tuple(Defect(*each) for each in kept["defects"]), kept["bytes"]
            )

    def patients(self) -> list[Kept]:
        """Every patient, by record number."""
        rows = self._file.rows("SELECT name, body FROM patients")
        found = [_kept(self._opened(body, name, "patient")) for name, body in rows]
        return sorted(found, key=lambda kept: kept.record)

    def forget(self, record: RecordNumber) -> bool:
        """Erase a patient's record; whether there was one. What was reported of it stays."""
        name = self._seal.name(record.encode())
        erasures.note(self._file.path, "records", name)
        return self.forget_named(name)

    def forget_named(self, name: bytes) -> bool:
        """The same, by the name under which it was noted that it was erased before."""
        with self._file.transaction() as db:
            db.execute("DELETE FROM seen WHERE name = ?", (name,))
            found = db.execute("DELETE FROM patients WHERE name = ?", (name,)).rowcount == 1
        self._file.row("PRAGMA wal_checkpoint(TRUNCATE)")
        return found

    def close(self) -> None:
        """Close the file; everything in it is durable already."""
        self._file.close()

    def _take(self, db: Connection, number: int, draft: Draft) -> Became | Defect:
        """One patient; two of one import that differ are both left out: neither can be believed."""
        name = self._seal.name(draft.record.encode())
        earlier = db.execute(
            "SELECT body FROM seen WHERE import = ? AND name = ?", (number, name)
        ).fetchone()
        values = dict(draft.values)
        if earlier is not None:
            before = self._opened(earlier[0], name, "seen")
            if before["values"] == values:
                return Defect("duplicate", draft.where)
            db.execute("DELETE FROM patients WHERE name = ?", (name,))
            self._note(db, number, name, None)
            return Defect("contradiction", draft.where)
        self._note(db, number, name, values)
        row = db.execute("SELECT body FROM patients WHERE name = ?", (name,)).fetchone()
        kept = {"record": draft.record, "values": values, "qualifies": draft.qualifies}
        if draft.signal:
            kept["signal"] = b64encode(draft.signal).decode()
        if row is not None and self._opened(row[0], name, "patient") == kept:
            return Became.SAME
        body = msgspec.json.encode(kept)
        db.execute(
            "INSERT OR REPLACE INTO patients VALUES (?, ?)",
            (name, self._seal.seal(body, name, "patient")),
        )
        return Became.NEW if row is None else Became.CHANGED

    def _note(self, db: Connection, number: int, name: bytes, values: Values | None) -> None:
        body = self._seal.seal(msgspec.json.encode({"values": values}), name, "seen")
        db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", (number, name, body))

    def _import(self, name: bytes, number: int, done: int, body: bytes) -> Import:
        kept = self._opened(body, name, "import")
        return Import(number, tuple(kept["files"]), kept["begun"], bool(done))

    def _opened(self, body: bytes, name: bytes, *where: str) -> Any:
        return msgspec.json.decode(self._open(body, name, *where))

    def _open(self, body: bytes, name: bytes, *where: str) -> bytes:
        opened = self._seal.open(body, name, *where)
        if opened is None:
            raise DataError(
                "an imported record was changed, or moved from another patient",
                code="TW7204",
                at=str(self._path),
                help="bring back the file from a backup, or import again; nothing was used",
            )
        return opened


def _kept(found: Mapping[str, Any]) -> Kept:
    return Kept(**{**found, "signal": b64decode(found.get("signal", ""))})


def namer(key: bytes) -> Callable[[RecordNumber], bytes]:
    """Under which names patients lie in the file with this key, and are noted when erased."""
    seal = Seal(key, purpose=_PURPOSE)
    return lambda record: seal.name(record.encode())


def _place(number: int, part: int) -> tuple[bytes, str]:
    return number.to_bytes(8) + part.to_bytes(8), "part"


def other_key(path: Path) -> DataError:
    """The refusal for a file that another key sealed."""
    return DataError(
        "the imported records of this hospital were sealed with another key",
        code="TW7203",
        at=str(path),
        help="bring back `patients.key`, or move the file away and import again",
    )
