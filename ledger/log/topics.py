"""The map of topics of a log: how many entries each has and which is the last, under one root.

A binary tree of fixed depth over 65,536 buckets by the first 16 bits of a topic's key; a bucket is
a sorted list. So that a topic has no entries is seen as plainly as how many it has. Nodes are kept
with the size of the log at which they were sealed: older sealed states can still be proved against.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger import verify

TABLES = """
create table tips (
  key blob primary key, n integer not null, seq integer not null, hash blob not null
) without rowid;
create table steps (
  key blob not null, n integer not null, seq integer not null, primary key (key, n)
) without rowid;
create table map (
  node integer not null, size integer not null, hash blob not null, primary key (node, size)
) without rowid
"""
"""``tips``: each topic's last entry; ``steps``: all its entries; ``map``: nodes, root 1, the
children of ``i`` being ``2i`` and ``2i + 1``."""

_BUCKETS = 1 << verify.MAP_DEPTH
_EMPTY = bytes(32)


@dataclass(frozen=True, slots=True)
class Tip:
    """A topic's last entry; ``n`` is how many it has."""

    n: int
    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class TopicProof:
    """Where the map of a sealed state holds a topic, or that it does not.

    Attributes:
        topic: Its name.
        bucket: All topics of its bucket, ascending by key: the topic's own count is among them,
            or it has no entries.
        siblings: From the bucket to the root.
    """

    topic: str
    bucket: tuple[verify.TopicTip, ...]
    siblings: tuple[bytes, ...]

    @property
    def count(self) -> int:
        """How many entries the topic has."""
        key = verify.topic_key(self.topic)
        return next((n for found, n, _ in self.bucket if found == key), 0)


class TopicMap:
    """The map in the tables of a log. The log's lock and transactions are around every call."""

    def __init__(self, db: sqlite3.Connection, *, sealed: int) -> None:
        """Go on from a log of which ``sealed`` entries were sealed."""
        self._db = db
        self._nodes: dict[int, bytes] = dict(
            db.execute("select node, hash from map order by node, size")
        )
        changed = db.execute(
            "select distinct substr(key, 1, 2) from tips where seq >= ?", (sealed,)
        )
        self._changed = {verify.bucket_of(prefix) for (prefix,) in changed}

    def tips(self, keys: Sequence[bytes]) -> dict[bytes, Tip]:
        """The last entries of those of these topics that have any."""
        found = {}
        for start in range(0, len(keys), 500):
            some = keys[start : start + 500]
            marks = ",".join("?" * len(some))
            rows = self._db.execute(
                f"select key, n, seq, hash from tips where key in ({marks})",  # noqa: S608 - marks
                some,
            )
            found.update({key: Tip(n, seq, last) for key, n, seq, last in rows})
        return found

    def move(self, tips: Mapping[bytes, Tip], steps: list[tuple[bytes, int, int]]) -> None:
        """Write new last entries, and all new ones as key, number in the topic and in the log."""
        self._changed.update(map(verify.bucket_of, tips))
        write = self._db.executemany
        write("insert into steps values (?, ?, ?)", sorted(steps))
        write(
            "insert or replace into tips values (?, ?, ?, ?)",
            ((key, tip.n, tip.seq, tip.hash) for key, tip in sorted(tips.items())),
        )

    def seal(self, size: int, *, oldest: int | None) -> bytes:
        """Hash what changed; returns the root.

        Args:
            size: Entries of the log now.
            oldest: The oldest sealed state that is kept; older versions of what changed go.
        """
        level, written = {_BUCKETS + bucket for bucket in self._changed}, list[int]()
        for node in level:
            self._nodes[node] = verify.bucket_hash(self._bucket(node - _BUCKETS))
        while level:
            written.extend(level)
            level = {node >> 1 for node in level if node > 1}
            for node in level:
                left, right = (self._nodes.get(2 * node + side, _EMPTY) for side in (0, 1))
                self._nodes[node] = verify.map_node(left, right)
        self._db.executemany(
            "insert or replace into map values (?, ?, ?)",
            ((node, size, self._nodes[node]) for node in sorted(written)),
        )
        if oldest is not None:
            self._db.executemany(
                "delete from map where node = ?1 and size <"
                " (select max(size) from map where node = ?1 and size <= ?2)",
                ((node, oldest) for node in written),
            )
        return self._nodes.get(1, _EMPTY)

    def sealed(self) -> None:
        """The seal is durable: nothing has changed since."""
        self._changed.clear()

    def _bucket(self, bucket: int) -> list[verify.TopicTip]:
        end = (bucket + 1).to_bytes(2) if bucket + 1 < _BUCKETS else b"\xff" * 33
        return self._db.execute(
            "select key, n, hash from tips where key >= ? and key < ? order by key",
            (bucket.to_bytes(2), end),
        ).fetchall()

    def entries(self, topic: str, *, size: int, after: int) -> list[int]:
        """Numbers of a topic's entries in the log of this size but its first ``after`` ones."""
        rows = self._db.execute(
            "select seq from steps where key = ? and n > ? and seq < ? order by n",
            (verify.topic_key(topic), after, size),
        )
        return [seq for (seq,) in rows]

    def prove(self, topic: str, *, size: int) -> TopicProof:
        """Where a sealed state, still kept, has this topic."""
        bucket = verify.bucket_of(verify.topic_key(topic))
        then = (self._then(key, n, last, size) for key, n, last in self._bucket(bucket))
        node, siblings = _BUCKETS + bucket, []
        while node > 1:
            row = self._db.execute(
                "select hash from map where node = ? and size <= ? order by size desc limit 1",
                (node ^ 1, size),
            ).fetchone()
            siblings.append(_EMPTY if row is None else row[0])
            node >>= 1
        return TopicProof(topic, tuple(tip for tip in then if tip), tuple(siblings))

    def _then(self, key: bytes, n: int, last: bytes, size: int) -> verify.TopicTip | None:
        """A topic's last entry as it was at this size; None if it had none yet."""
        row = self._db.execute(
            "select n, seq from steps where key = ? and seq < ? order by n desc limit 1",
            (key, size),
        ).fetchone()
        if row is None or row[0] == n:
            return row and (key, n, last)
        (leaf,) = self._db.execute("select leaf from leaves where seq = ?", row[1:]).fetchone()
        return key, row[0], verify.leaf_hash(leaf)
