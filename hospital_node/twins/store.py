"""Where the twins of a hospital are kept: one SQLite file that says nothing without its key.

Rows are named by HMAC(key, record number) and hold AES-256-GCM over what they are about, bound to
the patient, the twin and the place in the file, so that no row can be put in another's place. The
key lies outside, in ``secrets/``. When a call has ended its change is on disk; whatever a process
was doing when it died is there in whole or not at all. Nothing of it leaves.

Observations are kept beside the state that they led to: after a restart the state is there, and
with another population model the twin can be made anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hospital_node import erasures
from hospital_node.durable import DurableFile
from hospital_node.sealing import Seal
from hospital_node.twins import populations
from hospital_node.twins.packed import packed, unpacked
from hospital_node.twins.populations import Populations
from models.twin import Arrays, Series
from twinward.errors import TwinModelError
from twinward.ids import RecordNumber

_MINUTES = "minutes"

_TABLES = (
    "CREATE TABLE site (key_check BLOB NOT NULL) STRICT",
    """
CREATE TABLE care (
    name BLOB PRIMARY KEY,
    body BLOB NOT NULL      -- sealed: who wrote it down and when
) STRICT, WITHOUT ROWID
    """,
    """
CREATE TABLE twins (
    name BLOB NOT NULL,
    twin TEXT NOT NULL,
    individual BLOB NOT NULL,
    PRIMARY KEY (name, twin)
) STRICT, WITHOUT ROWID
    """,
    # A state changes with each observation, what is the patient's own hardly ever; in one row
    # every observation would write both anew.
    """
CREATE TABLE states (
    name BLOB NOT NULL,
    twin TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (name, twin)
) STRICT
    """,
    """
