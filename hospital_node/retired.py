"""Whether a released model is still in use, and what took its place: asked of the ledger."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from hospital_node import forwarder_command, membership
from ledger import verify
from ledger.chain import Chain
from ledger.endpoint import Endpoint
from twinward import retirement, shards
from twinward.errors import EvidenceError, LedgerUnreachable
from twinward.founding import Founding
from twinward.signing import Document

_RELEASE_KIND = "twinward/release/v1"


def is_retired(chain: Chain, founding: Founding, run: bytes) -> bool:
    """Whether the coordinator recorded that the model of this run is not to be used any more.

    Raises:
        LedgerError: TW5001.
    """
    coordinator = founding.coordinator.ledger_account.lower()
    return chain.recorded_by(retirement.marker(run)) == coordinator


def is_replaced(chain: Chain, founding: Founding, run: bytes, *, by: bytes) -> bool:
    """Whether the coordinator recorded that the second run trained the shard of the first again.

    Raises:
        LedgerError: TW5001.
    """
    coordinator = founding.coordinator.ledger_account.lower()
    return chain.recorded_by(shards.replaced(run, by=by)) == coordinator


def require_in_use(folder: Path, pack: Path) -> bool:
    """Refuse the model of a pack, which verifies, if it is retired; False if nobody could be asked.

    Raises:
        EvidenceError: TW8152. LedgerError: the ledger is of another network.
    """
    records, _ = verify.read_archive(pack.read_bytes())
    released = Document.decode(records["release.json"], kind=_RELEASE_KIND)
    run, founding = bytes.fromhex(str(released.payload["run"])), membership.load_founding(folder)
    try:
        with (
            forwarder_command.of_member(folder),
            closing(Endpoint.of(founding, folder).chain(founding)) as chain,
        ):
            retired = is_retired(chain, founding, run)
    except LedgerUnreachable:
        return False
    if retired:
        raise EvidenceError(
            "this model is retired: its coordinator took it out of use",
            code="TW8152",
            at=str(pack),
            note=f"run {run.hex()[:16]}",
            help="ask the coordinator for its reason and for a newer model; nothing was taken over",
        )
    return True
