"""Co-signing a checkpoint of the network's log, as this hospital, by what its own node executed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from hospital_node import audit_log, membership
from hospital_node.paths import NodePaths
from hospital_node.settings import FILE, NodeSettings
from hospital_node.witness import own_ledger
from ledger.deployed import Addresses
from ledger.log.witness import LogWitness
from ledger.rpc import Rpc
from twinward.clock import SystemClock
from twinward.organisation import Organisation
from twinward.settings import load


def cosign(folder: Path, data: bytes) -> bytes:
    """The checkpoint with this hospital's co-signature; the node must be up, with ``witness``.

    Raises:
        UsageError: TW3566 the node is not running, TW3603 not a checkpoint of this network.
        EvidenceError: TW3604 not signed by the coordinator, TW3605 not what this hospital's own
            ledger node gives: keep the file.
        LedgerError: TW5001, TW3704.
    """
    founding, url = membership.load_founding(folder), own_ledger(folder)
    audit_log.commanded(folder, "cosign")
    witness = LogWitness(
        NodePaths(folder).ledger,
        org=load(NodeSettings, folder / FILE).org,
        genesis=bytes.fromhex(str(founding.chain["genesis_hash"])),
        contracts=Addresses.from_json(founding.chain["contracts"]),
        coordinator=founding.coordinator.identity,
    )
    identity, now = Organisation(folder).identity(), int(SystemClock().now())
    with closing(Rpc(url)) as rpc:
        return witness.cosign(data, rpc=rpc, identity=identity, now=now).encode()
