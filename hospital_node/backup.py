"""A node's folder in two sealed files, and its way back. They stay the hospital's own.

A restored book is an old one. It is compared with the ledger, which knows every run that was
reserved; the node refuses to start when the ledger knows more, and `node recover` charges everyone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hospital_node import accounts, audit_log, erasures, forwarder_command, membership, upgrade
from hospital_node.doctor.site import copy_of
from hospital_node.node import connect_ledger
from hospital_node.paths import NodePaths
from hospital_node.privacy import fence
from hospital_node.privacy.book import BudgetBook
from hospital_node.settings import FILE, NodeSettings
from ledger.audit.anchoring import LedgerAnchor
from ledger.audit.log import AuditLog
from ledger.endpoint import Endpoint
from twinward import backup
from twinward.clock import SystemClock
from twinward.errors import LedgerError, TwinwardError
from twinward.files import write_atomic
from twinward.organisation import Organisation
from twinward.sealed_file import Lock
from twinward.settings import load

RULES = backup.Rules(
    role="node",
    left_out={
        "run/*": "socket and token of a running daemon",
        "state/supernode/*": "Flower's own folder, made at each start",
        "state/cohorts/*": "what a cohort knows is found again from vault and ledger",
        "state/mirror.sqlite": "the consents are fetched from the ledger again and proven",
        "state/ledger/chain.sqlite": "every block is fetched and executed again",
        "state/ledger/chain.lock": "of a running ledger node",
        "state/ledger/url": "of a running ledger node",
        "state/portal/sessions.sqlite": "whoever looked in by a letter signs in again",
        "*.log": "logs; `support-bundle` takes them, redacted",
    },
    keys=("secrets/*", "*.key", "state/audit/keys.sqlite", "*.token"),
    order=(
        "state/erased",
        "state/accounts.sqlite",
        "state/budget.sqlite",
        "state/audit/heads.sqlite",
        "state/audit/audit.sqlite",
        "state/audit/bodies.sqlite",
        "state/audit/keys.sqlite",
    ),
)
"""Each file is copied before what it points to: no copy points to what is not there."""

_DATA = re.compile(r'(?m)^data = "((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Restored:
    """How a restored node stands to what others remember; None is agreement."""

    data: Path
    is_data_here: bool
    erased_again: int
    is_compared: bool
    book: TwinwardError | None
    audit: TwinwardError | None


def back_up(folder: Path, targets: Mapping[str, tuple[Path, Lock]]) -> list[backup.Taken]:
    """Write a backup of this node, which may be up and in a run; entered in the audit log before.

    Raises:
        UsageError: TW1050, TW7400. EvidenceError: TW7407. LedgerError: TW3601, not entered.
    """
    settings = load(NodeSettings, folder / FILE)
    if Organisation(folder).founding_file.exists():
        audit_log.commanded(folder, "backup")
    copy = accounts.copied(folder)
    try:
        return backup.back_up(
            folder,
            targets,
            rules=RULES,
            org=settings.org,
            now=SystemClock().now(),
            copies={} if copy is None else {"state/accounts.sqlite": copy},
        )
    finally:
        accounts.copy_path(folder).unlink(missing_ok=True)


def restore(backups: Mapping[str, backup.Sealed], folder: Path, *, erased: Path | None) -> Restored:
    """Put a node back into a new folder, erase again what was erased since, and compare it.

    Args:
        backups: Records and keys.
        folder: New or empty; the node may lie elsewhere than before.
        erased: The newest copy of ``state/erased``, if it was saved.

    Raises:
        As ``twinward.backup.restore`` and ``erasures.take_up``.
    """
    again = 0

    def finish(aside: Path, manifest: Mapping[str, Any]) -> None:
        nonlocal again
        upgrade.require_known(aside)
        _move_data(aside / FILE, old=Path(manifest["folder"]), new=folder.resolve())
        again = erasures.take_up(aside, erased)

    backup.restore(backups, folder, role=RULES.role, finish=finish)
    data = load(NodeSettings, folder / FILE).data
    try:
        book, audit = compare(folder)
    except TwinwardError:  # no ledger now, or not founded yet: `node doctor` and `node up` compare
        return Restored(data, data.exists(), again, is_compared=False, book=None, audit=None)
    return Restored(data, data.exists(), again, is_compared=True, book=book, audit=audit)


def compare(folder: Path) -> tuple[TwinwardError | None, TwinwardError | None]:
    """What the ledger knows that this node's privacy book, and its audit log, do not.

    Raises:
        LedgerError: The ledger does not answer.
    """
    founding, organisation = membership.load_founding(folder), Organisation(folder)
    paths, identity = NodePaths(folder), organisation.identity()
    with (
        forwarder_command.of_member(folder),
        closing(connect_ledger(founding, organisation.ledger_key(), folder=folder)) as chain,
        closing(Endpoint.of(founding, folder).rpc()) as rpc,
    ):
        spent = None
        if paths.book.exists():
            with copy_of(paths.book) as copy, closing(BudgetBook(copy)) as book:
                try:
                    fence.compare(book, chain)
                except LedgerError:
                    raise
                except TwinwardError as error:
                    spent = error
        anchored = LedgerAnchor(chain, rpc=rpc, tip=_no_tip).anchored()
    genesis = bytes.fromhex(str(founding.chain["genesis_hash"]))
    org = load(NodeSettings, folder / FILE).org
    with closing(
        AuditLog(paths.audit, org=org, genesis=genesis, identity=identity, clock=SystemClock())
    ) as log:
        known = log.heads.size
    if anchored is None or anchored[0] <= known:
        return spent, None
    return spent, LedgerError(
        f"the ledger holds {anchored[0]} heads of the audit log, the backup {known}",
        code="TW3612",
        help="restore the log's newest backup; entries made since then are lost: tell the auditor",
    )


def _move_data(path: Path, *, old: Path, new: Path) -> None:
    """Let ``data`` follow if it lay within the node's folder."""
    text = path.read_text(encoding="utf-8")
    found = _DATA.search(text)
    if found is None:
        return
    data = Path(json.loads(f'"{found[1]}"'))
    if data.is_relative_to(old):
        line = f"data = {json.dumps(str(new / data.relative_to(old)))}"
        write_atomic(path, (text[: found.start()] + line + text[found.end() :]).encode())


def _no_tip() -> Any:
    raise AssertionError("nothing is anchored here")
