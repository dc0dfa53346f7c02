"""Studies that wait for their run: one after the other, durable, never blocked by one that fails.

One SQLite file that commands write and the running coordinator reads. A commit is on disk when the
call returns; dying inside one leaves nothing of it. Nothing in it is about a patient.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

from server import database
from twinward.errors import UsageError
from twinward.ids import RunId

WAITING, RUNNING, DONE, PARKED, ABORTED = "waiting", "running", "done", "parked", "aborted"
OPEN, PAUSED, DRAINING = "open", "paused", "draining"
SUCCESSORS = 2
"""How often a study is run again whose run ended with the coordinator, unless told otherwise."""
_TABLES = """
create table if not exists entries (
    number integer primary key autoincrement, study text not null, state text not null,
    run text, parent text, successors integer not null, code text, cause text,
    aborting integer not null default 0);
create table if not exists added (
    number integer primary key, at integer not null default (strftime('%s', 'now')));
create table if not exists shards (number integer primary key, shard integer not null);
create table if not exists mode (one integer primary key check (one = 1), mode text not null);
insert or ignore into mode values (1, 'open');
"""
_ENTRIES = "select * from entries natural left join shards"


@dataclass(frozen=True, slots=True)
class Entry:
    """One study in the queue.

    Attributes:
        number: Its place; lower ones go first.
        study: Its name.
        state: ``waiting``, ``running``, ``done``, ``parked`` or ``aborted``.
        run: Its run, once hospitals may have heard of it.
        parent: The run that a stop of the coordinator ended, and in whose place this one is.
        successors: How many more runs may be put in the place of one that was ended like that.
        code: Of the error for which it is parked or was aborted.
        cause: The same in words.
        aborting: Whether somebody wants its run ended.
        shard: Which one it trains, if the plan has shards.
    """

    number: int
    study: str
    state: str
    run: RunId | None
    parent: RunId | None
    successors: int
    code: str | None
    cause: str | None
    aborting: bool
    shard: int | None

    @property
    def goes_on(self) -> bool:
        """Whether its run, if a stop interrupted it, is taken up at the next start."""
        return self.run is not None and self.state in {WAITING, RUNNING} and not self.aborting

    def as_json(self) -> dict[str, Any]:
        """For the command line."""
        return asdict(self)


class StudyQueue:
    """The file. Thread-safe; several processes may have it open."""

    def __init__(self, path: Path) -> None:
        self._db = database.connect(path, tables=_TABLES)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the file; all of it is durable."""
        self._db.close()

    # What people ask for

    def add(self, study: str, *, successors: int = SUCCESSORS, shard: int | None = None) -> Entry:
        """Put a study at the end, or one shard of it.

        Raises:
            UsageError: TW6230, the queue is being drained.
        """
        with self._transaction():
            return self._add(study, successors=successors, shard=shard)

    def begin(self, study: str) -> Entry:
        """Put a study in that runs from now on, ahead of what waits; never for a second price.

        Raises:
            UsageError: TW6230, the queue is being drained.
        """
        with self._transaction():
            entry = self._add(study, successors=0)
            return self._put(entry, state=RUNNING)

    def abort(self, number: int) -> Entry:
        """Take a waiting study out now; have the run of a running one ended at the next look.

        Raises:
            UsageError: TW6231 there is none of this number, TW6232 it has ended already.
        """
        with self._transaction():
            entry = self._entry(number)
            if entry.state == WAITING:
                self._put(entry, state=ABORTED)
            elif entry.state == RUNNING:
                self._put(entry, aborting=True)
            else:
                raise UsageError(
                    f"number {number} of the queue has ended already: {entry.state}",
                    code="TW6232",
                    help="`twinward server queue list` shows what waits or runs",
                )
            return self._entry(number)

    def turn(self, mode: str) -> None:
        """``open``; ``paused``: begin no next study; ``draining``: take no more, finish these."""
        with self._transaction():
            self._db.execute("update mode set mode = ?", [mode])

    @property
    def mode(self) -> str:
        """``open``, ``paused`` or ``draining``."""
        with self._lock:
            return self._mode()

    def entries(self) -> list[Entry]:
        """All of them, also those that ended, in order."""
        with self._lock:
            rows = self._db.execute(f"{_ENTRIES} order by number").fetchall()
        return [_entry_of(row) for row in rows]

    def standing(self) -> dict[str, Any]:
        """Mode, entries and for how long the oldest of them waits, for the command line."""
        return {
            "mode": self.mode,
            "entries": [one.as_json() for one in self.entries()],
            "oldest_waiting_seconds": self._oldest_waiting(),
        }

    def _oldest_waiting(self) -> int:
        """Seconds since the first of those that wait was added; 0 if none waits."""
        with self._lock:
            (age,) = self._db.execute(
                "select strftime('%s', 'now') - min(at) from added natural join entries"
                " where state = ?",
                [WAITING],
            ).fetchone()
        return max(0, age or 0)

    # What the coordinator does

    def take(self) -> Entry | None:
        """The next study, running from now on; None while it is paused or nothing waits.

        A run that was interrupted comes first: its hospitals have paid for it.
        """
        with self._transaction():
            row = self._db.execute(
                "select number from entries where state = ? order by run is null, number", [WAITING]
            ).fetchone()
            if row is None or self._mode() == PAUSED:
                return None
            return self._put(self._entry(row[0]), state=RUNNING)

    def entry(self, number: int) -> Entry:
        """The entry of this number.

        Raises:
            UsageError: TW6231.
        """
        with self._lock:
            return self._entry(number)

    def began(self, number: int, run: RunId) -> None:
        """Note its run, before any hospital hears of it."""
        with self._transaction():
            self._put(self._entry(number), run=run)

    def ended(
        self, number: int, state: str, *, code: str | None = None, cause: str | None = None
    ) -> None:
        """Note how it ended: the next one may run."""
        with self._transaction():
            self._put(self._entry(number), state=state, code=code, cause=cause)

    def put_back(self, number: int) -> None:
        """Let it wait again: no hospital heard of it."""
        with self._transaction():
            self._put(self._entry(number), state=WAITING, run=None)

    def go_on(self, number: int) -> None:
        """Let it wait for its own run to be taken up again."""
        with self._transaction():
            self._put(self._entry(number), state=WAITING)

    def again(self, number: int) -> None:
        """Let it wait for a successor of the run that was ended; one fewer may follow."""
        with self._transaction():
            entry = self._entry(number)
            self._put(
                entry,
                state=WAITING,
                run=None,
                parent=entry.run,
                successors=entry.successors - 1,
            )

    def _add(self, study: str, *, successors: int, shard: int | None = None) -> Entry:
        if self._mode() == DRAINING:
            raise UsageError(
                "the queue is being drained and takes no more studies",
                code="TW6230",
                help="open it again with `twinward server queue resume`",
            )
        number = self._db.execute(
            "insert into entries (study, state, successors) values (?, ?, ?)",
            [study, WAITING, successors],
        ).lastrowid
        self._db.execute("insert into added (number) values (?)", [number])
        if shard is not None:
            self._db.execute("insert into shards values (?, ?)", [number, shard])
        return self._entry(number)

    def _mode(self) -> str:
        return str(self._db.execute("select mode from mode").fetchone()[0])

    def _entry(self, number: int | None) -> Entry:
        row = self._db.execute(f"{_ENTRIES} where number = ?", [number]).fetchone()
        if row is None:
            raise UsageError(
                f"there is no number {number} in the queue",
                code="TW6231",
                help="`twinward server queue list` shows the numbers",
            )
        return _entry_of(row)

    def _put(self, entry: Entry, **changed: Any) -> Entry:
        now = replace(entry, **changed)
        number, _, *values, _ = astuple(now)
        self._db.execute(
            "update entries set state = ?, run = ?, parent = ?, successors = ?, code = ?,"
            " cause = ?, aborting = ? where number = ?",
            [*values, number],
        )
        return now

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("begin immediate")
            try:
                yield
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")


def _entry_of(row: tuple[Any, ...]) -> Entry:
    *values, aborting, shard = row
    return Entry(*(*values, bool(aborting), shard))
