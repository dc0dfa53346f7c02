"""Leaving a network: the coordinator serves this hospital no more; a page says what stays."""

from __future__ import annotations

from pathlib import Path

from hospital_node import approvals
from hospital_node.egress import note
from hospital_node.members import ask, network
from hospital_node.membership import load_founding
from hospital_node.settings import FILE, NodeSettings
from twinward.clock import Clock, iso
from twinward.files import write_atomic
from twinward.founding import Founding
from twinward.ids import OrgName
from twinward.organisation import LEAVING_KIND, Organisation
from twinward.report import page
from twinward.settings import load
from twinward.signing import Document

TEMPLATES = Path(__file__).parent / "templates"
RECEIPT = "left.json"


def leave(folder: Path, *, clock: Clock) -> Path:
    """Tell the coordinator, keep its signed receipt, write the page; safe to repeat.

    Dying after the coordinator heard of it leaves no receipt here; calling again fetches one. The
    desk goes on: patients may withdraw from a hospital that left, and the ledger takes it.

    Returns:
        The page.

    Raises:
        CoordinatorUnreachable: TW6001.
        IdentityError: TW2002, TW2004 the receipt is not signed by both; TW6029 it was revoked.
    """
    founding, org = load_founding(folder), load(NodeSettings, folder / FILE).org
    receipt = folder / RECEIPT
    if not receipt.exists():
        write_atomic(receipt, _told(folder, founding, org, clock=clock).encode())
    when = Document.decode(receipt.read_bytes(), kind=LEAVING_KIND, at=str(receipt))
    path = folder / "left.html"
    write_atomic(path, render(folder, founding, org=org, when=str(when.payload["at"])))
    return path


def has_left(folder: Path) -> bool:
    """Whether this hospital left: then its node serves patients' withdrawals and trains nothing."""
    return (folder / RECEIPT).exists()


def render(folder: Path, founding: Founding, *, org: OrgName, when: str) -> bytes:
    """What ended, what stays where, and what is still to be done, as a page."""
    return page.render(
        "left.html",
        folder=TEMPLATES,
        org=org,
        network=founding.network,
        when=when,
        studies=approvals.names(folder),
        others=[hospital.org for hospital in founding.hospitals if hospital.org != org],
        place=folder,
    )


def _told(folder: Path, founding: Founding, org: OrgName, *, clock: Clock) -> Document:
    identity = Organisation(folder).identity()
    payload = {"network": founding.chain["genesis_hash"], "org": org, "at": iso(clock.now())}
    asked = Document(LEAVING_KIND, payload).signed_by(identity)
    data = asked.encode()
    note(folder, "network", "leaving", to="coordinator", size=len(data), clock=clock)
    with network(folder, founding) as stub:
        answer = ask(stub.Leave, data)
    receipt = Document.decode(answer, kind=LEAVING_KIND, at="receipt")
    receipt.verify(identity.public)
    receipt.verify(founding.coordinator.identity)
    return receipt
