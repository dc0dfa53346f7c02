"""A log in one SQLite file: append, seal, and prove against what was sealed.

``append`` is durable when it returns. ``seal`` brings the map of topics up to date and fixes the
state that a checkpoint states; proofs of completeness are given against sealed states, of which the
newest hundred are kept.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ledger import verify
from ledger.log import entry, topics, tree
from twinward.errors import LedgerError, UsageError

SEALS_KEPT = 100
_SCHEMA = 1
_TABLES = f"""
create table log (one integer primary key check (one = 1), origin text not null);
create table leaves (seq integer primary key, leaf blob not null);
create table nodes (place integer primary key, hash blob not null);
create table seals (size integer primary key, root blob not null, topics blob not null);
{topics.TABLES}"""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Sealed:
    """A state of the log that a checkpoint can state."""

    size: int
    root: bytes
    topics: bytes


class Log:
    """An append-only log with topics. Thread-safe; several processes may write and read."""

    def __init__(self, path: Path, *, origin: str) -> None:
        """Open or create the log of this origin.

        Raises:
            LedgerError: TW3601, the file is damaged or another log's.
        """
        self.origin = origin
        self._path = path
        self._lock = threading.RLock()
        with self._refusing():
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = full")
            self._db.execute("pragma cache_size = -65536")  # KiB, at most: keys come in any order
            with self._transaction():
                self._create()
            (found,) = self._db.execute("select origin from log").fetchone()
            if found != origin:
                raise _unusable(path, f"it is the log of {found}")
            self._load()

    def _create(self) -> None:
        if self._db.execute("pragma user_version").fetchone() == (0,):
            for statement in _TABLES.split(";\n"):
                self._db.execute(statement)
            self._db.execute("insert into log values (1, ?)", (self.origin,))
            self._db.execute(f"pragma user_version = {_SCHEMA}")

    def _load(self) -> None:
        """Take in what the file holds: at the start, and when another process wrote it."""
        (self._version,) = self._db.execute("pragma data_version").fetchone()
        self._peaks = tree.Peaks(self._count(), self._node)
        last = self.sealed()
        self._topics = topics.TopicMap(self._db, sealed=last.size if last else 0)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction on the newest state, whoever wrote it."""
        with self._transaction():
            if self._db.execute("pragma data_version").fetchone() != (self._version,):
                self._load()
            yield

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """One caller at a time; trouble with the file becomes a refusal by name."""
        try:
            with self._lock:
                yield
        except sqlite3.Error as error:
            raise _unusable(self._path, str(error)) from error

    def _count(self) -> int:
        (last,) = self._db.execute("select max(seq) from leaves").fetchone()
        return 0 if last is None else last + 1

    def _node(self, place: int) -> bytes:
        row = self._db.execute("select hash from nodes where place = ?", (place,)).fetchone()
        if row is None:
            raise _unusable(self._path, f"the hash at place {place} is missing")
        return bytes(row[0])

    # Writing

    @property
    def size(self) -> int:
        """How many entries are in the log."""
        with self._refusing():
            return self._count()

    def append(self, drafts: Iterable[entry.Draft]) -> range:
        """Append entries durably, all or none; returns their numbers.

        Raises:
            LedgerError: TW3601, the file cannot be written.
        """
        wanted = list(drafts)
        with self._refusing():
            try:
                with self._writing():
                    before = self._peaks.size
                    self._write(wanted)
            except BaseException:
                self._load()
                raise
            return range(before, self._peaks.size)

    def _write(self, drafts: Sequence[entry.Draft]) -> None:
        keys = {topic: verify.topic_key(topic) for draft in drafts for topic in draft.topics}
        tips = self._topics.tips(sorted(keys.values()))
        leaves, steps, nodes = [], [], list[bytes]()
        none = topics.Tip(0, 0, b"")
        for draft in drafts:
            seq, mine = self._peaks.size, [keys[topic] for topic in draft.topics]
            last = [tips.get(key, none) for key in mine]
            leaf = entry.encode(draft, seq=seq, links=[(tip.n + 1, tip.hash) for tip in last])
            hashed = verify.leaf_hash(leaf)
            for key, tip in zip(mine, last, strict=True):
                tips[key] = topics.Tip(tip.n + 1, seq, hashed)
                steps.append((key, tip.n + 1, seq))
            leaves.append((seq, leaf))
            nodes.extend(self._peaks.add(hashed))
        first = tree.places(self._peaks.size) - len(nodes)
        self._db.executemany("insert into leaves values (?, ?)", leaves)
        self._db.executemany("insert into nodes values (?, ?)", enumerate(nodes, first))
        self._topics.move(tips, steps)

    def seal(self) -> Sealed:
        """Fix the present state, for a checkpoint; the same again if nothing came since.

        Raises:
            LedgerError: TW3601.
        """
        with self._refusing():
            with self._writing():
                last, size = self.sealed(), self._peaks.size
                if last is not None and last.size == size:
                    return last
                root = self._topics.seal(size, oldest=self._oldest_kept())
                sealed = Sealed(size, self._peaks.root, root)
                self._db.execute("insert into seals values (?, ?, ?)", (size, sealed.root, root))
            self._topics.sealed()
            return sealed

    def _oldest_kept(self) -> int | None:
        row = self._db.execute(
            "select size from seals order by size desc limit 1 offset ?", (SEALS_KEPT - 2,)
        ).fetchone()
        return None if row is None else int(row[0])

    # Reading and proving

    def sealed(self, size: int | None = None) -> Sealed | None:
        """The sealed state of this size, or the newest; None if there is none."""
        with self._refusing():
            row = self._db.execute(
                "select size, root, topics from seals where ?1 is null or size = ?1"
                " order by size desc limit 1",
                (size,),
            ).fetchone()
        return Sealed(*row) if row else None

    def leaves(self, start: int, end: int) -> list[bytes]:
        """The bytes of entries ``start`` to ``end`` (not included)."""
        with self._refusing():
            rows = self._db.execute(
                "select leaf from leaves where seq >= ? and seq < ? order by seq", (start, end)
            )
            return [leaf for (leaf,) in rows]

    def leaf(self, seq: int) -> bytes:
        """The bytes of one entry.

        Raises:
            UsageError: TW3602, there is no such entry.
        """
        found = self.leaves(seq, seq + 1)
        if not found:
            raise _absent(f"there is no entry {seq}")
        return found[0]

    def entries_of(self, topic: str, *, size: int, after: int = 0) -> list[int]:
        """Numbers of all entries of a topic in the log of this size, oldest first.

        Args:
            topic: Its name.
            size: Entries of the log that count.
            after: Leave out this many of the topic's first entries.
        """
        with self._refusing():
            return self._topics.entries(topic, size=size, after=after)

    def topic(self, topic: str, *, size: int) -> topics.TopicProof:
        """The proof of how many entries a topic has in a sealed state.

        Raises:
            UsageError: TW3602, this size was not sealed or is no longer kept.
        """
        with self._refusing():
            if not self.keeps(size):
                raise _absent(f"the state of {size} entries was not sealed, or is no longer kept")
            return self._topics.prove(topic, size=size)

    def keeps(self, size: int) -> bool:
        """Whether topics can still be proved complete as of the sealed state of this size."""
        with self._refusing():
            kept = self._db.execute(
                "select size from seals order by size desc limit ?", (SEALS_KEPT,)
            ).fetchall()
        return (size,) in kept

    def inclusion(self, seq: int, *, size: int) -> list[bytes]:
        """The RFC 9162 proof that an entry is in the log of this size.

        Raises:
            UsageError: TW3602, the log does not reach there.
        """
        return self._prove(lambda: tree.inclusion(self._node, seq, size), size=size, holds=seq)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The RFC 9162 proof that the log of the newer size begins with that of the older.

        Raises:
            UsageError: TW3602, the log does not reach there.
        """
        return self._prove(lambda: tree.consistency(self._node, old, new), size=new)

    def root_at(self, size: int) -> bytes:
        """The root that the log had when it had this many entries.

        Raises:
            UsageError: TW3602, the log does not reach there.
        """
        return self._prove(lambda: tree.root(self._node, size), size=size)

    def rows_proof(self, rows: Sequence[int], *, size: int) -> list[bytes]:
        """One proof that all these entries, ascending, are in the log of this size.

        Raises:
            UsageError: TW3602, the log does not reach there.
        """
        holds = max(rows, default=-1)
        return self._prove(lambda: tree.rows_proof(self._node, rows, size), size=size, holds=holds)

    def _prove(self, proof: Callable[[], _T], *, size: int, holds: int = -1) -> _T:
        with self._refusing():
            if size > self._count() or holds >= max(size, 1):
                raise _absent(f"the log does not reach to entry {max(size - 1, holds)}")
            return proof()

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()


def _absent(what: str) -> UsageError:
    return UsageError(
        f"the log cannot answer: {what}",
        code="TW3602",
        help="ask about the newest checkpoint, or let the log catch up and ask again",
    )


def _unusable(path: Path, why: str) -> LedgerError:
    return LedgerError(
        f"the log cannot be used: {why}",
        code="TW3601",
        at=str(path),
        help="stop, keep the file for inspection, and restore the log from its backup",
    )
