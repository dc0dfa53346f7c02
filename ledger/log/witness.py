"""Witnessing the network's log: compute it from one's own ledger node, and sign only if it is same.

What a witness signs follows from a chain that its own node executed, so an entry that the
coordinator hid, added or altered is never co-signed. Files of its own, append-only: it cannot sign
two histories either.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from ledger.deployed import Addresses
from ledger.history import History
from ledger.history_feed import HistoryFeed
from ledger.log import checkpoint
from ledger.log.network import NetworkLog
from ledger.log.store import Log, Sealed
from ledger.rpc import Rpc
from ledger.verify import Checkpoint, Note
from twinward.errors import EvidenceError
from twinward.signing import Identity, PublicIdentity


class LogWitness:
    """One organisation's own copy of events and log, in one folder."""

    def __init__(
        self,
        folder: Path,
        *,
        org: str,
        genesis: bytes,
        contracts: Addresses,
        coordinator: PublicIdentity,
    ) -> None:
        """Files are made on first use.

        Args:
            folder: For ``events.sqlite`` and ``network.sqlite``.
            org: Under whose name it co-signs.
            genesis: Which ledger.
            contracts: Where its contracts stand.
            coordinator: Who signs the network's log.
        """
        self._folder = folder
        self._org = org
        self._genesis = genesis
        self._contracts = contracts
        self._coordinator = coordinator

    def cosign(self, data: bytes, *, rpc: Rpc, identity: Identity, now: int) -> Note:
        """The checkpoint with this witness's signature, if its own ledger node gives the same.

        Args:
            data: The checkpoint, signed by the coordinator.
            rpc: This organisation's own ledger node, that executed every block.
            identity: Signs.
            now: Unix seconds.

        Raises:
            UsageError: TW3603, not a checkpoint of this network's log.
            EvidenceError: TW3604 not signed by the coordinator, TW3605 not what the ledger gives.
            LedgerError: TW5001, TW3704, the own node does not answer or shows another past.
        """
        origin = checkpoint.network_origin(self._genesis)
        note, stated = checkpoint.read(data, origin=origin, signer=self._coordinator)
        own = self._own(stated, rpc)
        if own is None or own.text != stated.text:
            raise EvidenceError(
                f"the checkpoint of {stated.size} events is not what this ledger node gives",
                code="TW3605",
                at=origin,
                note=None if own is None else f"here: {own.size} events at block {stated.block}",
                help="keep the checkpoint, co-sign nothing of this log, and tell the network",
            )
        name = checkpoint.witness_name(self._org)
        return checkpoint.cosign(note, identity, name=name, time=now)

    def signed_newer(self, stated: Checkpoint) -> bool:
        """Whether the log here went past a state that it was never sealed at.

        A witness that went on has nothing to say of what lies in between.
        """
        with self._log() as log:
            return log.size > stated.size and log.sealed(stated.size) is None

    def _own(self, stated: Checkpoint, rpc: Rpc) -> Checkpoint | None:
        """What this witness would say of the block that is stated; None if it knows another."""
        if stated.block is None:
            return None
        number, digest = stated.block
        shown = rpc.call("eth_getBlockByNumber", hex(number), False)
        if shown is None or shown["hash"] != f"0x{digest.hex()}":
            return None
        state = self._state_at(number, rpc)
        if state is None:
            return None
        origin = checkpoint.network_origin(self._genesis)
        return checkpoint.checkpoint_of(origin, state, block=stated.block)

    def _state_at(self, block: int, rpc: Rpc) -> Sealed | None:
        path = self._folder / "events.sqlite"
        with (
            closing(
                History.open(path, genesis=self._genesis, contracts=self._contracts)
            ) as history,
            self._log() as log,
        ):
            HistoryFeed(history, rpc=rpc, contracts=self._contracts).sync(to=block)
            (size,) = history.db.execute(
                "select coalesce(max(number), 0) from events where block <= ?", (block,)
            ).fetchone()
            if log.size > size:
                return log.sealed(size)  # signed before; an older state is not made anew
            known = history.events(until=log.size, kind="Membership.Joined")
            NetworkLog(log, known=known).extend(history.events(log.size, size))
            history.confirm(block)
            return log.seal()

    def _log(self) -> closing[Log]:
        origin = checkpoint.network_origin(self._genesis)
        moves = len(self._contracts.replaced)
        name = f"network{f'-moved-{moves}' if moves else ''}.sqlite"
        return closing(Log(self._folder / name, origin=origin))
