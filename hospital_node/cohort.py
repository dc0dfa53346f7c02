"""Who may be used in this step: the one place where consent meets the patient table.

    cohort = records whose grant is on the ledger
             and whose patient signature this process itself verified,
             minus every withdrawal known here or on the ledger

Each patient's share says how much of the study's data may be read (`hospital_node.shares`). Kept
incrementally: a step costs what changed since the last one, whatever the size of the table.
Narrowing needs no block: a withdrawal that is on disk is out of the next mask. Every mask first
requires a fresh and complete mirror; without it there is no mask at all. Nothing leaves from here.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from consent.kept import KeptGrant
from consent.policy import Decision, Moment, Permission, Request, Slot, decide, ends, starts
from consent.record import Domain
from consent.register import Register
from consent.standing import NOTHING_KNOWN, Standing
from consent.vault import Vault
from hospital_node.cohort_snapshot import (
    DIGEST_BYTES,
    Basis,
    Known,
    Position,
    Snapshot,
    Timetable,
)
from hospital_node.shares import NOTHING, Mask, Permitted, Shares, share_of
from twinward.clock import Clock
from twinward.errors import ConsentError, DataError
from twinward.ids import RecordNumber
from twinward.logging import log


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


SAVE_EVERY = 20_000
"""Decisions after which what is known is written down again: a second of work, if it were lost."""
_NOTED_AT_ONCE = 10_000
_HELD_AT_ONCE = 200
"""Rows for which the vault is held: who withdraws meanwhile waits some milliseconds."""


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
        snapshot: Where what is known is kept over a restart; None: nowhere.

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
        snapshot: Snapshot | None = None,
    ) -> None:
        self._vault = vault
        self._register = Register(vault)
        self._ledger = ledger
        self._request = request
        self._domain = domain
        self._clock = clock
        self._confirm = confirm
        self._note = note
        self._decided: list[Decided] = []
        self._records = records
        self._row = {record: row for row, record in enumerate(records)}
        if len(self._row) != len(records):
            raise DataError(
                "a patient stands in the patient table more than once",
                code="TW3040",
                help="merge the rows of that patient; a patient counts once",
            )
        self._lock = threading.Lock()
        self._permitted = Permitted.of(np.zeros(len(records), dtype=np.uint8))
        self._checked = np.zeros((len(records), DIGEST_BYTES), dtype=np.uint8)
        self._checked_before: frozenset[bytes] = frozenset()
        self._starts, self._ends = Timetable(), Timetable()
        self._moment = Moment(local=0.0, chain=0.0)
        self._position: Position | None = None
        self._snapshot = snapshot
        self._has_begun = False
        self._unsaved = 0

    def mask(self) -> Mask:
        """True where the patient may be used now; a read-only snapshot, never changed later.

        Raises:
            ConsentError: TW3101 stale mirror, TW3102 mirror that does not match the ledger.
        """
        return self.permitted()[0]

    def permitted(self) -> tuple[Mask, Shares]:
        """The mask, and each patient's share at the same moment; both read-only snapshots.

        Raises:
            ConsentError: As `mask`.
        """
        with self._lock:
            self._advance(chain=self._confirm())
            permitted = self._permitted
        if self._unsaved >= SAVE_EVERY:
            self.save()
        return permitted.mask, permitted.shares

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
            permission, standing = self._known(kept), self._register.standing(record)
            return decide(permission, self._request, at=self._moment, standing=standing)

    def forget(self, row: int, records: Sequence[RecordNumber]) -> None:
        """Hold nothing any more of whom a row was about: never again in a mask.

        Args:
            row: The row; it keeps its number.
            records: The record numbers from now on, with one that is nobody's in this row.
        """
        with self._lock:
            self._row.pop(self._records[row], None)
            self._row[records[row]] = row
            self._records = records
            self._checked[row] = 0
            self._decided = []
            self._permitted = self._permitted.changed({row: NOTHING})

    def save(self) -> None:
        """Keep what is known for the next process, which can do without."""
        with self._lock:
            if self._snapshot is None or self._position is None or not self._unsaved:
                return
            try:
                self._snapshot.keep(
                    Known(
                        basis=self._basis(self._snapshot),
                        position=self._position,
                        moment=self._moment,
                        shares=self._permitted.shares,
                        checked=self._checked,
                        starts=self._starts.ahead(),
                        ends=self._ends.ahead(),
                    )
                )
                self._unsaved = 0
            except OSError as error:
                log().warning("cohort not kept", code="TW8643", error=type(error).__name__)

    def _advance(self, *, chain: float) -> None:
        """Bring the mask up to now. Positions are read before what they bound, never after."""
        # Neither clock ever runs backwards here, so what has expired stays expired.
        self._moment = Moment(
            local=max(self._clock.now(), self._moment.local),
            chain=max(chain, self._moment.chain),
        )
        since, self._position = self._position, None  # an error on the way means: start again
        self._decided = []
        now = self._now()
        if not self._has_begun:
            self._has_begun, since = True, self._take_up(now)
        if since is None or since.head != self._ledger.head_at(since.block):
            self._rebuild()
        else:
            with self._vault.store.held():
                dirty = self._dirty(since)
            self._apply(dirty)
        for some in range(0, len(self._decided), _NOTED_AT_ONCE):
            self._note(self._decided[some : some + _NOTED_AT_ONCE])
        self._position = now
        self._unsaved += len(self._decided)

    def _now(self) -> Position:
        block, change = self._ledger.block, self._vault.last_change()
        tag = self._vault.change_tag(change) or b""
        return Position(change, tag, block, self._ledger.head_at(block))

    def _basis(self, snapshot: Snapshot) -> Basis:
        asked = self._request
        return Basis(
            release=snapshot.release,
            ledger=self._domain.separator.hex(),
            request=repr((replace(asked, grades=frozenset()), sorted(asked.grades))),
            table=hashlib.sha256("\0".join(self._records).encode()).hexdigest(),
        )

    def _take_up(self, now: Position) -> Position | None:
        """Go on where the last process was, as far as what it left still stands."""
        if self._snapshot is None:
            return None
        try:
            known = self._snapshot.read()
        except ConsentError as error:
            log().warning("cohort not believed", code=error.code, reason=error.diagnostic.message)
            return None
        basis = self._basis(self._snapshot)
        if known is None or known.basis.release != basis.release:
            return None
        if known.basis.ledger != basis.ledger:
            return None
        then = known.position
        stands = (
            known.basis == basis
            and then.change <= now.change
            and then.block <= now.block
            and (self._vault.change_tag(then.change) or b"") == then.tag
            and then.head == self._ledger.head_at(then.block)
            and known.moment.local <= self._moment.local
            and known.moment.chain <= self._moment.chain
        )
        if not stands:  # a signature that held then holds now, whoever may be used
            self._checked_before = frozenset(map(bytes, known.checked))
            return None
        self._permitted, self._checked = Permitted.of(known.shares), known.checked
        self._starts, self._ends = Timetable(*known.starts), Timetable(*known.ends)
        return then

    def _rebuild(self) -> None:
        """Decide on everyone: at the start, and when the mirror was fetched anew."""
        shares = np.zeros(len(self._row), dtype=np.uint8)
        self._starts, self._ends = Timetable(), Timetable()
        standings = self._register.standings()
        for kept in self._vault.newest_of_all(self._request.study):
            if kept.record in self._row:
                standing = standings.get(kept.record, NOTHING_KNOWN)
                shares[self._row[kept.record]] = self._decide_and_watch(kept, standing)
        self._permitted = Permitted.of(shares)
        self._checked_before = frozenset()

    def _dirty(self, since: Position) -> set[int]:
        """Rows on which something may have changed, by anybody's doing or by time."""
        study = self._request.study
        changed = set(self._vault.changed_records(study, after=since.change))
        for slot in self._ledger.changes(since.block):
            if slot.study == study and (record := self._vault.record_of(study, slot.subject)):
                changed.add(record)
        dirty = {self._row[record] for record in changed if record in self._row}
        strangers = {record for record in changed if record not in self._row}
        if strangers:  # of somebody who was erased only the grants lead to the row
            dirty |= self._rows_of(self._vault.digests_of(study, strangers))
        dirty |= self._starts.due(self._moment.earliest)
        dirty |= self._ends.due(self._moment.latest)
        return dirty

    def _rows_of(self, digests: Iterable[bytes]) -> set[int]:
        found = set(digests)
        wanted = np.frombuffer(b"".join(digest[:8] for digest in found), np.uint64)
        first = np.ascontiguousarray(self._checked[:, :8]).view(np.uint64)[:, 0]
        rows = np.flatnonzero(np.isin(first, wanted)).tolist()
        return {row for row in rows if self._checked[row].tobytes() in found}

    def _apply(self, dirty: Iterable[int]) -> None:
        decided, rows = dict[int, int](), list(dirty)
        for some in range(0, len(rows), _HELD_AT_ONCE):
            with self._vault.store.held():
                for row in rows[some : some + _HELD_AT_ONCE]:
                    decided[row] = self._decide_on(row)
        self._permitted = self._permitted.changed(decided)

    def _decide_on(self, row: int) -> int:
        record = self._records[row]
        kept = self._vault.newest(self._request.study, record)
        if kept is None:  # erased
            self._checked[row] = 0
            return NOTHING
        return self._decide_and_watch(kept, self._register.standing(record))

    def _decide_and_watch(self, kept: KeptGrant, standing: Standing) -> int:
        permission, row = self._known(kept), self._row[kept.record]
        decision = decide(permission, self._request, at=self._moment, standing=standing)
        self._decided.append(Decided(kept.record, kept.digest, decision))
        for start in starts(permission, standing):
            if start > self._moment.earliest:
                self._starts.add(start, row)
        for end in ends(permission, standing):
            if end > self._moment.latest:
                self._ends.add(end, row)
        return share_of(decision)

    def _known(self, kept: KeptGrant) -> Permission:
        return kept.permission(
            self._ledger.slot(self._request.study, kept.subject),
            verified=self._has_signed(self._row[kept.record], kept),
            mandate=self._register.mandate(kept.mandate),
        )

    def _has_signed(self, row: int, kept: KeptGrant) -> bool:
        """Verify each signature once; the digest binds what was verified."""
        known = self._checked[row].tobytes() == kept.digest or kept.digest in self._checked_before
        holds = (
            kept.grant.digest(self._domain) == kept.digest if known else kept.verified(self._domain)
        )
        if holds:
            self._checked[row] = np.frombuffer(kept.digest, np.uint8)
        return holds
