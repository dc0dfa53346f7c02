"""The hospital's kill switch: no training from the next vector on, until its staff say otherwise.

One file in the node's folder, which the daemon looks for before every vector, so it needs neither a
running daemon nor a network and holds over restarts. That it is there is what counts: a file that
cannot be read stops training too. Withdrawals, the desk and patients' own twins go on.
"""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any

from hospital_node import audit_log
from hospital_node.paths import NodePaths
from twinward.clock import Clock, iso
from twinward.errors import TrainingError
from twinward.files import sync_folder, write_atomic


def stop(folder: Path, *, reason: str, clock: Clock) -> dict[str, Any]:
    """Stop training here; safe to repeat, the first time and reason stay.

    Stopping only narrows, so it comes first: it holds also when it cannot be entered in the audit
    log, which this then reports.

    Raises:
        LedgerError: TW3601, TW3610, it holds but could not be entered.
    """
    if (found := standing(folder)) is None:
        found = {"since": iso(clock.now()), "by": getpass.getuser(), "reason": reason}
        write_atomic(_file(folder), json.dumps(found).encode(), mode=0o600)
    audit_log.commanded(folder, "stop-training")
    return found


def resume(folder: Path) -> bool:
    """Let training begin again, once that is entered; returns whether it had been stopped.

    A run that stopped is not taken up again: the node takes part in the next one.

    Raises:
        LedgerError: TW3601, TW3610, it cannot be entered: then nothing is resumed.
    """
    if standing(folder) is None:
        return False
    audit_log.commanded(folder, "resume-training")
    _file(folder).unlink()
    sync_folder(_file(folder).parent)
    return True


def standing(folder: Path) -> dict[str, Any] | None:
    """Since when, by whom and why training is stopped here; None while it is not.

    The reason is for the hospital's own staff and does not leave.
    """
    unknown = {"since": None, "by": None, "reason": ""}
    try:
        found = json.loads(_file(folder).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return unknown
    return {**unknown, **found} if isinstance(found, dict) else unknown


def require_off(folder: Path) -> None:
    """Let a vector be made only while the kill switch is off.

    Raises:
        TrainingError: TW6222.
    """
    if _file(folder).exists():
        raise TrainingError(
            "this hospital has stopped training",
            code="TW6222",
            help="its staff start it again with `twinward node resume-training`; "
            "what was sent stays charged",
        )


def _file(folder: Path) -> Path:
    return NodePaths(folder).training_stopped
