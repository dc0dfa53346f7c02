"""One book, one process: the ledger tells a copy, a clone and an old backup from the real one.

At its start a node compares its book with the ledger, run by run, and takes the next fencing number
of its account (``Provenance.raiseFence``). A process that finds a higher number than its own is no
longer the node and stops; so of two clones at most the newest goes on.

If the process dies
    after writing that it will ask, before asking: the next start asks again;
    after the ledger gave a number, before it is in the book: the next start may find one number
        more than in its book, and no other more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hospital_node.privacy.book import BudgetBook
from ledger.provenance import Reservation
from twinward.errors import BudgetError
from twinward.ids import RunId


class FencedLedger(Protocol):
    """What is asked of ``ledger.chain.Chain``."""

    @property
    def account(self) -> str:
        """The node's own account."""
        ...

    def fence(self, account: str) -> int:
        """The number of an account's newest process; 0 before the first."""
        ...

    def raise_fence(self) -> int:
        """Take the next number."""
        ...

    def spent_by(self, account: str) -> int:
        """All that an account ever reserved, in millionths of mu^2."""
        ...

    def reservation(self, account: str, run: bytes) -> Reservation | None:
        """What an account reserved for a run."""
        ...


@dataclass(frozen=True, slots=True)
class Fence:
    """The number of this process. Hold it as long as the process may train."""

    number: int
    _ledger: FencedLedger

    @classmethod
    def take(cls, book: BudgetBook, ledger: FencedLedger) -> Fence:
        """Begin as the newest process of this node; one transaction on the ledger.

        Raises:
            BudgetError: TW4105, the ledger has reservations that this book has not; TW4310,
                another process has begun with another copy of this book.
            LedgerError: The ledger does not answer; nothing may be trained then.
        """
        found = compare(book, ledger)
        book.set_fence(found, raising=True)
        taken = ledger.raise_fence()
        if taken != found + 1:
            raise _fenced_off(taken, found + 1)
        book.set_fence(taken, raising=False)
        return cls(taken, ledger)

    def require_newest(self) -> None:
        """Require that no other process of this node has begun; ask it before every run.

        Raises:
            BudgetError: TW4310.
            LedgerError: The ledger does not answer; nothing may be trained then.
        """
        _require(self._ledger, {self.number})


def compare(book: BudgetBook, ledger: FencedLedger) -> int:
    """Require that this book is the newest and complete; the number on the ledger. Takes nothing.

    Raises:
        BudgetError: TW4105, TW4310, as ``Fence.take``.
        LedgerError: The ledger does not answer.
    """
    _require_all_runs(book, ledger)
    number, raising = book.fence()
    return _require(ledger, {number, number + 1} if raising else {number})


def recover(book: BudgetBook, ledger: FencedLedger) -> int:
    """Make a book that was put back from a copy usable again, by paying for all it has forgotten.

    A decision of the hospital: first make sure that no other copy is in use. What the ledger has
    and the book has not is charged to every patient, whoever took part. Answers how much that was,
    in millionths of mu^2.

    Raises:
        LedgerError: The ledger does not answer.
    """
    missing = ledger.spent_by(ledger.account) - _on_ledger(book, ledger)
    if missing > 0:
        number = ledger.fence(ledger.account)
        book.charge_forgotten(RunId(f"forgotten-{number}-{missing}"), micro_mu2=missing)
    book.set_fence(ledger.fence(ledger.account), raising=False)
    return max(missing, 0)


def _require_all_runs(book: BudgetBook, ledger: FencedLedger) -> None:
    """Compare run by run: a total could be made up by reservations that never reached the ledger.

    Raises:
        BudgetError: TW4105.
    """
    known, spent = _on_ledger(book, ledger), ledger.spent_by(ledger.account)
    if known < spent:
        raise BudgetError(
            "the privacy book of this node knows less than the ledger",
            code="TW4105",
            note=f"of {spent} on the ledger {known} are in the book, in 1e-6 of mu^2",
            help="this is an old copy or a backup: bring back the latest book of this node; if it "
            "is lost, `twinward node recover` charges every patient for what this one forgot",
        )


def _on_ledger(book: BudgetBook, ledger: FencedLedger) -> int:
    """The part of the book that stands on the ledger, in millionths; asks only what is new."""
    reserved = book.reserved()
    unseen = set(book.not_on_ledger())
    for run in tuple(unseen):
        found = ledger.reservation(ledger.account, bytes.fromhex(run))
        if found is not None and found.micro_mu2 == reserved[run]:
            book.seen_on_ledger(run)
            unseen.discard(run)
    return sum(micro for run, micro in reserved.items() if run not in unseen)


def _require(ledger: FencedLedger, allowed: set[int]) -> int:
    found = ledger.fence(ledger.account)
    if found not in allowed:
        raise _fenced_off(found, max(allowed))
    return found


def _fenced_off(found: int, own: int) -> BudgetError:
    return BudgetError(
        "another process of this node has begun, with another copy of its privacy book",
        code="TW4310",
        note=f"number {found} on the ledger, {own} here",
        help="stop every copy but one; if the others are gone for good, run `twinward node "
        "recover` on the one that is left",
    )