CREATE TABLE observations (
    number INTEGER PRIMARY KEY,
    name BLOB NOT NULL,
    twin TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT
    """,
    "CREATE INDEX of_whom ON observations (name, twin, number)",
    populations.TABLE,
)


@dataclass(frozen=True, slots=True)
class Kept:
    """One patient's twin as it is in the store.

    Attributes:
        population: Which population it was made from (``populations``).
        individual: Its own parameters.
        state: Where it is.
    """

    population: str
    individual: Arrays
    state: Arrays


class TwinStore:
    """The twins of one hospital. Thread-safe.

    Args:
        path: The file.
        key: 32 bytes that are not in the file's folder.
        entropy: Gives nonces.

    Raises:
        BudgetError: TW4106, TW4107, the file cannot be used.
        TwinModelError: TW7120, it was made with another key.
    """

    def __init__(
        self, path: Path, *, key: bytes, entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._seal = Seal(key, purpose="twins", entropy=entropy)
        self._file = DurableFile(path, what="file of twins", versions=(_TABLES,))
        self._file.change("PRAGMA secure_delete = ON")  # a freed cell is overwritten
        with self._file.transaction() as db:
            found = db.execute("SELECT key_check FROM site").fetchone()
            if found is None:
                db.execute("INSERT INTO site VALUES (?)", (self._seal.check,))
        if found is not None and found[0] != self._seal.check:
            self._file.close()
            raise other_key(path)
        self.populations = Populations(self._file, seal=self._seal.seal, open_=self._open)

    def care(self, record: RecordNumber) -> Mapping[str, str] | None:
        """What is written down on a twin for this patient's care; None if nothing."""
        name = self._name(record)
        row = self._file.row("SELECT body FROM care WHERE name = ?", (name,))
        return None if row is None else json.loads(self._open(row[0], name, "care"))

    def set_care(self, record: RecordNumber, note: Mapping[str, str]) -> None:
        """Write it down in place of what was there."""
        name = self._name(record)
        body = self._seal.seal(json.dumps(dict(note)).encode(), name, "care")
        self._file.change("INSERT OR REPLACE INTO care VALUES (?, ?)", (name, body))

    def notes(self) -> Iterator[Mapping[str, str]]:
        """All that is written down on twins for patients' care."""
        for name, body in self._file.rows("SELECT name, body FROM care", ()):
            yield json.loads(self._open(body, name, "care"))

    def keep(self, record: RecordNumber, twin: str, kept: Kept, *, seen: Series | None) -> None:
        """A new twin, or one made anew; with ``seen`` all that is known is replaced by it."""
        name = self._name(record)
        individual = self._seal.seal(
            packed(kept.individual, note=kept.population), name, twin, "own"
        )
        state = self._seal.seal(packed(kept.state), name, twin, "state")
        with self._file.transaction() as db:
            db.execute("INSERT OR REPLACE INTO twins VALUES (?, ?, ?)", (name, twin, individual))
            db.execute("INSERT OR REPLACE INTO states VALUES (?, ?, ?)", (name, twin, state))
            if seen is not None:
                db.execute("DELETE FROM observations WHERE name = ? AND twin = ?", (name, twin))
                db.execute(*self._observation(name, twin, seen))

    def advance(self, twin: str, changes: Iterable[tuple[RecordNumber, Arrays, Series]]) -> None:
        """New states with the observations that led to them, all or none."""
        with self._file.transaction() as db:
            for record, state, seen in changes:
                name = self._name(record)
                body = self._seal.seal(packed(state), name, twin, "state")
                db.execute(
                    "UPDATE states SET body = ? WHERE name = ? AND twin = ?", (body, name, twin)
                )
                db.execute(*self._observation(name, twin, seen))

    def load(self, record: RecordNumber, twin: str) -> Kept | None:
        """A patient's twin; None if there is none.

        Raises:
            TwinModelError: TW7121, the row was changed, or is another's.
        """
        return next(iter(self.load_many([record], twin)))

    def load_many(self, records: Sequence[RecordNumber], twin: str) -> Iterator[Kept | None]:
        """Twins in the order of the records."""
        for record in records:
            name = self._name(record)
            row = self._file.row(
                "SELECT individual, body FROM twins JOIN states USING (name, twin)"
                " WHERE name = ? AND twin = ?",
                (name, twin),
            )
            if row is None:
                yield None
                continue
            individual, note = unpacked(self._open(row[0], name, twin, "own"))
            state, _ = unpacked(self._open(row[1], name, twin, "state"))
            yield Kept(population=note, individual=individual, state=state)

    def state(self, record: RecordNumber, twin: str) -> tuple[Arrays, Arrays] | None:
        """A patient's own parameters, opened once they are looked at, and state; None if no twin.

        Most observations move a state without a look at the patient's own, which is ten times as
        large.

        Raises:
            TwinModelError: TW7121, the row was changed, or is another's.
        """
        name = self._name(record)
        row = self._file.row("SELECT body FROM states WHERE name = ? AND twin = ?", (name, twin))
        if row is None:
            return None
        state, _ = unpacked(self._open(row[0], name, twin, "state"))
        return _Unopened(lambda: next(self.load_many([record], twin))), state

    def history(self, record: RecordNumber, twin: str) -> Series | None:
        """All observations of a patient, in time order; of one moment the latest word counts."""
        parts = self._seen(self._name(record), twin)
        return _joined(parts) if parts else None

    def forget(self, record: RecordNumber) -> int:
        """Erase all that is kept of a patient; answers how many rows there were.

        Afterwards the sealed bytes are in none of the file's parts, its journal included.

        Raises:
            TwinModelError: TW7134, the rows are gone, the journal could not be emptied yet.
        """
        name = self._name(record)
        erasures.note(self._file.path, "twins", name)
        return self.forget_named(name)

    def forget_named(self, name: bytes) -> int:
        """The same, by the name under which it was noted that it was erased before."""
        with self._file.transaction() as db:
            rows = sum(
                db.execute(f"DELETE FROM {table} WHERE name = ?", (name,)).rowcount  # noqa: S608
                for table in ("care", "twins", "states", "observations")
            )
        busy, *_ = self._file.row("PRAGMA wal_checkpoint(TRUNCATE)") or (1,)
        if busy:
            raise TwinModelError(
                "the patient's twins are erased, but another process holds what was written before",
                code="TW7134",
                at=str(self._file.path),
                help="give the same command again when the other process has ended",
            )
        return rows

    def close(self) -> None:
        """Close the file; everything in it is durable already."""
        self._file.close()

    def _seen(self, name: bytes, twin: str) -> list[Arrays]:
        rows = self._file.rows(
            "SELECT body FROM observations WHERE name = ? AND twin = ? ORDER BY number",
            (name, twin),
        )
        return [unpacked(self._open(body, name, twin, "seen"))[0] for (body,) in rows]

    def _name(self, record: RecordNumber) -> bytes:
        return self._seal.name(record.encode())

    def _observation(self, name: bytes, twin: str, seen: Series) -> tuple[str, tuple[object, ...]]:
        body = packed({**seen.values, _MINUTES: seen.minutes})
        return (
            "INSERT INTO observations (name, twin, body) VALUES (?, ?, ?)",
            (name, twin, self._seal.seal(body, name, twin, "seen")),
        )

    def _open(self, body: bytes, name: bytes, *where: str) -> bytes:
        opened = self._seal.open(body, name, *where)
        if opened is None:
            raise TwinModelError(
                "what is kept of a patient's twin was changed, or moved from another patient",
                code="TW7121",
                at=str(self._file.path),
                help="bring back the file from a backup; nothing was answered",
            )
        return opened


class _Unopened(Mapping[str, NDArray[np.float64]]):
    """A patient's own parameters, read and opened at the first look."""

    def __init__(self, load: Callable[[], Kept | None]) -> None:
        self._load = load

    @cached_property
    def _arrays(self) -> Arrays:
        kept = self._load()
        return {} if kept is None else kept.individual

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def _joined(parts: Sequence[Arrays]) -> Series:
    names = sorted({name for part in parts for name in part} - {_MINUTES})
    minutes = np.concatenate([part[_MINUTES] for part in parts])
    values = {
        name: np.concatenate(
            [part.get(name, np.full(part[_MINUTES].shape, np.nan)) for part in parts]
        )
        for name in names
    }
    # Of equal moments the one written last: the stable sort leaves it last among them.
    order = np.argsort(minutes, kind="stable")
    last = np.append(np.diff(minutes[order]) > 0, [True])
    return Series(
        minutes[order][last], {name: column[order][last] for name, column in values.items()}
    )


def other_key(path: Path) -> TwinModelError:
    """The refusal for a file that another key sealed."""
    return TwinModelError(
        "the twins of this hospital were sealed with another key",
        code="TW7120",
        at=str(path),
        help="bring back `secrets/twins.key`; without it they cannot be opened by anyone",
    )
