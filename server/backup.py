"""The coordinator's folder, its ledger included, in two sealed files, and its way back.

A ledger that is put back may be older than what hospitals executed: they notice and refuse
(TW3552). Then the copy of a hospital that followed it takes the place of the one in the backup.
Its door stays closed to hospitals until the coordinator has read back who was put out
(``put_out``): the backup may not know it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ledger.embedded.backup import DATABASE
from ledger.embedded.backup import restore as put_ledger
from ledger.embedded.check import Found
from server import ledger_door, upgrade
from server.founding_ceremony import load_founding
from server.paths import ServerPaths
from server.settings import FILE, ServerSettings
from twinward import backup
from twinward.clock import SystemClock
from twinward.sealed_file import Lock
from twinward.settings import load

RULES = backup.Rules(
    role="server",
    left_out={
        "run/*": "socket and token of a running daemon",
        "state/superlink/*": "Flower's own folder, made at each start",
        "state/ledger/chain.lock": "of a running ledger node",
        "state/ledger/url": "of a running ledger node",
        "*.log": "logs",
    },
    keys=("secrets/*", "*.key", "state/audit/keys.sqlite", "*.token", "state/ledger/readers"),
    order=(
        "state/audit/heads.sqlite",
        "state/audit/audit.sqlite",
        "state/audit/bodies.sqlite",
        "state/audit/keys.sqlite",
    ),
)
"""The ledger's database is copied as any other: one moment of it."""


def back_up(folder: Path, targets: Mapping[str, tuple[Path, Lock]]) -> list[backup.Taken]:
    """Write a backup of this coordinator, which may be up and in a run.

    Raises:
        UsageError: TW1050, TW7400. EvidenceError: TW7407.
    """
    org = load(ServerSettings, folder / FILE).org
    return backup.back_up(folder, targets, rules=RULES, org=org, now=SystemClock().now())


def restore(
    backups: Mapping[str, backup.Sealed], folder: Path, *, ledger: Path | None
) -> Found | None:
    """Put a coordinator back; what the check of every row of its ledger found.

    Args:
        backups: Records and keys.
        folder: New or empty.
        ledger: A backup of a hospital's own ledger node, to stand in place of the one in there.

    Raises:
        LedgerError: TW3573, the ledger is not sound; nothing was put there. As
            ``twinward.backup.restore`` otherwise.
    """
    checked: list[Found] = []

    def finish(aside: Path, _manifest: Mapping[str, Any]) -> None:
        upgrade.require_known(aside)
        place = ServerPaths(aside).ledger
        own = place / DATABASE
        if not own.exists() and ledger is None:
            return  # others keep the ledger
        copy = own.with_name("from-backup.sqlite")
        if own.exists():
            own.rename(copy)
        checked.append(put_ledger(ledger or copy, place))
        copy.unlink(missing_ok=True)
        ledger_door.revoke(place, (one.tls_spki_sha256 for one in load_founding(aside).hospitals))

    backup.restore(backups, folder, role=RULES.role, finish=finish)
    return checked[0] if checked else None
