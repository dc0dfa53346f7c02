"""Reading one value of the ledger's state without trusting the node that gives it.

A block's hash commits to its header, the header to the state root, the root to the account and
the account to its storage (Merkle Patricia tries, Ethereum yellow paper D; proofs as EIP-1186
gives them). Whoever knows the hash can check the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import rlp
from eth_hash.auto import keccak
from trie import HexaryTrie
from trie.constants import BLANK_NODE_HASH
from trie.exceptions import BadTrieProof

from twinward.errors import LedgerError

_HEADER_FIELDS = (
    ("parentHash", 32),
    ("sha3Uncles", 32),
    ("miner", 20),
    ("stateRoot", 32),
    ("transactionsRoot", 32),
    ("receiptsRoot", 32),
    ("logsBloom", 256),
    ("difficulty", None),
    ("number", None),
    ("gasLimit", None),
    ("gasUsed", None),
    ("timestamp", None),
    ("extraData", 0),
    ("mixHash", 32),
    ("nonce", 8),
    ("baseFeePerGas", None),
    ("withdrawalsRoot", 32),
    ("blobGasUsed", None),
    ("excessBlobGas", None),
    ("parentBeaconBlockRoot", 32),
    ("requestsHash", 32),
)


@dataclass(frozen=True, slots=True)
class Header:
    """What of a block's header is used; every field is covered by the hash."""

    number: int
    time: int
    state_root: bytes


def header_rlp(block: Mapping[str, Any]) -> bytes:
    """The header's bytes from `eth_getBlockBy...`; later forks' fields are taken if present.

    A node that lies in any field, or a fork that this does not know, gives bytes with another
    hash: `open_header` then refuses.
    """
    try:
        fields = [_field(block[name], size) for name, size in _HEADER_FIELDS if name in block]
    except (ValueError, TypeError) as error:
        raise _bad("the block's header is malformed") from error
    return bytes(rlp.encode(fields))


def _field(value: Any, size: int | None) -> bytes:
    if size is not None:
        return bytes.fromhex(value[2:])
    number = int(value, 16)
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def open_header(header: bytes, *, expected_hash: bytes) -> Header:
    """Read a header that has exactly this hash.

    Raises:
        LedgerError: TW5041.
    """
    if keccak(header) != expected_hash:
        raise _bad("the block's header does not have the hash that was signed")
    try:
        fields = rlp.decode(header)
        return Header(
            number=int.from_bytes(fields[8], "big"),
            time=int.from_bytes(fields[11], "big"),
            state_root=bytes(fields[3]),
        )
    except (rlp.exceptions.RLPException, IndexError, TypeError) as error:
        raise _bad("the block's header is malformed") from error


def storage_value(
    header: bytes, *, expected_hash: bytes, proof: Mapping[str, Any], address: bytes, slot: int
) -> int:
    """The value of a contract's storage slot after the block with this hash.

    Args:
        header: RLP of the block's header.
        expected_hash: The hash that is trusted.
        proof: Answer of `eth_getProof` for this address and slot.
        address: 20 bytes.
        slot: Position in the contract's storage.

    Raises:
        LedgerError: TW5041, some link from the hash to the value does not hold.
    """
    root = open_header(header, expected_hash=expected_hash).state_root
    try:
        nodes = [_node(text) for text in proof["accountProof"]]
        account = _lookup(root, keccak(address), nodes)
        if not account:
            return 0
        storage_root = bytes(rlp.decode(account)[2])
        entry = next(p for p in proof["storageProof"] if int(p["key"], 16) == slot)
        found = _lookup(
            storage_root,
            keccak(slot.to_bytes(32, "big")),
            [_node(text) for text in entry["proof"]],
        )
        return int.from_bytes(rlp.decode(found), "big") if found else 0
    except StopIteration as error:
        raise _bad("the proof is about another storage slot") from error
    except LedgerError:
        raise
    except Exception as error:
        # Nodes are arbitrary bytes from outside; the trie fails on them in many ways.
        raise _bad("the proof is malformed") from error


def _node(text: str) -> Any:
    return rlp.decode(bytes.fromhex(text[2:]))


def _lookup(root: bytes, key: bytes, nodes: list[Any]) -> bytes:
    if root == BLANK_NODE_HASH:
        return b""
    try:
        return bytes(HexaryTrie.get_from_proof(root, key, nodes))
    except BadTrieProof as error:
        raise _bad("a node of the proof is missing or altered") from error


def _bad(message: str) -> LedgerError:
    return LedgerError(
        message,
        code="TW5041",
        help="do not use this ledger node's answers; ask another node and tell the network",
    )
