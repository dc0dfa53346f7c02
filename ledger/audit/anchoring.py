"""Bringing heads of an audit log to the ledger at fixed times, by the organisation's account.

What proves the newest head is kept beside the log, so that an answer can carry it (`anchor.json`)
without asking anyone: a block that the coordinator signed, and what stands in the contract there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ledger.anchor import anchor_slots
from ledger.audit.log import AuditLog
from ledger.evidence import Claim, ledger_record
from ledger.proofs import storage_value
from ledger.rpc import Rpc
from ledger.tip import TipStatement
from twinward.errors import LedgerError, TwinwardError
from twinward.logging import log
from twinward.signing import Document
from twinward.ticking import Ticking

if TYPE_CHECKING:
    from ledger.chain import Chain

_TIP_SECONDS = 5.0
_LOOK_SECONDS = 0.1
_CALL_BYTES, _HASH_BYTES = 200, 32


class LedgerAnchor:
    """An organisation's head in the contract ``AuditAnchor``.

    Args:
        chain: The ledger, with the organisation's account.
        rpc: The same ledger, for proofs.
        tip: The coordinator's signed statement of the newest block, fresh at each call.
        leaving: Is told how many bytes are about to be brought; what it raises keeps them here.
    """

    def __init__(
        self,
        chain: Chain,
        *,
        rpc: Rpc,
        tip: Callable[[], Document],
        leaving: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._chain = chain
        self._rpc = rpc
        self._tip = tip
        self._leaving = leaving
        self._number: int | None = None

    @property
    def number(self) -> int:
        """The organisation's number among the members."""
        if self._number is None:
            accounts = [member.account.lower() for member in self._chain.members()]
            self._number = accounts.index(self._chain.account.lower()) + 1
        return self._number

    def anchored(self) -> tuple[int, bytes] | None:
        """Size and root that the ledger holds; None before the first."""
        found = self._chain.anchored(self.number)
        return None if found is None else (found.size, found.root)

    def anchor(self, size: int, root: bytes, proof: Sequence[bytes]) -> None:
        """Bring a newer head; a number of ticks and hashes leave, nothing else."""
        self._leaving(_CALL_BYTES + _HASH_BYTES * len(proof))
        self._chain.anchor(size=size, root=root, proof=proof)

    def evidence(self, size: int, root: bytes) -> Mapping[str, Any]:
        """Block and proof of `AuditLog.keep_evidence` for the head of this size, brought before.

        Raises:
            LedgerError: TW3614, no block that the coordinator signed shows it; TW5001, no answer.
        """
        root_slot, size_slot = slots = anchor_slots(self.number)
        deadline = time.monotonic() + _TIP_SECONDS
        while True:
            tip = self._tip()
            claim = Claim("audit_head", "audit_anchor", slots)
            record = ledger_record(self._rpc, [claim], contracts=self._chain.contracts, tip=tip)
            (block,), (proved,) = record["blocks"], record["proofs"]
            there = {
                slot: storage_value(
                    bytes.fromhex(block["header"][2:]),
                    expected_hash=TipStatement.read(tip).hash,
                    proof=proved["proof"],
                    address=bytes.fromhex(self._chain.contracts.audit_anchor[2:]),
                    slot=slot,
                )
                for slot in slots
            }
            if there[root_slot].to_bytes(32) == root and there[size_slot] & (2**64 - 1) == size:
                return {"block": block, "proof": proved["proof"]}
            if time.monotonic() > deadline:
                raise LedgerError(
                    f"no signed block shows head {size} of the audit log",
                    code="TW3614",
                    help="it was brought; the next head is proved again, answers rest on the last"
                    " one that was",
                )
            time.sleep(_LOOK_SECONDS)  # the statement may be a moment older than the head


class Anchoring(Ticking):
    """Brings a head of an audit log to the ledger at fixed times, whatever happened in between.

    Fixed, because a head that comes when something happened would tell when. While the ledger
    does not answer the lag grows, is shown, and is made up at the next tick.
    """

    def __init__(self, audit: AuditLog, anchor: LedgerAnchor, *, every_seconds: float) -> None:
        super().__init__("anchoring of the audit log", every_seconds=every_seconds)
        self._audit = audit
        self._anchor = anchor
        self.trouble: TwinwardError | None = None

    def tick(self) -> None:
        """Bring a head, and keep what proves it."""
        size = self._audit.tick(self._anchor)
        found = self._anchor.evidence(size, self._audit.heads.root_at(size))
        self._audit.keep_evidence(size, block=found["block"], proof=found["proof"])
        self.trouble = None

    def failed(self, error: TwinwardError) -> None:
        """Keep it to be shown; in the log once for each kind."""
        if self.trouble is None or self.trouble.code != error.code:
            log().warning("audit log is not anchored", code=error.code)
        self.trouble = error


def in_words(audit: Mapping[str, Any]) -> str:
    """`AuditLog.standing` for people, in one line."""
    return (
        f"{audit['entries']} entries, {audit['not_anchored']} not on the ledger yet, "
        f"the oldest for {audit['oldest_not_anchored_seconds']} s"
    )
