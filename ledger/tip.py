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
            if document.kind != KIND or not (
                is_hex32(payload["genesis"]) and is_hex32(payload["hash"])
            ):
                raise ValueError(document.kind)
            statement = cls(
                genesis=bytes.fromhex(payload["genesis"]),
                number=payload["number"],
                hash=bytes.fromhex(payload["hash"]),
                time=float(payload["time"]),
            )
            if type(statement.number) is not int or statement.number < 0:
                raise ValueError(statement.number)
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                "this is not a statement about the ledger's newest block",
                code="TW5042",
                help="fetch the tip again from the coordinator",
            ) from error
        return statement
