"""What went into what, who agreed, and the committed privacy spend: calls of `Provenance`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from ledger.calls import Calls, ContractRefused, raw_address


class Kind(IntEnum):
    """What a digest names, as the contract numbers it."""

    STUDY = 1
    PLAN = 2
    DATASET = 3
    CODE = 4
    MODEL = 5
    PACK = 6


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a hospital committed to a run before it computed anything.

    Attributes:
        plan: Digest of the plan, 32 bytes.
        micro_mu2: Worst case of the run, in millionths of mu squared, rounded up.
    """

    plan: bytes
    micro_mu2: int


class ProvenanceCalls(Calls):
    """Records, approvals, reservations and fences. All but `raise_fence` are safe to repeat."""

    def record(self, digest: bytes, kind: Kind, parents: Sequence[bytes] = ()) -> None:
        """Record a digest with what it came from; the first record of a digest stands.

        Raises:
            ContractRefused: TW5030, among others when it is recorded as something else.
        """
        try:
            self.write("Provenance", "record", digest, int(kind), list(parents))
        except ContractRefused as refusal:
            if refusal.name != "AlreadyRecorded" or self.recorded(digest) != kind:
                raise

    def recorded(self, digest: bytes) -> Kind | None:
        """What a digest is recorded as, or None."""
        kind = self.read("Provenance", "recordOf", digest)[0]
        return Kind(kind) if kind else None

    def approve(self, digest: bytes) -> None:
        """Agree to a record, as a hospital."""
        self.write("Provenance", "approve", digest, done=("AlreadyApproved",))

    def approvals(self, digest: bytes) -> int:
        """How many hospitals agreed to a record."""
        return int(self.read("Provenance", "approvals", digest))

    def has_approved(self, digest: bytes, account: str) -> bool:
        """Whether this account agreed to a record."""
        return bool(self.read("Provenance", "hasApproved", digest, raw_address(account)))

    def reserve(self, run: bytes, *, plan: bytes, micro_mu2: int) -> Reservation:
        """Commit the worst case of a run; on return it stands in a block.

        Raises:
            ContractRefused: TW5030, among others when other content is reserved for this run.
        """
        wanted = Reservation(plan, micro_mu2)
        try:
            self.write("Provenance", "reserve", run, plan, micro_mu2)
        except ContractRefused as refusal:
            if refusal.name != "AlreadyReserved" or self.reservation(self.account, run) != wanted:
                raise
        return wanted

    def reservation(self, account: str, run: bytes) -> Reservation | None:
        """What a hospital committed to a run, or None."""
        plan, micro_mu2 = self.read("Provenance", "reservation", raw_address(account), run)
        return Reservation(bytes(plan), micro_mu2) if micro_mu2 else None

    def spent_by(self, account: str) -> int:
        """All that a hospital ever committed, in millionths of mu squared."""
        return int(self.read("Provenance", "spentBy", raw_address(account)))

    def raise_fence(self) -> int:
        """Announce this process; returns its number, from 1. Each call is a new one."""
        (raised,) = self.write("Provenance", "raiseFence")
        return int.from_bytes(raised.data, "big")

    def fence(self, account: str) -> int:
        """The number of a member's newest process; 0 before the first."""
        return int(self.read("Provenance", "fence", raw_address(account)))
