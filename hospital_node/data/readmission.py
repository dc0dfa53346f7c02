"""Who was erased here stays out of every later import, until staff let that person in again.

The hospital's own source may still have whom an erasure took out of the node. `state/erased` knows
them by names that say nothing without this site's keys; nothing else is kept of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hospital_node import erasures
from hospital_node.data.store import namer
from hospital_node.paths import NodePaths
from twinward.files import read_secret
from twinward.ids import RecordNumber
from twinward.organisation import Organisation


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Whom an import leaves out.

    Attributes:
        has: Whether this record number is of somebody who was erased.
        lifted: How often somebody was let in again; a source that was read before is read anew.
    """

    has: Callable[[RecordNumber], bool]
    lifted: int


def nobody(_record: RecordNumber) -> bool:
    """Nobody was erased."""
    return False


def left_out(folder: Path) -> LeftOut:
    """Who was erased at this node and not let in again.

    Raises:
        UsageError: TW7410, `state/erased` cannot be read. IdentityError: TW2005.
    """
    gone = erasures.gone(folder)
    if not gone.names:
        return LeftOut(nobody, gone.lifted)
    named = _namers(folder)
    return LeftOut(lambda record: any(name(record) in gone.names for name in named), gone.lifted)


def let_in(folder: Path, record: RecordNumber) -> bool:
    """From now on imports take this person again; whether they were left out before.

    It is no permission: without a new yes nobody uses the record.
    """
    if not left_out(folder).has(record):
        return False
    beside = NodePaths(folder).patients
    for name in _namers(folder):
        erasures.note(beside, erasures.AGAIN, name(record))
    return True


def _namers(folder: Path) -> list[Callable[[RecordNumber], bytes]]:
    """How a record number is named in ``state/erased``: for the imported file, and for a person."""
    found: list[Callable[[RecordNumber], bytes]] = []
    key, organisation = NodePaths(folder).patients_key, Organisation(folder)
    if key.exists():
        found.append(namer(read_secret(key)))
    if (organisation.secrets / "identity.key").exists():
        found.append(erasures.namer(organisation.identity()))
    return found
