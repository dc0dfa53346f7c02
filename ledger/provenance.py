"""What went into what, who agreed, and the committed privacy spend: calls of `Provenance`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from eth_hash.auto import keccak

from ledger.calls import Calls, ContractRefused, raw_address, refusal

SKIPPED = bytes(keccak(b"Skipped(bytes32,bytes)"))
"""Topic of the event with which a batch says that it left an item out."""

ITEMS_A_TRANSACTION = 100

_GAS_AN_ITEM = 150_000


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


@dataclass(frozen=True, slots=True)
class Item:
    """What is to be recorded.

    Attributes:
        digest: Digest of the document, 32 bytes.
        kind: What it is.
        parents: Digests of what it came from, recorded before.
        quorum: How many hospitals must approve it; a study and a plan need at least one, and
            nothing else may have any.
    """

    digest: bytes
    kind: Kind
    parents: tuple[bytes, ...] = ()
    quorum: int = 0

    def as_tuple(self) -> tuple[bytes, int, int, list[bytes]]:
        """The values of the Solidity struct, in its order."""
        return (self.digest, int(self.kind), self.quorum, list(self.parents))


@dataclass(frozen=True, slots=True)
class Cap:
    """The most that a hospital will ever commit, in millionths of mu squared.

    Attributes:
        micro_mu2: What holds now.
        coming: What it will be raised to; None if nothing waits.
        coming_at: When that holds, Unix seconds; None if nothing waits.
    """

    micro_mu2: int
    coming: int | None = None
    coming_at: int | None = None


class ProvenanceCalls(Calls):
    """Records, approvals, reservations and fences. All but `raise_fence` are safe to repeat."""

    def record(
        self, digest: bytes, kind: Kind, parents: Sequence[bytes] = (), *, quorum: int | None = None
    ) -> None:
        """Record a digest with what it came from; the first record of a digest stands.

        Args:
            digest: 32 bytes.
            kind: What it names.
            parents: Recorded before.
            quorum: How many hospitals must approve a study or a plan; one if not said.

        Raises:
            ContractRefused: TW5030, among others when it is recorded as something else.
        """
        if quorum is None:
            quorum = 1 if kind in {Kind.STUDY, Kind.PLAN} else 0
        item = Item(digest, kind, tuple(parents), quorum)
        try:
            self.write("Provenance", "record", item.as_tuple())
        except ContractRefused as refused:
            if refused.name != "AlreadyRecorded" or self.recorded(digest) != kind:
                raise

    def record_batch(self, items: Sequence[Item]) -> list[ContractRefused | None]:
        """Record many; for each in turn None, or why it was left out. A bad one stops no other."""
        return self._batch("recordBatch", [item.as_tuple() for item in items])

    def recorded(self, digest: bytes) -> Kind | None:
        """What a digest is recorded as, or None."""
        kind = self.read("Provenance", "recordOf", digest)[0]
        return Kind(kind) if kind else None

    def recorded_by(self, digest: bytes) -> str | None:
        """Account that recorded a digest, 0x and hex in lower case; None if nobody did."""
        kind, by, *_ = self.read("Provenance", "recordOf", digest)
        return str(by).lower() if kind else None

    def approve(self, digest: bytes) -> None:
        """Agree to a record, as a hospital."""
        self.write("Provenance", "approve", digest, done=("AlreadyApproved",))

    def approvals(self, digest: bytes) -> int:
        """How many hospitals agreed to a record."""
        return int(self.read("Provenance", "approvals", digest))

    def has_approved(self, digest: bytes, account: str) -> bool:
        """Whether this account agreed to a record."""
        return bool(self.read("Provenance", "hasApproved", digest, raw_address(account)))

    def quorum(self, digest: bytes) -> int:
        """How many hospitals must approve a record; 0 if none need to."""
        return int(self.read("Provenance", "recordOf", digest)[3])

    def is_approved(self, digest: bytes) -> bool:
        """Whether as many hospitals approved a study or plan as it asks for."""
        return bool(self.read("Provenance", "isApproved", digest))

    def state_cap(self, micro_mu2: int) -> None:
        """State, as a hospital, the most that it will ever commit; safe to repeat.

        The first statement and a lower one hold at once, a higher one after thirty days.

        Raises:
            ContractRefused: TW5030.
        """
        cap = self.cap(self.account)
        if cap is None or micro_mu2 != (cap.micro_mu2 if cap.coming is None else cap.coming):
            self.write("Provenance", "stateCap", micro_mu2)

    def cap(self, account: str) -> Cap | None:
        """The cap that a hospital stated, or None; without one it cannot reserve."""
        micro_mu2, coming, at, stated = self.read("Provenance", "capOf", raw_address(account))
        if not stated:
            return None
        return Cap(micro_mu2, coming, at) if at else Cap(micro_mu2)

    def reserve(self, run: bytes, *, plan: bytes, micro_mu2: int) -> Reservation:
        """Commit the worst case of a run; on return it stands in a block.

        Raises:
            ContractRefused: TW5030, among others when other content is reserved for this run, the
                plan lacks approvals, or the cap would be passed.
        """
        wanted = Reservation(plan, micro_mu2)
        try:
            self.write("Provenance", "reserve", (run, plan, micro_mu2))
        except ContractRefused as refused:
            if refused.name != "AlreadyReserved" or self.reservation(self.account, run) != wanted:
                raise
        return wanted

    def reserve_batch(
        self, wanted: Sequence[tuple[bytes, Reservation]]
    ) -> list[ContractRefused | None]:
        """Reserve for many runs; for each in turn None, or why it was left out."""
        bookings = [(run, each.plan, each.micro_mu2) for run, each in wanted]
        return self._batch("reserveBatch", bookings)

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

    def _batch(self, function: str, items: Sequence[Any]) -> list[ContractRefused | None]:
        """Each item leaves exactly one event, in the order of the batch."""
        from eth_abi.abi import decode  # noqa: PLC0415 - comes with web3

        results: list[ContractRefused | None] = []
        for start in range(0, len(items), ITEMS_A_TRANSACTION):
            batch = items[start : start + ITEMS_A_TRANSACTION]
            logs = self.write(
                "Provenance",
                function,
                list(batch),
                gas=1_000_000 + _GAS_AN_ITEM * len(batch),
                rehearse=False,  # a batch never reverts for an item; running it twice costs
            )
            for log in logs:
                skipped = log.topics[0] == SKIPPED
                results.append(
                    refusal("Provenance", decode(["bytes"], log.data)[0]) if skipped else None
                )
        return results
