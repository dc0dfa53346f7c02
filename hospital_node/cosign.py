"""Co-signing a checkpoint of the network's log, as this hospital, by what its own node executed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from hospital_node import audit_log, membership
from hospital_node.paths import NodePaths
from hospital_node.settings import FILE, NodeSettings
from ledger.deployed import Addresses
from ledger.log.witness import LogWitness
from ledger.process import URL_FILE
from ledger.rpc import Rpc
from twinward.clock import SystemClock
from twinward.errors import UsageError
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
    founding, paths = membership.load_founding(folder), NodePaths(folder)
    try:
        url = (paths.ledger / URL_FILE).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            "the following ledger node of this folder is not running",
            code="TW3566",
            at=str(folder),
            help="start the node, with `witness = true` in node.toml, and ask again",
        ) from error
    audit_log.commanded(folder, "cosign")
    witness = LogWitness(
        paths.ledger,
        org=load(NodeSettings, folder / FILE).org,
        genesis=bytes.fromhex(str(founding.chain["genesis_hash"])),
        contracts=Addresses.from_json(founding.chain["contracts"]),
        coordinator=founding.coordinator.identity,
    )
    identity, now = Organisation(folder).identity(), int(SystemClock().now())
    with closing(Rpc(url)) as rpc:
        return witness.cosign(data, rpc=rpc, identity=identity, now=now).encode()
