"""Reading a ledger's events page by page, and finding back to what it still shows.

What a copy does with them is its own; that a node refuses answers that are too large, and that a
ledger may show another past than before, is the same for every copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ledger.rpc import TOO_MANY, Rpc, RpcError
from twinward.errors import LedgerUnreachable

_BLOCKS_A_PAGE = 4_096
_EVENTS_A_PAGE = 10_000


def event_pages(
    rpc: Rpc, wanted: Mapping[str, Any], *, first: int, end: int
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The last block of each page and its events, in answers of a size that suits both sides.

    Args:
        rpc: The node that is asked.
        wanted: The filter of ``eth_getLogs`` without its blocks.
        first: The first block.
        end: The last one.

    Raises:
        LedgerUnreachable: TW5001.
        RpcError: TW5003, the node refuses even a single block.
    """
    blocks = _BLOCKS_A_PAGE
    while first <= end:
        last = min(first + blocks - 1, end)
        try:
            found = rpc.call(
                "eth_getLogs", {**wanted, "fromBlock": hex(first), "toBlock": hex(last)}
            )
        except RpcError as error:
            if error.rpc_code != TOO_MANY or blocks == 1:
                raise
            blocks = max(1, blocks // 8)
            continue
        yield last, found
        first = last + 1
        fitting = blocks * _EVENTS_A_PAGE // max(len(found), 1)
        blocks = min(max(1, fitting), 2 * blocks, _BLOCKS_A_PAGE)


def still_shown(
    known: Iterable[tuple[int, bytes]], shown: Callable[[int], bytes | None]
) -> tuple[int | None, list[tuple[int, bytes]]]:
    """The newest of these blocks that the ledger still shows, and those above that it denies.

    Args:
        known: Number and hash of blocks of the copy, newest first.
        shown: The hash of a block at the ledger, None if it has none there.

    Returns:
        The block, None if it shows none of them; and the denied ones, newest first.
    """
    denied: list[tuple[int, bytes]] = []
    for number, digest in known:
        if shown(number) == digest:
            return number, denied
        denied.append((number, digest))
    return None, denied


def changed_meanwhile(url: str) -> LedgerUnreachable:
    """The one error for a ledger that shows another past than a moment ago; repeating helps."""
    return LedgerUnreachable(
        "the ledger changed while it was read",
        code="TW3703",
        at=url,
        help="run the same command again",
    )
