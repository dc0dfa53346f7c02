"""Checking a log's file against itself: every row is derived again from the entries.

Entries alone are evidence; hashes, topics, map and sealed states follow from them. So any changed
byte of any row is found: in an entry by its hash, anywhere else by the entries. Who changed the
entries and all that follows from them is found by the checkpoints that others hold.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ledger import verify
from ledger.log import entry, topics, tree
from ledger.log.store import SEALS_KEPT

_EMPTY = bytes(32)
_BUCKETS = 1 << verify.MAP_DEPTH


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that does not follow from the entries: its table, its key, what is wrong."""

    table: str
    key: str
    what: str


def problems(path: Path, *, origin: str) -> Iterator[Problem]:
    """What is wrong with the file of a log, row by row; nothing if all is well.

    Reads only, and may run while the log is written: it sees one state. Entries are held one at a
    time, topics all at once.
    """
    uri = f"{path.resolve().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as db:
            db.execute("begin")
            yield from _Check(db).run(origin)
    except sqlite3.Error as error:
        yield Problem("file", path.name, str(error))


class _Check:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._peaks = tree.Peaks(0, lambda _: _EMPTY)
        self._places = 0
        self._versions: dict[int, dict[int, bytes]] = {}
        self._tips: dict[bytes, topics.Tip] = {}
        self._buckets: dict[int, dict[bytes, topics.Tip]] = {}
        self._map: dict[int, bytes] = {}
        self._changed: set[int] = set()

    def run(self, origin: str) -> Iterator[Problem]:
        if self._db.execute("select one, origin from log").fetchall() != [(1, origin)]:
            yield Problem("log", "1", "it is the log of somebody else")
        for (name,) in self._db.execute("pragma integrity_check"):
            if name != "ok":
                yield Problem("file", "", str(name)[:200])
        for node, size, found in self._db.execute("select node, size, hash from map"):
            self._versions.setdefault(size, {})[node] = found
        sizes = [size for (size,) in self._db.execute("select size from seals order by size")]
        self._kept_from = sizes[-SEALS_KEPT:][0] if sizes else 0
        sealed = self._db.execute("select size, root, topics from seals order by size")
        seal = sealed.fetchone()
        kept = self._db.execute("select place, hash from nodes order by place")
        for number, (seq, leaf) in enumerate(
            self._db.execute("select seq, leaf from leaves order by seq")
        ):
            while seal is not None and seal[0] <= number:
                yield from self._sealed(*seal)
                seal = sealed.fetchone()
            yield from self._entry(number, seq, leaf, kept)
        while seal is not None:
            yield from self._sealed(*seal)
            seal = sealed.fetchone()
        yield from self._rest(kept)

    def _entry(self, number: int, seq: int, leaf: bytes, kept: sqlite3.Cursor) -> Iterator[Problem]:
        hashed = verify.leaf_hash(leaf)
        for expected in self._peaks.add(hashed):
            if kept.fetchone() != (self._places, expected):
                yield Problem("nodes", str(self._places), f"it is not the hash for entry {number}")
                if expected == hashed:  # one of the two was changed
                    yield Problem("leaves", str(number), "its hash is another one")
            self._places += 1
        try:
            draft, links, at = _parsed(leaf)
            sound = at == seq == number and entry.encode(draft, seq=at, links=links) == leaf
        except Exception as error:  # noqa: BLE001 - whatever the bytes are, it is not an entry
            yield Problem("leaves", str(number), f"it is no entry ({type(error).__name__})")
            return
        if not sound:
            yield Problem("leaves", str(number), "it is not the only spelling, or out of place")
        for topic, link in zip(draft.topics, links, strict=True):
            key = verify.topic_key(topic)
            last = self._tips.get(key, topics.Tip(0, 0, b""))
            if link != (last.n + 1, last.hash):
                yield Problem("leaves", str(number), f"it does not follow the last of `{topic}`")
            tip = topics.Tip(last.n + 1, number, hashed)
            self._tips[key] = tip
            bucket = verify.bucket_of(key)
            self._buckets.setdefault(bucket, {})[key] = tip
            self._changed.add(bucket)
            step = self._db.execute("select seq from steps where key = ? and n = ?", (key, tip.n))
            if step.fetchone() != (number,):
                yield Problem("steps", f"{key.hex()} {tip.n}", f"it is not entry {number}")

    def _sealed(self, size: int, root: bytes, map_root: bytes) -> Iterator[Problem]:
        if size != self._peaks.size or root != self._peaks.root:
            yield Problem("seals", str(size), "the root is not the one of the entries")
        level = {_BUCKETS + bucket for bucket in self._changed}
        for node in level:
            tips = sorted(self._buckets[node - _BUCKETS].items())
            self._map[node] = verify.bucket_hash([(k, tip.n, tip.hash) for k, tip in tips])
        versions = self._versions.pop(size, {})
        while level:
            for node in level:
                found = versions.pop(node, None)
                pruned = found is None and size < self._kept_from
                if found != self._map[node] and not pruned:
                    yield Problem("map", f"{node} {size}", "it is not the hash of its topics")
            level = {node >> 1 for node in level if node > 1}
            for node in level:
                left, right = (self._map.get(2 * node + side, _EMPTY) for side in (0, 1))
                self._map[node] = verify.map_node(left, right)
        for node in versions:
            yield Problem("map", f"{node} {size}", "nothing changed there")
        if self._map.get(1, _EMPTY) != map_root:
            yield Problem("seals", str(size), "the map is not the one of the entries")
        self._changed.clear()

    def _rest(self, kept: sqlite3.Cursor) -> Iterator[Problem]:
        """Rows that nothing calls for, and the newest of what there are several of."""
        for place, _ in kept:
            yield Problem("nodes", str(place), "there is no entry that it belongs to")
        for key, n, seq, last in self._db.execute("select key, n, seq, hash from tips"):
            if self._tips.pop(key, None) != topics.Tip(n, seq, last):
                yield Problem("tips", key.hex(), "it is not the last entry of the topic")
        for key in self._tips:
            yield Problem("tips", key.hex(), "it is missing")
        surplus = self._db.execute(
            "select steps.key, steps.n from steps left join tips using (key)"
            " where tips.n is null or steps.n > tips.n"
        )
        for key, n in surplus:
            yield Problem("steps", f"{key.hex()} {n}", "there is no entry that it belongs to")
        for size, versions in self._versions.items():
            for node in versions:
                yield Problem("map", f"{node} {size}", "nothing was sealed then")


def _parsed(leaf: bytes) -> tuple[entry.Draft, list[tuple[int, bytes]], int]:
    value = entry.read(leaf)
    draft = entry.Draft(
        value["kind"],
        tuple(link["topic"] for link in value["topics"]),
        value["time"],
        bytes.fromhex(value["commitment"]),
    )
    return (
        draft,
        [(link["n"], bytes.fromhex(link["prev"])) for link in value["topics"]],
        value["seq"],
    )
