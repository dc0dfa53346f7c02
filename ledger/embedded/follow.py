"""Follows another node block by block, and keeps only what comes out the same when executed here.

What this node then shows was computed here from signed transactions: the node that it follows
decides order and time of blocks and nothing else. A block that contradicts is kept as a file, and
nothing after it is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.embedded.blocks import ExecutionDiffers
from ledger.embedded.node import Node
from ledger.rpc import Rpc
from twinward.errors import LedgerError, TwinwardError
from twinward.files import write_atomic
from twinward.ticking import Ticking

_PAUSE_SECONDS = 0.25
_BLOCKS_A_REQUEST = 32


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the other node is, and what is wrong with it, if anything is."""

    upstream_block: int | None = None
    trouble: TwinwardError | None = None


_CONTRADICTIONS = frozenset({"TW3550", "TW3551", "TW3552", "TW3553"})


class Following(Ticking):
    """A thread that brings a node up to another and keeps it there."""

    def __init__(self, node: Node, *, rpc: Rpc, folder: Path) -> None:
        super().__init__("following the ledger", every_seconds=_PAUSE_SECONDS, code="TW3554")
        self._node = node
        self._rpc = rpc
        self._folder = folder
        self.standing = Standing()

    def stop(self) -> None:
        """End after the block under way; what was taken is durable."""
        super().stop()
        self._rpc.close()

    def as_json(self) -> dict[str, Any]:
        """The answer of ``twinward_following``."""
        standing = self.standing
        with self._node.reading() as engine:
            block = int(engine.head.block_number)
        return {
            "upstream": self._rpc.url,
            "block": block,
            "upstreamBlock": standing.upstream_block,
            "trouble": None if standing.trouble is None else standing.trouble.diagnostic.as_json(),
        }

    def tick(self) -> None:
        """Take what is new."""
        self.standing = Standing(self.catch_up())

    def failed(self, error: TwinwardError) -> None:
        """Keep it to be shown; of a node that contradicts nothing more is taken."""
        self.standing = Standing(self.standing.upstream_block, error)
        if error.code in _CONTRADICTIONS:
            self._ended.set()  # a refusal may be one of its last words

    def catch_up(self) -> int:
        """Take every block that the other node has; returns the height of both.

        Raises:
            LedgerUnreachable: TW5001.
            LedgerError: TW3550 a block was executed wrongly, TW3551 another history than before,
                TW3552 blocks were taken back, TW3553 not a block.
        """
        newest = self._rpc.call("eth_getBlockByNumber", "latest", False)
        number = int(newest["number"], 16)
        with self._node.reading() as engine:
            head = engine.head
        if number < head.block_number:
            raise LedgerError(
                f"the ledger shows {number} blocks; this node has executed {head.block_number}",
                code="TW3552",
                at=self._rpc.url,
                help="the operator restored an old copy or hides blocks: give it a backup of this"
                " node, and tell the network",
            )
        if self._hash_of(head.block_number) != f"0x{head.hash.hex()}":
            raise LedgerError(
                f"the ledger shows another block {head.block_number} than the one executed here",
                code="TW3551",
                at=self._rpc.url,
                help="the operator rewrote or split the history: keep both copies, run"
                " `twinward ledger fork` with another hospital's statements, tell the network",
            )
        for first in range(head.block_number + 1, number + 1, _BLOCKS_A_REQUEST):
            last = min(first + _BLOCKS_A_REQUEST - 1, number)
            numbers = [[hex(n)] for n in range(first, last + 1)]
            for raw in self._rpc.batch("debug_getRawBlock", numbers):
                if self._ended.is_set():
                    return number
                self._take(str(raw))
        return number

    def _take(self, text: str) -> None:
        try:
            raw = bytes.fromhex(text.removeprefix("0x"))
            self._node.follow(raw)
        except ExecutionDiffers as error:
            where = self._folder / f"wrong-block-{error.number}.rlp"
            write_atomic(where, raw, mode=0o600)
            raise LedgerError(
                f"the ledger's operator executed wrongly: {error}",
                code="TW3550",
                at=str(where),
                help="the file and the operator's signed tip are the evidence: keep both, tell the"
                " network; nothing after this block is taken here",
            ) from error
        except ValueError as error:
            raise LedgerError(
                f"the ledger sent something that is no next block: {error}",
                code="TW3553",
                at=self._rpc.url,
                help="is it an embedded node of this network and of this version?",
            ) from error

    def _hash_of(self, number: int) -> str:
        block = self._rpc.call("eth_getBlockByNumber", hex(number), False)
        return "" if block is None else str(block["hash"])
