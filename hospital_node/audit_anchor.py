"""Bringing heads of the audit log to the ledger: at fixed times, by this hospital's account."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from hospital_node.audit_log import NodeAudit
from hospital_node.egress import Egress
from ledger.chain import Chain
from twinward.errors import TwinwardError
from twinward.logging import log

_STOP_SECONDS = 3.0


class LedgerAnchor:
    """This hospital's head in the contract ``AuditAnchor``."""

    def __init__(self, chain: Chain, egress: Egress) -> None:
        self._chain = chain
        self._egress = egress
        self._number: int | None = None

    def anchored(self) -> tuple[int, bytes] | None:
        """Size and root that the ledger holds; None before the first."""
        if self._number is None:
            accounts = [member.account.lower() for member in self._chain.members()]
            self._number = accounts.index(self._chain.account.lower()) + 1
        found = self._chain.anchored(self._number)
        return None if found is None else (found.size, found.root)

    def anchor(self, size: int, root: bytes, proof: Sequence[bytes]) -> None:
        """Bring a newer head; a number of ticks and hashes leave, nothing else."""
        self._egress.let_out("ledger", "audit-head", to="ledger", size=200 + 32 * len(proof))
        self._chain.anchor(size=size, root=root, proof=proof)


class Anchoring:
    """Brings a head of the audit log to the ledger at fixed times, whatever happened in between.

    Fixed, because a head that comes when something happened would tell when. While the ledger
    does not answer the lag grows, is shown, and is made up at the next tick.
    """

    def __init__(self, audit: NodeAudit, anchor: LedgerAnchor, *, every_seconds: float) -> None:
        self._audit = audit
        self._anchor = anchor
        self._every = every_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit-anchor", daemon=True)
        self.trouble: TwinwardError | None = None

    def start(self) -> None:
        """Begin; the first head goes at once."""
        self._thread.start()

    def stop(self) -> None:
        """End; a tick that hangs on a silent ledger is not waited for."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._audit.log.tick(self._anchor)
                self.trouble = None
            except TwinwardError as error:
                if self.trouble is None or self.trouble.code != error.code:
                    log().warning("audit log is not anchored", code=error.code)
                self.trouble = error
            self._ended.wait(self._every)
