"""The first block, from a small JSON file; its hash names the network."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twinward.errors import LedgerError

GAS_LIMIT = 2**53 - 1
"""So high that no block is ever half full: the base fee starts at zero and by the ordinary rule of
EIP-1559 stays there. Gas is free, so anyone can bring a withdrawal without owning coins; who may
reach the port is what keeps strangers from filling the chain."""

_ADDRESS = re.compile(r"0x[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Genesis:
    """What the first block is made of.

    Attributes:
        chain_id: EIP-155 chain number.
        timestamp: Unix seconds.
        alloc: Opening balances in wei by 20-byte address; may be empty, since gas is free.
        extra: Up to 32 bytes that make this network's genesis hash its own.
    """

    chain_id: int
    timestamp: int
    alloc: Mapping[bytes, int] = field(default_factory=dict)
    extra: bytes = b""

    @classmethod
    def from_json(cls, data: bytes, *, at: str = "genesis") -> Genesis:
        """Parse ``{"chainId", "timestamp", "alloc": {address: wei}, "extraData"}``.

        Raises:
            LedgerError: TW5011, not such a file.
        """
        try:
            return cls._parse(json.loads(data))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise LedgerError(
                f"the genesis file cannot be used: {error}",
                code="TW5011",
                at=at,
                help='write {"chainId": 1337, "timestamp": 1790000000, "alloc": {}}; addresses in'
                " lower case, balances as decimal text",
            ) from error

    @classmethod
    def _parse(cls, value: dict[str, Any]) -> Genesis:
        unknown = set(value) - {"chainId", "timestamp", "alloc", "extraData"}
        if unknown:
            raise ValueError(f"unknown keys {sorted(unknown)}")
        alloc = value.get("alloc", {})
        if not all(_ADDRESS.fullmatch(address) for address in alloc):
            raise ValueError("an address in `alloc` is not 0x and 40 lower-case hex digits")
        genesis = cls(
            chain_id=value["chainId"],
            timestamp=value["timestamp"],
            alloc={bytes.fromhex(address[2:]): int(wei) for address, wei in alloc.items()},
            extra=bytes.fromhex(value.get("extraData", "0x").removeprefix("0x")),
        )
        for name, number in (("chainId", genesis.chain_id), ("timestamp", genesis.timestamp)):
            if not isinstance(number, int) or not 0 < number < 2**53:
                raise ValueError(f"`{name}` is not a positive integer")
        if len(genesis.extra) > 32:
            raise ValueError("`extraData` is longer than 32 bytes")
        if not all(0 <= wei < 2**256 for wei in genesis.alloc.values()):
            raise ValueError("a balance is out of range")
        return genesis

    def to_json(self) -> bytes:
        """The file that `from_json` reads back."""
        value = {
            "chainId": self.chain_id,
            "timestamp": self.timestamp,
            "alloc": {f"0x{a.hex()}": str(wei) for a, wei in sorted(self.alloc.items())},
            "extraData": f"0x{self.extra.hex()}",
        }
        return json.dumps(value, indent=1).encode() + b"\n"

    def hash(self) -> bytes:
        """The genesis block's hash, 32 bytes, without a node: what a founding file pins."""
        from eth.db.atomic import AtomicDB  # noqa: PLC0415 - py-evm takes a second to import

        from ledger.embedded.rules import chain_class  # noqa: PLC0415 - the same

        chain = chain_class(self.chain_id).from_genesis(AtomicDB(), *self.parameters())
        return bytes(chain.get_canonical_block_header_by_number(0).hash)

    def parameters(self) -> tuple[dict[str, Any], dict[bytes, dict[str, Any]]]:
        """Header fields and opening state in py-evm's form."""
        header = {
            "base_fee_per_gas": 0,
            "difficulty": 0,
            "extra_data": self.extra,
            "gas_limit": GAS_LIMIT,
            "timestamp": self.timestamp,
        }
        state = {
            address: {"balance": wei, "nonce": 0, "code": b"", "storage": {}}
            for address, wei in self.alloc.items()
        }
        return header, state
