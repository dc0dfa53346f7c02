"""How far each organisation's audit log has grown: calls of the contract `AuditAnchor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.calls import Calls
from ledger.verify import keccak256


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where an organisation's log stood (RFC 9162, SHA-256).

    Attributes:
        root: 32 bytes.
        size: Number of entries.
        time: Time of the block that holds it, Unix seconds.
    """

    root: bytes
    size: int
    time: int


def anchor_slots(number: int) -> tuple[int, int]:
    """Where the contract keeps root, and time and size, of the member with this number.

    Its mapping of members to anchors is storage slot 0 (`AuditAnchor.sol`).
    """
    first = int.from_bytes(keccak256(number.to_bytes(32) + bytes(32)))
    return first, first + 1


class AnchorCalls(Calls):
    """Anchoring the own audit log, and reading anyone's anchor. Safe to repeat."""

    def anchor(self, *, size: int, root: bytes, proof: Sequence[bytes]) -> None:
        """Anchor the own log; what leaves is a size and hashes.

        Args:
            size: Number of entries.
            root: Root over them, 32 bytes.
            proof: Consistency proof from the size anchored last; empty the first time.

        Raises:
            ContractRefused: TW5030, among others when the log does not begin with what was
                anchored before.
        """
        self.write("AuditAnchor", "anchor", size, root, list(proof), done=("AlreadyAnchored",))

    def anchored(self, number: int) -> Anchor | None:
        """Where the log of the member with this number stands, or None; unproven."""
        root, size, time = self.read("AuditAnchor", "anchorOf", number)
        return Anchor(bytes(root), size, time) if size else None

    def is_anchored(self, number: int, *, leaf: bytes, index: int, path: Sequence[bytes]) -> bool:
        """Whether the anchored log of this member holds the leaf at this index.

        Args:
            number: The member's number.
            leaf: Leaf hash, SHA-256(0x00 || entry).
            index: Position from 0.
            path: Inclusion proof for the anchored size.
        """
        return bool(self.read("AuditAnchor", "verifyInclusion", number, leaf, index, list(path)))
