"""Fills a history from a ledger node: batched JSON-RPC, page by page, whatever the ledger does.

Each page of blocks is one transaction: a process that dies resumes after the last page. When the
ledger shows another past than before, the copy goes back to the last block that both have, keeps
what was denied as evidence, and follows the new one; never below a block that was confirmed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ledger.deployed import Addresses
from ledger.events import Decoder, Event
from ledger.history import History
from ledger.paging import changed_meanwhile, event_pages, still_shown
from ledger.rpc import Rpc
from twinward.errors import LedgerError

_HEADERS_A_CALL = 500


class HistoryFeed:
    """One ledger node as the source of one history."""

    def __init__(self, history: History, *, rpc: Rpc, contracts: Addresses) -> None:
        self._history = history
        self._rpc = rpc
        self._decoder = Decoder(contracts)
        self._addresses = [*contracts, *(address for _, address in contracts.replaced)]

    def sync(self, to: int | None = None) -> int:
        """Fetch what is new, up to this block or the newest; the last block in the copy.

        Raises:
            LedgerUnreachable: TW5001, or TW3703 the ledger changed while it was read; repeat it.
            LedgerError: TW3701 an event is not of our contracts, TW3704 the ledger denies a
                confirmed block or its first one.
        """
        self._rewind_to_common()
        newest = int(self._rpc.call("eth_blockNumber"), 16)
        pages = event_pages(
            self._rpc,
            {"address": self._addresses},
            first=self._history.block + 1,
            end=newest if to is None else min(to, newest),
        )
        for last, logs in pages:
            self._store(sorted(logs, key=_place), last)
        return self._history.block

    def _rewind_to_common(self) -> None:
        history = self._history
        (first,) = self._headers([0])
        if first is None or _hash(first) != history.genesis:
            raise self._denied(0)
        known = history.db.execute("select block, hash from blocks order by block desc")
        common, denied = still_shown(known, self._hash_of)
        if denied:
            (confirmed,) = history.db.execute("select confirmed from cursor").fetchone()
            if (common or 0) < confirmed:
                raise self._denied(confirmed)
            history.rewind(common or 0, reversed(denied))

    def _denied(self, block: int) -> LedgerError:
        return LedgerError(
            f"the ledger does not have block {block} as this copy knows it",
            code="TW3704",
            at=self._rpc.url,
            help="the ledger was rewritten or this is another ledger: stop, keep both copies,"
            " and tell the network",
        )

    def _hash_of(self, block: int) -> bytes | None:
        (shown,) = self._headers([block])
        return None if shown is None else _hash(shown)

    def _headers(self, blocks: Sequence[int]) -> list[dict[str, Any] | None]:
        found: list[dict[str, Any] | None] = []
        for start in range(0, len(blocks), _HEADERS_A_CALL):
            asked = [(hex(block), False) for block in blocks[start : start + _HEADERS_A_CALL]]
            found += self._rpc.batch("eth_getBlockByNumber", asked)
        return found

    def _store(self, logs: Sequence[dict[str, Any]], last: int) -> None:
        numbers = sorted({_place(log)[0] for log in logs} | {last})
        blocks = {}
        for number, header in zip(numbers, self._headers(numbers), strict=True):
            if header is None:
                raise changed_meanwhile(self._rpc.url)
            blocks[number] = (number, _hash(header), int(header["timestamp"], 16))
        before = self._history.count
        events: list[Event] = []
        for log in logs:
            block, position = _place(log)
            if log["blockHash"] != f"0x{blocks[block][1].hex()}":
                raise changed_meanwhile(self._rpc.url)
            form, values = self._decoder.read(log)
            events.append(
                Event(
                    number=before + len(events) + 1,
                    block=block,
                    position=position,
                    time=blocks[block][2],
                    transaction=bytes.fromhex(log["transactionHash"][2:]),
                    contract=form.contract,
                    name=form.name,
                    values=values,
                )
            )
        self._history.add(events, blocks.values(), last=last)


def _place(log: dict[str, Any]) -> tuple[int, int]:
    return int(log["blockNumber"], 16), int(log["logIndex"], 16)


def _hash(header: dict[str, Any]) -> bytes:
    return bytes.fromhex(header["hash"][2:])
