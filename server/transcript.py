"""The durable record of a secure sum: every signed message and masked vector, step by step.

One SQLite file per run (write-ahead log, synchronous FULL). A step is written in one transaction
before its sum is sent: if the coordinator dies in between, the file holds a sum that nobody has
applied, never the reverse. A run whose coordinator died goes on from it (``RunState.taken_up``).
An attempt that was given up is written with the vectors that had come.
Sums of more than one frame lie beside it, one file each (``secure_sum_totals``). Masked vectors of
more than ``KEPT_DIMENSION`` coordinates are not kept: their signed heads and digests are. Nothing
in it is secret: it is what the coordinator saw, and it goes into the evidence pack.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from server.secure_sum_totals import Total, Totals, unwritable
from twinward.errors import TrainingError
from twinward.secsum.messages import Signed

OPEN, FINISHED, FAILED = "open", "finished", "failed"
_SCHEMA_VERSION = 2
_ABSENCES = "CREATE TABLE IF NOT EXISTS absence (org TEXT PRIMARY KEY, cause TEXT NOT NULL) STRICT;"
"""Added later; a file without it is of a run whose absences nobody wrote down."""
_OFFERED = "CREATE TABLE IF NOT EXISTS offered (epoch INTEGER NOT NULL) STRICT;"
"""Added later, as above; the newest epoch that any member may have been offered."""
_SCHEMA = """
CREATE TABLE run (run BLOB NOT NULL, plan BLOB NOT NULL, outcome TEXT NOT NULL, cause TEXT);
CREATE TABLE epoch (
  epoch INTEGER PRIMARY KEY, members BLOB NOT NULL, setup BLOB NOT NULL,
  offer BLOB NOT NULL, roster BLOB NOT NULL) STRICT;
CREATE TABLE advert (
  epoch INTEGER NOT NULL, sender BLOB NOT NULL, signed BLOB NOT NULL,
  PRIMARY KEY (epoch, sender)) STRICT;
CREATE TABLE attempt (
  epoch INTEGER NOT NULL, step INTEGER NOT NULL, missing BLOB NOT NULL,
  sum BLOB, total BLOB, PRIMARY KEY (epoch, step)) STRICT;
CREATE TABLE masked (
  epoch INTEGER NOT NULL, step INTEGER NOT NULL, sender BLOB NOT NULL,
  signed BLOB NOT NULL, vector BLOB, PRIMARY KEY (epoch, step, sender)) STRICT;
CREATE TABLE closing (sender BLOB PRIMARY KEY, signed BLOB NOT NULL) STRICT;
"""


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """M1 to M3 of an epoch; ``members`` and ``adverts`` in the same, ascending order."""

    epoch: int
    members: tuple[bytes, ...]
    setup: bytes
    offer: Signed
    roster: Signed
    adverts: tuple[Signed, ...]


@dataclass(frozen=True, slots=True)
class MaskedRecord:
    """One M4: who sent it, the signed head, the masked vector as it came (None: not kept)."""

    sender: bytes
    signed: Signed
    vector: bytes | None


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt of one step. ``sum`` is None if it was given up; then ``missing`` says for whom.

    ``total`` is the sum as it was sent: little-endian words, guard words included; a large one is
    a mapped file that ``Transcript.totals`` has made.
    """

    epoch: int
    step: int
    masked: tuple[MaskedRecord, ...]
    missing: tuple[bytes, ...] = ()
    sum: Signed | None = None
    total: Total | None = None


