"""Blocks as bytes and as rows: reading what another node sent; the index of what was executed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import rlp
from eth_hash.auto import keccak

_BLOCK_BYTES = 32 * 2**20


class ExecutionDiffers(Exception):
    """Another node's block does not follow from ours: its author executed otherwise or forked.

    Attributes:
        number: Height of the block.
        hash: The hash that its author gave it.
        field: The first field of the header that is not as computed here, or what else is wrong.
    """

    def __init__(self, header: Any, field: str, why: str) -> None:
        super().__init__(f"block {header.block_number}, {field}: {why}")
        self.number = int(header.block_number)
        self.hash = bytes(header.hash)
        self.field = field


@dataclass(frozen=True, slots=True)
class BlockRows:
    """What a block adds to the tables `blocks`, `transactions` and `logs`."""

    block: tuple[Any, ...]
    transactions: tuple[tuple[Any, ...], ...]
    logs: tuple[tuple[Any, ...], ...]


def rows_of(block: Any, receipts: Sequence[Any]) -> BlockRows:
    """The rows of a block: a function of the block and its receipts alone."""
    number = block.number
    transactions: list[tuple[Any, ...]] = []
    logs: list[tuple[Any, ...]] = []
    before = 0
    for position, (transaction, receipt) in enumerate(
        zip(block.transactions, receipts, strict=True)
    ):
        sender, to = transaction.sender, transaction.to
        contract = _create_address(sender, transaction.nonce) if to == b"" else None
        transactions.append(
            (
                transaction.hash,
                number,
                position,
                sender,
                transaction.encode(),
                int(receipt.state_root == b"\x01"),
                receipt.gas_used - before,
                receipt.gas_used,
                contract,
                receipt.bloom.to_bytes(256, "big"),
            )
        )
        before = receipt.gas_used
        for log in receipt.logs:
            topics = [topic.to_bytes(32, "big") for topic in log.topics]
            padded = (*topics, None, None, None, None)[:4]
            logs.append(
                (number, len(logs), transaction.hash, position, log.address, *padded, log.data)
            )
    header = (number, block.hash, rlp.encode(block.header), len(rlp.encode(block)))
    return BlockRows(header, tuple(transactions), tuple(logs))


def read_block(
    raw: bytes, *, decode: Callable[[bytes], Any], header_class: Any
) -> tuple[Any, list[Any]]:
    """Header and transactions of a block in RLP, each transaction through ``decode``.

    Raises:
        ValueError: It is no block of this chain.
    """
    if len(raw) > _BLOCK_BYTES:
        raise ValueError(f"a block larger than {_BLOCK_BYTES} bytes")
    if nested_deeply(raw):
        raise ValueError("not a block (lists are nested too deeply)")
    try:
        fields, transactions, uncles, withdrawals = rlp.decode(raw)
        header = rlp.decode(rlp.encode(fields), sedes=header_class)
        if uncles or withdrawals or not isinstance(transactions, list):
            raise ValueError("uncles or withdrawals")  # noqa: TRY301 - named once, below
    except Exception as error:
        # rlp raises many kinds on garbage; all mean the same here.
        raise ValueError(f"not a block ({error})") from error
    return header, [decode(t if isinstance(t, bytes) else rlp.encode(t)) for t in transactions]


def first_difference(claimed: Any, ours: Any) -> tuple[str, str]:
    """Name of the first header field that differs, and our value of it."""
    for name, theirs, mine in zip(claimed._meta.field_names, claimed, ours, strict=True):  # noqa: SLF001 - rlp's own way
        if theirs != mine:
            return name, mine.hex() if isinstance(mine, bytes) else str(mine)
    return "hash", ours.hash.hex()


def nested_deeply(raw: bytes) -> bool:
    """Whether RLP lists are nested deeper than in any transaction (its access list has four).

    The decoder copies what a list holds once per level, which takes seconds on a hostile input.
    """
    ends: list[int] = []
    at = 0
    while at < len(raw):
        while ends and at >= ends[-1]:
            ends.pop()
        first = raw[at]
        start, length = at + 1, 0
        if first >= 0x80:
            is_list = first >= 0xC0
            length = first - (0xC0 if is_list else 0x80)
            if length > 55:
                start += length - 55
                length = int.from_bytes(raw[at + 1 : start], "big")
            if is_list:
                ends.append(start + length)
                if len(ends) > 4:
                    return True
                length = 0
        at = start + length
    return False


def _create_address(sender: bytes, nonce: int) -> bytes:
    """Where a contract lands that this transaction creates."""
    return bytes(keccak(rlp.encode([sender, nonce]))[12:])
