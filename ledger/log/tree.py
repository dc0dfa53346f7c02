"""Building an RFC 9162 tree and proofs in it, whoever keeps the nodes.

Nodes are kept in the order in which they come to be: a leaf, then every subtree that it completes.
So a store only ever appends, and a node's place follows from its level and index alone
(https://www.rfc-editor.org/rfc/rfc9162#section-2.1; the order is that of Go's checksum database).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from ledger.verify import node_hash, split, tree_root

Read = Callable[[int], bytes]
"""The hash at a place."""


def place(level: int, index: int) -> int:
    """Where the hash of the ``index``-th complete subtree of 2^level entries is kept, from 0."""
    last = (index + 1 << level) - 1  # its last entry; the leaf of entry n is at 2n - popcount(n)
    return 2 * last - last.bit_count() + level


def places(size: int) -> int:
    """How many hashes a tree of this many entries keeps."""
    return 2 * size - size.bit_count()


class Peaks:
    """The right edge of a growing tree: all that appending needs."""

    def __init__(self, size: int, read: Read) -> None:
        self.size = size
        self._hashes = [read(place(level, index)) for level, index in _complete(0, size)]

    def add(self, leaf: bytes) -> Iterator[bytes]:
        """Append an entry by its leaf hash; gives the hashes to keep, in the order of places."""
        yield leaf
        self._hashes.append(leaf)
        self.size += 1
        for _ in range((self.size & -self.size).bit_length() - 1):
            right = self._hashes.pop()
            self._hashes[-1] = node_hash(self._hashes[-1], right)
            yield self._hashes[-1]

    @property
    def root(self) -> bytes:
        """The root over all entries."""
        return _folded(self._hashes)


def root(read: Read, size: int) -> bytes:
    """The root that the tree had when it had this many entries."""
    return subtree(read, 0, size)


def subtree(read: Read, start: int, end: int) -> bytes:
    """The hash over entries ``start`` to ``end`` (not included), a subtree of some tree."""
    return _folded([read(place(level, index)) for level, index in _complete(start, end)])


def inclusion(read: Read, index: int, size: int) -> list[bytes]:
    """The proof that an entry is in the tree of this size: siblings from the leaf upwards."""
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + split(end - start)
        if index < middle:
            path.append(subtree(read, middle, end))
            end = middle
        else:
            path.append(subtree(read, start, middle))
            start = middle
    return path[::-1]


def consistency(read: Read, old: int, new: int) -> list[bytes]:
    """The proof that the tree of the newer size begins with the one of the older."""
    if not 0 < old < new:
        return []
    start, end, path = 0, new, []
    while old != end:
        middle = start + split(end - start)
        if old <= middle:
            path.append(subtree(read, middle, end))
            end = middle
        else:
            path.append(subtree(read, start, middle))
            start = middle
    if start:  # otherwise it is the older root itself, which the verifier holds
        path.append(subtree(read, start, end))
    return path[::-1]


def rows_proof(read: Read, rows: Sequence[int], size: int) -> list[bytes]:
    """One proof for many entries: the subtrees without any of them, from left to right.

    Args:
        read: Where the tree's hashes are.
        rows: Numbers of the entries, ascending.
        size: Entries in the tree.
    """
    nodes: list[bytes] = []

    def walk(start: int, end: int, first: int, last: int) -> None:
        if first == last:
            nodes.append(subtree(read, start, end))
        elif last - first < end - start:
            middle = start + split(end - start)
            cut = bisect_left(rows, middle, first, last)
            walk(start, middle, first, cut)
            walk(middle, end, cut, last)

    if size:
        walk(0, size, 0, len(rows))
    return nodes


def _complete(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The largest complete subtrees that make up a range, from left to right."""
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        yield level, start >> level
        start += 1 << level


def _folded(hashes: Sequence[bytes]) -> bytes:
    if not hashes:
        return tree_root(())
    found = hashes[-1]
    for left in reversed(hashes[:-1]):
        found = node_hash(left, found)
    return found