class Transcript:
    """A run's record on disk; written by the run, read by the release and the evidence pack."""

    def __init__(self, connection: sqlite3.Connection, totals: Totals) -> None:
        self.totals = totals
        self._sql = connection

    @classmethod
    def create(cls, path: Path, *, run: bytes, plan: bytes) -> Self:
        """A new, empty record; an existing file is never overwritten.

        Raises:
            TrainingError: TW6140.
        """
        if path.exists():
            raise TrainingError(
                "there is already a transcript of this run",
                code="TW6140",
                at=str(path),
                help="start a new run; a transcript is never continued or overwritten",
            )
        transcript = cls(_connect(path), Totals.beside(path))
        with transcript._sql as sql:
            sql.executescript(
                f"BEGIN; {_SCHEMA} {_ABSENCES} {_OFFERED} PRAGMA user_version = {_SCHEMA_VERSION};"
            )
            sql.execute("INSERT INTO run VALUES (?, ?, ?, NULL)", (run, plan, OPEN))
        return transcript

    @classmethod
    def open(cls, path: Path) -> Self:
        """An existing record, for reading or for ``fail``.

        Raises:
            TrainingError: TW6141, not there, not a transcript, or of another version.
        """
        try:
            connection = _connect(path) if path.exists() else None
            version = connection and connection.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise _unreadable(path, str(error)) from error
        if connection is None or version != _SCHEMA_VERSION:
            raise _unreadable(path, f"version {version}" if connection else "no such file")
        connection.execute(_ABSENCES)
        connection.execute(_OFFERED)
        return cls(connection, Totals.beside(path))

    @property
    def outcome(self) -> str:
        """``open``, ``finished`` or ``failed``; open without a process means interrupted."""
        return str(self._sql.execute("SELECT outcome FROM run").fetchone()[0])

    @property
    def cause(self) -> str | None:
        """Why the run failed."""
        cause = self._sql.execute("SELECT cause FROM run").fetchone()[0]
        return None if cause is None else str(cause)

    @property
    def run(self) -> bytes:
        """32 bytes that name the run."""
        return bytes(self._sql.execute("SELECT run FROM run").fetchone()[0])

    @property
    def plan(self) -> bytes:
        """Digest of the plan."""
        return bytes(self._sql.execute("SELECT plan FROM run").fetchone()[0])

    @property
    def offered(self) -> int:
        """The number of the newest epoch that may have been offered; 0 if none was."""
        (epoch,) = self._sql.execute(
            "SELECT max(coalesce((SELECT max(epoch) FROM offered), 0),"
            " coalesce((SELECT max(epoch) FROM epoch), 0))"
        ).fetchone()
        return int(epoch)

    def offer(self, epoch: int) -> None:
        """Write durably that an epoch of this number is offered; before it is."""
        with self._writing() as sql:
            sql.execute("DELETE FROM offered")
            sql.execute("INSERT INTO offered VALUES (?)", (epoch,))

    def add_epoch(self, record: EpochRecord) -> None:
        """Write an epoch durably; before its roster is sent."""
        with self._writing() as sql:
            sql.execute(
                "INSERT INTO epoch VALUES (?, ?, ?, ?, ?)",
                (
                    record.epoch,
                    b"".join(record.members),
                    record.setup,
                    record.offer.blob,
                    record.roster.blob,
                ),
            )
            sql.executemany(
                "INSERT INTO advert VALUES (?, ?, ?)",
                [
                    (record.epoch, member, advert.blob)
                    for member, advert in zip(record.members, record.adverts, strict=True)
                ],
            )

    def add_attempt(self, record: AttemptRecord) -> None:
        """Write an attempt durably, summed or given up; before its sum or abort is sent."""
        with self._writing() as sql:
            sql.execute(
                "INSERT INTO attempt VALUES (?, ?, ?, ?, ?)",
                (
                    record.epoch,
                    record.step,
                    b"".join(record.missing),
                    record.sum.blob if record.sum else None,
                    record.total if isinstance(record.total, bytes) else None,
                ),
            )
            sql.executemany(
                "INSERT INTO masked VALUES (?, ?, ?, ?, ?)",
                [
                    (record.epoch, record.step, one.sender, one.signed.blob, one.vector)
                    for one in record.masked
                ],
            )

    def finish(self, closings: dict[bytes, Signed]) -> None:
        """Write the members' closings; the run is finished."""
        with self._writing() as sql:
            sql.executemany(
                "INSERT INTO closing VALUES (?, ?)",
                [(sender, signed.blob) for sender, signed in closings.items()],
            )
            sql.execute("UPDATE run SET outcome = ?", (FINISHED,))

    def fail(self, cause: str) -> None:
        """Note that the run is over without a result; also after a coordinator was restarted."""
        with self._writing() as sql:
            sql.execute(
                "UPDATE run SET outcome = ?, cause = ? WHERE outcome = ?", (FAILED, cause, OPEN)
            )

    def absent(self, org: str, cause: str) -> None:
        """Write that a hospital is missing, and why (``twinward.absence``); replaces what was."""
        with self._writing() as sql:
            sql.execute("INSERT OR REPLACE INTO absence VALUES (?, ?)", (org, cause))

    def present(self, org: str) -> None:
        """Write that a hospital that was missing is back."""
        with self._writing() as sql:
            sql.execute("DELETE FROM absence WHERE org = ?", (org,))

    def absences(self) -> list[tuple[str, str]]:
        """Who was missing in the end, and why, in order of name."""
        return list(self._sql.execute("SELECT org, cause FROM absence ORDER BY org"))

    def epochs(self) -> tuple[EpochRecord, ...]:
        """All epochs whose roster was complete, in order."""
        records = []
        for epoch, members, setup, offer, roster in self._sql.execute(
            "SELECT epoch, members, setup, offer, roster FROM epoch ORDER BY epoch"
        ):
            adverts = self._sql.execute(
                "SELECT signed FROM advert WHERE epoch = ? ORDER BY sender", (epoch,)
            ).fetchall()
            records.append(
                EpochRecord(
                    epoch,
                    _split(members),
                    setup,
                    Signed.of_blob(offer),
                    Signed.of_blob(roster),
                    tuple(Signed.of_blob(blob) for (blob,) in adverts),
                )
            )
        return tuple(records)

    def attempts(self) -> Iterator[AttemptRecord]:
        """All attempts in order, those given up included, read one at a time."""
        for epoch, step, missing, signed_sum, total in self._sql.execute(
            "SELECT epoch, step, missing, sum, total FROM attempt ORDER BY epoch, step"
        ):
            masked = self._sql.execute(
                "SELECT sender, signed, vector FROM masked WHERE epoch = ? AND step = ? "
                "ORDER BY sender",
                (epoch, step),
            ).fetchall()
            in_file = signed_sum is not None and total is None
            yield AttemptRecord(
                epoch,
                step,
                tuple(MaskedRecord(who, Signed.of_blob(blob), y) for who, blob, y in masked),
                _split(missing),
                None if signed_sum is None else Signed.of_blob(signed_sum),
                self.totals.read(epoch, step) if in_file else total,
            )

    def closings(self) -> dict[bytes, Signed]:
        """Signed M6 heads by raw fingerprint of the sender."""
        rows = self._sql.execute("SELECT sender, signed FROM closing ORDER BY sender").fetchall()
        return {sender: Signed.of_blob(blob) for sender, blob in rows}

    def close(self) -> None:
        """Release the file."""
        self._sql.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One durable transaction; TW6142 if the disk does not take it, and nothing is written."""
        try:
            with self._sql as sql:
                yield sql
        except sqlite3.Error as error:
            raise unwritable(error) from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _unreadable(path: Path, why: str) -> TrainingError:
    return TrainingError(
        f"the transcript cannot be read ({why})",
        code="TW6141",
        at=str(path),
        help="restore the file from backup; without it the run cannot be proved",
    )


def _split(data: bytes) -> tuple[bytes, ...]:
    return tuple(data[i : i + 32] for i in range(0, len(data), 32))
