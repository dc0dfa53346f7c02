"""Reading a mirror: what the copy of the consents says, for any number of threads and processes.

Nothing here asks the ledger or believes anything: `ledger.mirror` fills the copy and checks it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ledger.consents import Slot
from twinward.errors import LedgerError


class MirrorReader:
    """A copy in one SQLite file, read only. Each thread has a connection of its own."""

    def __init__(self, path: Path) -> None:
        """Read the copy that a `Mirror`, in this process or another, keeps at this path."""
        self._path = path
        self._mine = threading.local()
        self._all: list[sqlite3.Connection] = []

    @property
    def _reading(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._mine, "connection", None)
        if found is None:
            uri = f"{self._path.resolve().as_uri()}?mode=ro"
            found = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
            self._mine.connection = found
            self._all.append(found)
        return found

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Trouble with the file becomes a refusal by name."""
        try:
            yield
        except sqlite3.Error as error:
            raise unusable(self._path, f"it is damaged ({error})") from error

    @property
    def block(self) -> int:
        """Number of the last block that is in the copy."""
        return int(self._row("select block from cursor")[0])

    @property
    def count(self) -> int:
        """How many changes are in the copy."""
        return int(self._row("select coalesce(max(sequence), 0) from events")[0])

    @property
    def head(self) -> bytes:
        """Running hash over every change in the copy; zero before the first."""
        return self.head_at(self.block)

    def head_at(self, block: int) -> bytes:
        """The running hash after this block."""
        row = self._row(
            # In the order of the index: by sequence alone every event would be looked at.
            "select head from events where block <= ? order by block desc, sequence desc limit 1",
            (block,),
        )
        return bytes(32) if row is None else bytes(row[0])

    def slot(self, study: bytes, subject: bytes) -> Slot | None:
        """What stands about this subject, or None if nothing ever did."""
        found = self._slots("slots.study = ? and slots.subject = ?", (study, subject))
        return found[0] if found else None

    def changes(self, after_block: int) -> list[Slot]:
        """The current slots of every subject that changed after this block, oldest first."""
        return self._slots("events.block > ?", (after_block,))

    def _slots(self, where: str, parameters: Sequence[Any]) -> list[Slot]:
        with self._refusing():
            rows = self._reading.execute(
                "select events.study, events.subject, slot, digest, block, sequence"  # noqa: S608 - our own clauses
                f" from events join slots using (study, subject, sequence) where {where}"
                " order by block, sequence",
                parameters,
            ).fetchall()
        return [
            Slot.unpack(
                row[2], study=row[0], subject=row[1], digest=row[3], block=row[4], sequence=row[5]
            )
            for row in rows
        ]

    def _row(self, query: str, parameters: Sequence[Any] = ()) -> Any:
        with self._refusing():
            return self._reading.execute(query, parameters).fetchone()

    def close(self) -> None:
        """Release the file."""
        for connection in self._all:
            connection.close()
        self._all.clear()
        self._mine = threading.local()


def unusable(path: Path, why: str) -> LedgerError:
    """The one refusal of a copy that cannot be read."""
    return LedgerError(
        f"the copy of the consents cannot be used: {why}",
        code="TW5043",
        at=str(path),
        help="delete the file; it is fetched again from the ledger",
    )
