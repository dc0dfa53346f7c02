"""A co-signed tip: who says that this block was the ledger's newest, and when.

Until independent witnesses exist the coordinator signs it; with it a node can tell an old answer
of its ledger node from a fresh one, and checks everything else by proof against the hash.
"""

from __future__ import annotations

from dataclasses import dataclass

from twinward.errors import UsageError
from twinward.ids import is_hex32
from twinward.signing import Document

KIND = "twinward/tip/v1"


@dataclass(frozen=True, slots=True)
class Tip:
    """The newest block.

    Attributes:
        number: Height.
        hash: 32 bytes.
        state_root: 32 bytes.
        time: The block's own time, Unix seconds; may run ahead when blocks come fast.
    """

    number: int
    hash: bytes
    state_root: bytes
    time: int

    def statement(self, *, genesis: bytes, now: float) -> Document:
        """What its signer vouches for; sign it with `Document.signed_by`."""
        payload = {
            "genesis": genesis.hex(),
            "hash": self.hash.hex(),
            "number": self.number,
            "time": now,
        }
        return Document(KIND, payload)


@dataclass(frozen=True, slots=True)
class TipStatement:
    """The content of a tip document.

    Attributes:
        genesis: Which chain.
        number: Height of the block.
        hash: Its hash.
        time: When the signer saw it as the newest, Unix seconds by the signer's clock.
    """

    genesis: bytes
    number: int
    hash: bytes
    time: float

    @classmethod
    def read(cls, document: Document) -> TipStatement:
        """Parse the payload; signatures are the caller's to check.

        Raises:
            UsageError: TW5042, not a tip.
        """
        payload = document.payload
        try:
            genesis, block_hash = payload["genesis"], payload["hash"]
            number, time = payload["number"], payload["time"]
            good = (
                document.kind == KIND
                and set(payload) == {"genesis", "hash", "number", "time"}
                and is_hex32(genesis)
                and is_hex32(block_hash)
                and type(number) is int
                and number >= 0
                and type(time) in {int, float}
            )
        except (KeyError, TypeError):
            good = False
        if not good:
            raise UsageError(
                "this is not a statement about the ledger's newest block",
                code="TW5042",
                help="fetch the tip again from the coordinator",
            )
        return cls(bytes.fromhex(genesis), number, bytes.fromhex(block_hash), float(time))
