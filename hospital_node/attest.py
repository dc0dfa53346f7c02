"""Withdrawals that staff take down for a patient: at the desk, on the telephone, on paper.

Who of the staff did it is entered in this hospital's audit log, under a number made for them at
random; on the ledger stands only that this hospital attested it.
"""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any

from consent.receipts import WITHDRAWAL_KIND
from hospital_node import accounts, approvals, watch
from hospital_node.node import Node
from twinward.rpc.messages_pb2 import Blob
from twinward.signing import Document


def withdraw(folder: Path, *, study: str, record: str) -> dict[str, Any]:
    """Withdraw a patient's permission for a study, as this account of the machine; the receipt.

    It holds when this returns. The daemon must be running: it knows which cohort is drawn next.

    Raises:
        UsageError: TW1050 no node here, TW1040 it is not running, TW1041 it did not answer.
        ConsentError: TW3041, not a patient of this node; TW3011, no such study.
        TrainingError: TW6004, the study was not approved here.
    """
    question = {"record": record, "staff": getpass.getuser(), "study": study}
    data = json.dumps(question).encode()
    return watch.ask(folder, lambda node: node.Attest(Blob(data=data), timeout=30))


def serve(node: Node, question: bytes) -> dict[str, Any]:
    """Answer ``withdraw``; called in the daemon."""
    asked = json.loads(question)
    record = node.patients.records[accounts.row_of(node, asked["record"])]
    study = approvals.load(node.folder, asked["study"], founding=node.founding).study
    receipt = node.desk.withdraw_record(study.id32, record, staff=str(asked["staff"]))
    node.follower.changed()
    return dict(Document.decode(receipt, kind=WITHDRAWAL_KIND).payload)
