"""Legal holds: records that must not be erased for now, and why. By name, not by record number.

Written by staff (``twinward node hold``). A hold stops an erasure, not a withdrawal: nobody's data
is used because of it (GDPR 17(3), 18).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hospital_node.paths import NodePaths
from twinward.clock import iso
from twinward.errors import ConsentError, UsageError
from twinward.files import write_atomic

_LONGEST = 200


def begin(folder: Path, name: bytes, *, ground: str, by: str, now: float) -> None:
    """From now on nothing of this person is erased; the ground is shown to whoever tries.

    Raises:
        UsageError: TW8142, no ground, or a file that is none of holds.
    """
    if not (ground.isprintable() and 0 < len(ground.strip()) <= _LONGEST):
        raise UsageError(
            "a hold needs a ground",
            code="TW8142",
            help=f"say in at most {_LONGEST} signs why this record must not be erased",
        )
    found = _read(folder)
    found[name.hex()] = {"ground": ground.strip(), "by": by, "since": int(now)}
    _write(folder, found)


def end(folder: Path, name: bytes) -> bool:
    """The record may be erased again; whether there was a hold."""
    found = _read(folder)
    known = found.pop(name.hex(), None) is not None
    if known:
        _write(folder, found)
    return known


def of(folder: Path, name: bytes) -> dict[str, Any] | None:
    """Ground, account and beginning of the hold on this person, if there is one."""
    found: dict[str, Any] | None = _read(folder).get(name.hex())
    return found


def names(folder: Path) -> frozenset[bytes]:
    """Everybody with a hold."""
    return frozenset(bytes.fromhex(name) for name in _read(folder))


def require_none(folder: Path, name: bytes) -> None:
    """Refuse to erase a person with a hold.

    Raises:
        ConsentError: TW8141.
    """
    hold = of(folder, name)
    if hold is not None:
        raise ConsentError(
            "this record must not be erased now: a legal hold is on it",
            code="TW8141",
            note=f"since {iso(hold['since'])} by {hold['by']}: {hold['ground']}",
            help="end all use with `twinward node standing FOLDER RECORD --objects`; erase when "
            "the hold has ended",
        )


def _read(folder: Path) -> dict[str, Any]:
    path = NodePaths(folder).holds
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_bytes())
        if all(bytes.fromhex(name) and {"ground", "by", "since"} <= set(hold)
               for name, hold in found.items()):  # fmt: skip
            return dict(found)
    except (ValueError, AttributeError, TypeError):
        pass
    raise UsageError(
        "the file of legal holds cannot be read",
        code="TW8142",
        at=str(path),
        help="bring it back from a backup; until then nothing is erased",
    )


def _write(folder: Path, found: dict[str, Any]) -> None:
    write_atomic(NodePaths(folder).holds, json.dumps(found).encode(), mode=0o600)
