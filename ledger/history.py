"""Every event of the network's contracts in one SQLite file: what questions are asked of.

`ledger.history_feed` fills it. One process writes; any number read, each with a connection of its
own. What a ledger node told is not believed for that: whoever relies on the copy compares it with
a signed checkpoint of the network's log, which is a function of exactly these events.
"""

from __future__ import annotations

import heapq
import itertools
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any, Self

from ledger.deployed import Addresses
from ledger.events import Event, EventForm, Value, forms
from ledger.history_schema import create, schema_digest
from twinward.errors import LedgerError

_WAIT_SECONDS = 10.0


class History:
    """A copy of all events. Not thread-safe: each thread opens a reader of its own."""

    def __init__(self, db: sqlite3.Connection, *, path: Path | None = None) -> None:
        self.db = db
        self._path = path

    @classmethod
    def open(cls, path: Path, *, genesis: bytes, contracts: Addresses) -> Self:
        """Open or create the copy as its one writer; `HistoryFeed` then fills it.

        A copy that another version of Twinward made, or that was made before contracts moved, is
        emptied, to be filled again.

        Raises:
            LedgerError: TW3702, the file is of another network, or is damaged.
        """
        with _refusing(path):
            db = sqlite3.connect(path, isolation_level=None, timeout=_WAIT_SECONDS)
            db.execute("pragma journal_mode = wal")
            db.execute("pragma synchronous = normal")  # it can always be fetched again
            history = cls(db, path=path)
            history._create(genesis, contracts)
        return history

    @classmethod
    def reader(cls, path: Path) -> Self:
        """A read-only connection to a copy that exists.

        Raises:
            LedgerError: TW3702, it does not, is damaged, or another version made it.
        """
        with _refusing(path):
            uri = f"{path.resolve().as_uri()}?mode=ro"
            db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_WAIT_SECONDS)
            (made_by,) = db.execute("select schema from cursor").fetchone()
        if made_by != schema_digest():
            raise _unusable(path, "another version of Twinward made it")
        return cls(db, path=path)

    @classmethod
    def of(cls, events: Iterable[Event], *, genesis: bytes, block: int, time: int) -> Self:
        """A copy in memory that holds these events alone: how a proven answer is asked again.

        Args:
            events: In order of their numbers, which need not be without gaps.
            genesis: Which chain they are of, 32 bytes.
            block: The last block that the copy stands for.
            time: That block's time, Unix seconds.
        """
        history = cls(sqlite3.connect(":memory:", isolation_level=None))
        history._create(genesis, None)
        kept = list(events)
        blocks = {one.block: (one.block, bytes(32), one.time) for one in kept}
        history.add(kept, {**blocks, block: (block, bytes(32), time)}.values(), last=block)
        return history

    def _create(self, genesis: bytes, contracts: Addresses | None) -> None:
        moved = () if contracts is None else contracts.replaced
        of = "" if contracts is None else json.dumps(contracts.to_json(), sort_keys=True)
        if moved:
            of += json.dumps(moved)
        with self.transaction():
            known = create(self.db, genesis=genesis, contracts=of, moved=bool(moved))
        if known != (genesis, of):
            raise _unusable(self._path, "it is of another network")

    def close(self) -> None:
        """Let go of the file."""
        self.db.close()

    # Reading

    @property
    def block(self) -> int:
        """Number of the last block that is in the copy; 0 for none."""
        return int(self._one("select block from cursor"))

    @property
    def time(self) -> int:
        """Time of that block, Unix seconds; 0 for none."""
        return int(self._one("select coalesce(max(time), 0) from blocks"))

    @property
    def genesis(self) -> bytes:
        """Hash of the chain's first block."""
        return bytes(self._one("select genesis from cursor"))

    @property
    def count(self) -> int:
        """Number of the last event; 0 for none."""
        return int(self._one("select coalesce(max(number), 0) from events"))

    @property
    def rewound(self) -> list[tuple[int, bytes]]:
        """Blocks, with the hashes that the ledger once showed, that it later denied."""
        rows = self.db.execute("select block, hash from rewound order by rowid")
        return [(int(block), bytes(digest)) for block, digest in rows]

    def events(
        self, after: int = 0, until: int | None = None, *, kind: str | None = None
    ) -> Iterator[Event]:
        """Events in order: numbers above ``after`` and up to ``until``, of one kind or of all."""
        wanted = [one for one in forms() if kind is None or one.kind == kind]
        last = self.count if until is None else until
        found = (
            self._of_form(one, "t.event > ? and t.event <= ?", (after, last)) for one in wanted
        )
        return heapq.merge(*found, key=attrgetter("number"))

    def having(self, name: str, value: Value, *, kind: str | None = None) -> list[Event]:
        """Events in which the value of this name is this one, in order."""
        wanted = [one for one in forms() if kind in {None, one.kind} and name in one.names]
        found = (
            self._of_form(one, f't."{name}" = ?', (_to_cell(value, one.types[name]),))
            for one in wanted
        )
        return sorted(itertools.chain(*found), key=attrgetter("number"))

    def event(self, number: int) -> Event:
        """The event of this number; a KeyError if there is none."""
        for found in self.events(number - 1, number):
            return found
        raise KeyError(number)

    def _of_form(self, wanted: EventForm, where: str, values: Sequence[Any]) -> Iterator[Event]:
        columns = ", ".join(f't."{name}"' for name in wanted.names)
        rows = self.db.execute(
            f"select e.number, e.block, e.position, b.time, e.tx, {columns}"  # noqa: S608 - names of our own contracts
            f" from {wanted.table} t join events e on e.number = t.event"
            " join blocks b using (block)"
            f" where {where} order by t.event",
            values,
        )
        kinds = wanted.types
        for number, block, position, time, tx, *cells in rows:
            found = {
                name: _from_cell(cell, kinds[name])
                for name, cell in zip(wanted.names, cells, strict=True)
            }
            yield Event(number, block, position, time, tx, wanted.contract, wanted.name, found)

    def _one(self, query: str) -> Any:
        return self.db.execute(query).fetchone()[0]

    # Writing

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing.

        Raises:
            LedgerError: TW3702, the file is damaged.
        """
        with _refusing(self._path):
            self.db.execute("begin immediate")
            try:
                yield
            except BaseException:
                self.db.execute("rollback")
                raise
            self.db.execute("commit")

    def add(
        self, events: Sequence[Event], blocks: Iterable[tuple[int, bytes, int]], *, last: int
    ) -> None:
        """Add what comes next, in one transaction.

        Args:
            events: In order.
            blocks: Number, hash and time of every block that has one of them, and of ``last``.
            last: The copy is complete up to this block now.
        """
        with self.transaction():
            for one in forms():
                kinds = one.types
                rows = [
                    (event.number, *(_to_cell(event.values[n], kinds[n]) for n in one.names))
                    for event in events
                    if event.kind == one.kind
                ]
                marks = ", ".join("?" * (1 + len(one.names)))
                self.db.executemany(f"insert into {one.table} values ({marks})", rows)  # noqa: S608
            self.db.executemany(
                "insert into events values (?, ?, ?, ?, ?)",
                [(e.number, e.block, e.position, e.transaction, e.kind) for e in events],
            )
            self.db.executemany("insert or replace into blocks values (?, ?, ?)", blocks)
            self.db.execute("update cursor set block = ?", (last,))

    def rewind(self, common: int, denied: Iterable[tuple[int, bytes]]) -> None:
        """Forget everything after block ``common``, and note the hashes that were denied."""
        with self.transaction():
            self.db.executemany("insert into rewound values (?, ?)", denied)
            (last,) = self.db.execute(
                "select coalesce(max(number), 0) from events where block <= ?", (common,)
            ).fetchone()
            for one in forms():
                self.db.execute(f"delete from {one.table} where event > ?", (last,))  # noqa: S608
            self.db.execute("delete from events where number > ?", (last,))
            self.db.execute("delete from blocks where block > ?", (common,))
            self.db.execute("update cursor set block = ?", (common,))

    def confirm(self, block: int) -> None:
        """From now on the ledger may not deny this block: somebody trusted has signed it."""
        with self.transaction():
            self.db.execute("update cursor set confirmed = max(confirmed, min(?, block))", (block,))


def _to_cell(value: Value, kind: str) -> Any:
    if isinstance(value, tuple):
        return json.dumps([f"0x{item.hex()}" for item in value])
    if isinstance(value, int) and kind == "uint256":
        return value.to_bytes(32, "big")
    if isinstance(value, int) and value >> 63:
        # Beyond SQLite's integers: its exact digits, so that no figure of a contract stops a copy.
        return str(value)
    return value


def _from_cell(cell: Any, kind: str) -> Value:
    if kind == "bytes32[]":
        return tuple(bytes.fromhex(item[2:]) for item in json.loads(cell))
    if kind == "uint256":
        return int.from_bytes(cell, "big")
    return int(cell) if kind.startswith("uint") else cell


@contextmanager
def _refusing(path: Path | None) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _unusable(path, f"it is missing or damaged ({error})") from error


def _unusable(path: Path | None, why: str) -> LedgerError:
    return LedgerError(
        f"the copy of the ledger's history cannot be used: {why}",
        code="TW3702",
        at=None if path is None else str(path),
        help="delete the file and follow the ledger again: `twinward audit follow`",
    )
