"""Spreads one patient's answers over time on their way to the ledger.

Whoever reads the ledger sees when each key appears. A patient who answers several letters in one
visit would put several keys next to one another, and so tie their studies together. So only the
first goes at once; each later one waits for a time of its own, drawn uniformly by a keyed hash, so
that it survives a restart without being written down. Rights do not wait: a withdrawal bites at the
hospital when it is received, and reaches the ledger well before the deadline of its receipt.

It blurs, it does not hide: where hardly anybody answers, few other keys stand in between.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Self

from consent.vault import Vault
from twinward.clock import Clock

SECONDS = 1_800
"""Answers of one patient within this time count as one visit, and are spread over as much."""

_NO_KEY = b""
"""In place of the key of a withdrawal that was made without one."""


@dataclass(frozen=True, slots=True)
class Spread:
    """What may go to the ledger now, of the grants and withdrawals in one vault.

    Attributes:
        vault: Where they wait.
        key: 32 secret bytes of the hospital, always the same.
        clock: What time it is.
        seconds: See `SECONDS`.
    """

    vault: Vault
    key: bytes
    clock: Clock
    seconds: int = SECONDS

    @classmethod
    def within(cls, deadline_seconds: int, vault: Vault, key: bytes, clock: Clock) -> Self:
        """One that leaves at least half of the time that a receipt promises."""
        return cls(vault, key, clock, min(SECONDS, deadline_seconds // 2))

    def due(self, table: str, digest: bytes) -> bool:
        """Whether this row of ``grants`` or ``withdrawals`` need not wait any longer."""
        row = self.vault.store.row(
            f"select received_at, exists (select 1 from {table} o where o.record = t.record"  # noqa: S608 - two names of our own
            " and coalesce(o.subject, ?) <> coalesce(t.subject, ?) and o.seq < t.seq"
            " and o.received_at >= t.received_at - ?)"
            f" from {table} t where digest = ?",
            (_NO_KEY, _NO_KEY, self.seconds, digest),
        )
        if row is None or not row[1]:
            return True
        drawn = int.from_bytes(hmac.digest(self.key, digest, "sha256")[:8], "big") / 2**64
        return self.clock.now() >= int(row[0]) + drawn * self.seconds
