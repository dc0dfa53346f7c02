"""What a cohort knows, kept over a restart: no signature is checked twice, no decision made twice.

Deciding on a million patients takes a minute, most of it signatures. What came out of it is kept in
one file under AES-256-GCM with a key of the node's secrets, together with everything that it rests
on: release, ledger, request, patient table, how far the vault and the mirror had come. Where any of
that is not as it was, less or nothing of it is used; a file with one byte changed is as good as
none. What changed since is decided on before the first mask. No record number stands in it.

Dying while it is written leaves the one before, or none. Nothing of it leaves; it can be deleted.
"""

from __future__ import annotations

import heapq
import json
from dataclasses import dataclass
from math import floor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from consent.policy import Moment
from hospital_node.sealing import Seal
from twinward.errors import ConsentError
from twinward.files import write_atomic

Rows = NDArray[np.int32]
Times = NDArray[np.int64]
Digests = NDArray[np.uint8]

DIGEST_BYTES = 32
_FORMAT = "twinward/cohort/v1"
_LENGTH = 8


class Timetable:
    """When time alone may change the decision on a row.

    What a file brought is one sorted table; what comes later is a heap beside it.
    """

    def __init__(self, times: Times | None = None, rows: Rows | None = None) -> None:
        """Start with times in ascending order and their rows, or with nothing."""
        self._times = np.empty(0, np.int64) if times is None else times
        self._rows = np.empty(0, np.int32) if rows is None else rows
        self._past = 0
        self._later: list[tuple[int, int]] = []

    def add(self, time: int, row: int) -> None:
        """The row is due at this time, Unix seconds."""
        heapq.heappush(self._later, (time, row))

    def due(self, moment: float) -> set[int]:
        """The rows that are due at this moment; each is told once."""
        # A whole number: with a fraction numpy would make a copy of the table.
        end = max(self._past, int(np.searchsorted(self._times, floor(moment), side="right")))
        found = set(self._rows[self._past : end].tolist())
        self._past = end
        while self._later and self._later[0][0] <= moment:
            found.add(heapq.heappop(self._later)[1])
        return found

    def ahead(self) -> tuple[Times, Rows]:
        """What is still to come, in ascending order."""
        later = np.array(self._later, np.int64).reshape(-1, 2)
        times = np.concatenate([self._times[self._past :], later[:, 0]])
        rows = np.concatenate([self._rows[self._past :], later[:, 1].astype(np.int32)])
        order = np.argsort(times, kind="stable")
        return times[order], rows[order]


@dataclass(frozen=True, slots=True)
class Basis:
    """What checked signatures, and what decisions rest on; compared as a whole.

    Attributes:
        release: Which code is installed.
        ledger: The ledger and contract that grants are signed for.
        request: What the plan asks at this hospital.
        table: Which patients stand in which row.
    """

    release: str
    ledger: str
    request: str
    table: str


@dataclass(frozen=True, slots=True)
class Position:
    """Up to where changes are in the mask: number and tag here, block and running hash there."""

    change: int
    tag: bytes
    block: int
    head: bytes


@dataclass(frozen=True, slots=True)
class Known:
    """All that one cohort knows, row by row of its patient table.

    Attributes:
        basis: What it rests on.
        position: Up to where changes are in it.
        moment: The latest clocks that were looked at.
        shares: How much of their data may be used: `hospital_node.cohort`.
        checked: Digest of the grant whose signature was checked; zeros if there is none.
        starts: Times at which a no may become a yes, in ascending order, with their rows.
        ends: Times at which a yes may become a no.
    """

    basis: Basis
    position: Position
    moment: Moment
    shares: NDArray[np.uint8]
    checked: Digests
    starts: tuple[Times, Rows]
    ends: tuple[Times, Rows]


class Snapshot:
    """One file for one study.

    Args:
        path: The file; made readable by its owner only.
        key: 32 secret bytes of the node that are not in the file's folder.
        release: Which code is installed; what another one knew is not used.
    """

    def __init__(self, path: Path, *, key: bytes, release: str) -> None:
        self.path = path
        self.release = release
        self._seal = Seal(key, purpose="cohort")

    def read(self) -> Known | None:
        """What was kept last; None if there is nothing.

        Raises:
            ConsentError: TW8642, the file was changed, or is of another key.
        """
        try:
            sealed = self.path.read_bytes()
        except FileNotFoundError:
            return None
        body = self._seal.open(sealed, b"", _FORMAT)
        if body is None:
            raise ConsentError(
                "what was known of a cohort was changed from outside",
                code="TW8642",
                at=str(self.path),
                help="nothing of it is used, everyone is decided on anew; find out who wrote there",
            )
        return _unpacked(body)

    def keep(self, known: Known) -> None:
        """Put this in place of what was kept; durable when it returns.

        Raises:
            OSError: It cannot be written; what was kept before stays.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(self.path, self._seal.seal(_packed(known), b"", _FORMAT), mode=0o600)


def _packed(known: Known) -> bytes:
    basis, position, moment = known.basis, known.position, known.moment
    head = {
        "basis": [basis.release, basis.ledger, basis.request, basis.table],
        "position": [position.change, position.tag.hex(), position.block, position.head.hex()],
        "moment": [moment.local, moment.chain],
        "rows": len(known.shares),
        "starts": len(known.starts[0]),
        "ends": len(known.ends[0]),
    }
    told = json.dumps(head).encode()
    parts = (
        len(told).to_bytes(_LENGTH),
        told,
        known.shares.tobytes(),
        known.checked.tobytes(),
        *(array.tobytes() for array in (*known.starts, *known.ends)),
    )
    return b"".join(parts)


def _unpacked(body: bytes) -> Known:
    at = 0

    def take(size: int) -> memoryview:
        nonlocal at
        at += size
        return memoryview(body)[at - size : at]

    head = json.loads(bytes(take(int.from_bytes(take(_LENGTH)))))
    rows = head["rows"]
    shares = np.frombuffer(take(rows), np.uint8)
    checked = np.frombuffer(take(rows * DIGEST_BYTES), np.uint8).reshape(rows, DIGEST_BYTES)

    def table(count: int) -> tuple[Times, Rows]:
        # A copy stands where words begin: numpy would make one at each search otherwise.
        times = np.frombuffer(take(8 * count), np.int64).copy()
        return times, np.frombuffer(take(4 * count), np.int32)

    change, tag, block, running = head["position"]
    return Known(
        basis=Basis(*head["basis"]),
        position=Position(change, bytes.fromhex(tag), block, bytes.fromhex(running)),
        moment=Moment(*head["moment"]),
        shares=shares,
        checked=checked.copy(),  # it goes on being written
        starts=table(head["starts"]),
        ends=table(head["ends"]),
    )
