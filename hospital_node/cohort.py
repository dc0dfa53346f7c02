"""Who may be used in this step: the one place where consent meets the patient table.

    cohort = records whose grant is on the ledger
             and whose patient signature this process itself verified,
             minus every withdrawal known here or on the ledger

Kept incrementally: a step costs what changed since the last one, whatever the size of the table.
Narrowing needs no block: a withdrawal that is on disk is out of the next mask. Every mask first
requires a fresh and complete mirror; without it there is no mask at all. Nothing leaves from here.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from consent.kept import KeptGrant
from consent.policy import Decision, Moment, Permission, Request, Slot, decide, ends, starts
from consent.record import Domain
from consent.register import Register
from consent.standing import NOTHING_KNOWN, Standing
from consent.vault import Vault
from twinward.clock import Clock
from twinward.errors import ConsentError, DataError
from twinward.ids import RecordNumber

Mask = NDArray[np.bool_]


class Changed(Slot, Protocol):
    """A slot of the ledger with whose it is."""

    @property
    def study(self) -> bytes:
        """The study's number on the ledger."""
        ...

    @property
    def subject(self) -> bytes:
        """The patient's account for that study."""
        ...


class LedgerView(Protocol):
    """What a cohort reads of `ledger.mirror.Mirror`."""

    @property
    def block(self) -> int:
        """Number of the last block in the mirror."""
        ...

    def head_at(self, block: int) -> bytes:
        """Running hash over every change up to this block."""
        ...

    def slot(self, study: bytes, subject: bytes) -> Slot | None:
        """What the ledger says of a subject."""
        ...

    def changes(self, after_block: int) -> Sequence[Changed]:
        """The subjects that changed after a block, with their current slots."""
        ...


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision on one patient, and the digest of the grant that it is about."""

    record: RecordNumber
    consent: bytes
    decision: Decision


def _unnoted(decisions: Sequence[Decided]) -> None:
    """Decisions of a cohort that trains nobody: tests and benchmarks."""


@dataclass(frozen=True, slots=True)
class _Position:
    """Up to where changes are in the mask: change number here, block and running hash there."""

    change: int
    block: int
    head: bytes


class Cohort:
    """The patients of one study who may be used now, as a mask over the node's patient table.

    Args:
        vault: The hospital's signed grants and withdrawals.
        ledger: The local mirror of the ledger.
        records: Record numbers in the order of the patient table.
        request: What the plan asks at this hospital.
        domain: The ledger and contract that grants must be signed for.
        clock: Local time.
        confirm: Requires a fresh and complete mirror (`Mirror.check`) and returns the time of the
            confirmed block, Unix seconds. Called before each mask; what it raises is passed on.
        note: Is given the decisions that were made, before the mask that follows from them; what
            it raises is passed on, and there is no mask.

    Raises:
        DataError: TW3040, a record number stands in the table twice.
    """

    def __init__(
        self,
        vault: Vault,
        ledger: LedgerView,
        *,
        records: Sequence[RecordNumber],
        request: Request,
        domain: Domain,
        clock: Clock,
        confirm: Callable[[], float],
        note: Callable[[Sequence[Decided]], None] = _unnoted,
    ) -> None:
        self._vault = vault
        self._register = Register(vault)
        self._standings: dict[RecordNumber, Standing] = {}
        self._ledger = ledger
        self._request = request
        self._domain = domain
        self._clock = clock
        self._confirm = confirm
        self._note = note
        self._decided: list[Decided] = []
        self._row = {record: row for row, record in enumerate(records)}
        if len(self._row) != len(records):
            raise DataError(
                "a patient stands in the patient table more than once",
                code="TW3040",
                help="merge the rows of that patient; a patient counts once",
            )
        self._lock = threading.Lock()
        self._mask = np.zeros(len(records), dtype=np.bool_)
        self._verified: dict[int, bytes] = {}
        self._starts: list[tuple[int, RecordNumber]] = []
        self._ends: list[tuple[int, RecordNumber]] = []
        self._moment = Moment(local=0.0, chain=0.0)
        self._position: _Position | None = None

    def mask(self) -> Mask:
        """True where the patient may be used now; a read-only snapshot, never changed later.

        Raises:
            ConsentError: TW3101 stale mirror, TW3102 mirror that does not match the ledger.
        """
        with self._lock:
            self._advance(chain=self._confirm())
            return self._mask

    def explain(self, record: RecordNumber) -> Decision:
        """Whether this patient may be used, and by which rule; stays at the node.

        Raises:
            ConsentError: TW3041, not a patient of this node; TW3101, TW3102 as for `mask`.
        """
        if record not in self._row:
            raise ConsentError(
                "this record number is not in the patient table",
                code="TW3041",
                help="check the number; import the patient's record first",
            )
        with self._lock:
            self._advance(chain=self._confirm())
            kept = self._vault.newest(self._request.study, record)
            if kept is None:
                return decide(None, self._request, at=self._moment)
            permission, standing = self._known(kept)
            return decide(permission, self._request, at=self._moment, standing=standing)

    def _advance(self, *, chain: float) -> None:
        """Bring the mask up to now. Positions are read before what they bound, never after."""
        # Neither clock ever runs backwards here, so what has expired stays expired.
        self._moment = Moment(
            local=max(self._clock.now(), self._moment.local),
            chain=max(chain, self._moment.chain),
        )
        since, self._position = self._position, None  # an error on the way means: start again
        self._decided = []
        block = self._ledger.block
        now = _Position(self._vault.last_change(), block, self._ledger.head_at(block))
        if since is None or since.head != self._ledger.head_at(since.block):
            self._rebuild()
        else:
            self._apply(self._dirty(since))
        if self._decided:
            self._note(self._decided)
        self._position = now

    def _rebuild(self) -> None:
        """Decide on everyone: at the start, and when the mirror was fetched anew."""
        mask = np.zeros(len(self._row), dtype=np.bool_)
        self._starts, self._ends = [], []
        self._standings = self._register.standings()
        for kept in self._vault.newest_of_all(self._request.study):
            if kept.record in self._row:
                mask[self._row[kept.record]] = self._decide_and_watch(kept)
        mask.setflags(write=False)
        self._mask = mask

    def _dirty(self, since: _Position) -> set[RecordNumber]:
        study = self._request.study
        dirty = set(self._vault.changed_records(study, after=since.change))
        for slot in self._ledger.changes(since.block):
            if slot.study == study and (record := self._vault.record_of(study, slot.subject)):
                dirty.add(record)
        dirty.update(_due(self._starts, self._moment.earliest))
        dirty.update(_due(self._ends, self._moment.latest))
        return dirty & self._row.keys()

    def _apply(self, dirty: Iterable[RecordNumber]) -> None:
        study = self._request.study
        permits = {}
        for record in dirty:
            self._standings[record] = self._register.standing(record)
            kept = self._vault.newest(study, record)
            permits[self._row[record]] = kept is not None and self._decide_and_watch(kept)
        changed = {row: permit for row, permit in permits.items() if self._mask[row] != permit}
        if changed:
            mask = self._mask.copy()
            mask[list(changed)] = list(changed.values())
            mask.setflags(write=False)
            self._mask = mask

    def _decide_and_watch(self, kept: KeptGrant) -> bool:
        permission, standing = self._known(kept)
        decision = decide(permission, self._request, at=self._moment, standing=standing)
        self._decided.append(Decided(kept.record, kept.digest, decision))
        for start in starts(permission, standing):
            if start > self._moment.earliest:
                heapq.heappush(self._starts, (start, kept.record))
        for end in ends(permission, standing):
            if end > self._moment.latest:
                heapq.heappush(self._ends, (end, kept.record))
        return decision.permit

    def _known(self, kept: KeptGrant) -> tuple[Permission, Standing]:
        permission = kept.permission(
            self._ledger.slot(self._request.study, kept.subject),
            verified=self._has_signed(self._row[kept.record], kept),
            mandate=self._register.mandate(kept.mandate),
        )
        return permission, self._standings.get(kept.record, NOTHING_KNOWN)

    def _has_signed(self, row: int, kept: KeptGrant) -> bool:
        """Verify each signature once per process; the digest binds what was verified."""
        if self._verified.get(row) == kept.digest:
            return kept.grant.digest(self._domain) == kept.digest
        if kept.verified(self._domain):
            self._verified[row] = kept.digest
            return True
        return False


def _due(heap: list[tuple[int, RecordNumber]], moment: float) -> Iterable[RecordNumber]:
    while heap and heap[0][0] <= moment:
        yield heapq.heappop(heap)[1]
