"""What a running node holds of its patients in memory, and how it lets go of one who is erased.

Rows keep their numbers while the process lives: masks, accounts and a run under way count by them.
So numbers are overwritten where they stand, the record number gives way to one that is nobody's,
and the next start does without the row. Whoever takes numbers of every patient, a run or a
measurement, says so (``Memory.reading``) and is told; a run is told between two of its steps.

Python cannot overwrite a text: its copies are dropped, and what is freed is overwritten
(``hospital_node.overwriting``). Nothing of it leaves.
"""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

import numpy as np

from hospital_node import erasures, watch
from twinward.errors import UsageError
from twinward.ids import RecordNumber
from twinward.rpc.messages_pb2 import Blob

if TYPE_CHECKING:
    from hospital_node.node import Node

_NOT_RUNNING = "TW1040"
_SECONDS = 120
"""A run may be in a long step, and is waited for."""


class Holder(Protocol):
    """Something that took numbers of every patient, one row each."""

    def forget(self, row: int) -> None:
        """Overwrite what is held of the patient in this row; waits for a step under way."""
        ...


class Memory:
    """Who holds numbers of patients in this process besides the patient table. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = WeakSet[Holder]()

    @contextmanager
    def reading(self, holder: Holder) -> Iterator[None]:
        """While the holder takes its numbers nobody is erased, and then it is told of everyone."""
        with self._lock:
            yield
            self._holders.add(holder)

    @contextmanager
    def erasing(self) -> Iterator[list[Holder]]:
        """Everyone who has to be told; nobody takes numbers meanwhile."""
        with self._lock:
            yield list(self._holders)


def let_go(folder: Path, name: bytes) -> bool:
    """Have the daemon of this folder let go of somebody who was erased; whether one is up.

    Args:
        folder: The node's folder.
        name: Under which the erasure was noted: no record number is sent.

    Raises:
        UsageError: TW1050 no node here, TW1041 its daemon does not answer.
    """
    question = Blob(data=json.dumps({"name": name.hex()}).encode())
    try:
        watch.ask(folder, lambda node: node.Forget(question, timeout=_SECONDS))
    except UsageError as error:
        if error.code != _NOT_RUNNING:
            raise
        return False
    return True


def serve(node: Node, question: bytes) -> dict[str, Any]:
    """Answer ``let_go``; called in the daemon."""
    forget(node, bytes.fromhex(json.loads(question)["name"]))
    return {}


def forget(node: Node, name: bytes) -> None:
    """Let go of whoever this name stands for; again changes nothing."""
    named = erasures.namer(node.identity)
    with node.memory.erasing() as holders:
        found = [record for record in node.rows if named(record) == name]
        for record in found:
            _overwrite(node, node.rows.pop(record), holders)
    del found[:]
    node.audit.log.bodies.reopen()
    gc.collect()


def _overwrite(node: Node, row: int, holders: list[Holder]) -> None:
    without = node.patients.without(row)
    for cohort in node.cohorts:
        cohort.forget(row, without.records)
    node.places[row] = np.nan  # in no part of any plan
    for holder in holders:
        holder.forget(row)
    node.patients = without


def rows_of(records: tuple[RecordNumber, ...]) -> dict[RecordNumber, int]:
    """Where each patient stands in the table."""
    return {record: row for row, record in enumerate(records)}
