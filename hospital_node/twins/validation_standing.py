"""How everything that was validated here stands: when last, what is overdue, what is alarming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hospital_node.twins import validation_files
from hospital_node.twins.validation_files import DAY


def standing(folder: Path, *, now: float, every_days: float) -> list[dict[str, Any]]:
    """How every model and twin stands; read from the files, and kept inside the hospital."""
    found = []
    for reports in validation_files.everything(folder):
        newest, age = reports.newest(), reports.age(now)
        found.append(
            {
                "what": reports.twin or reports.folder.name,
                "days_ago": None if age is None else round(age / DAY, 2),
                "overdue": age is None or age > every_days * DAY,
                "alarms": [] if newest is None else newest.alarms(),
                "on_ledger": newest is not None and newest.proof.exists(),
                "report": None if newest is None else str(newest.path),
                "trouble": reports.trouble(),
            }
        )
    return found
