"""Checks of the ledger, of what was signed about it, of the clock and of the audit log."""

from __future__ import annotations

from contextlib import closing, suppress

from ledger.endpoint import Endpoint
from ledger.questions import logbook
from ledger.questions.workspace import CHECKPOINTS
from server.checkpoints import place_of
from server.doctor.papers import leaf_of
from server.doctor.place import Place
from twinward.clock import iso
from twinward.doctor.findings import Concern, NotChecked
from twinward.errors import LedgerError, UsageError

_TOLERATED_SECONDS = 300.0
"""Blocks that follow fast on each other carry times a little ahead of the clock."""

_HOUR = 3600.0


def blocks(place: Place) -> str:
    """The last blocks of the own ledger follow on each other, down to the founding's genesis."""
    if place.founding.is_ledger_outside:
        raise NotChecked("others keep the ledger")
    if place.tail is None:
        raise NotChecked("the coordinator has not been started yet")
    return f"block {place.tail.number}, the last {place.tail.looked_at} follow on each other"


def checkpoints(place: Place) -> str:
    """The ledger is not older than a state of it that was signed here."""
    tail = place.tail
    newest = max(map(place_of, (place.folder / CHECKPOINTS).glob("*.txt")), default=None)
    if tail is None or newest is None:
        raise NotChecked("nothing was signed yet")
    if newest[1] > tail.number:
        raise LedgerError(
            f"the ledger ends with block {tail.number}; a checkpoint of block {newest[1]} was "
            "signed here",
            code="TW7656",
            at=str(place.state("ledger")),
            help="an old copy was put back: do not start it; restore with the copy of a hospital "
            "that followed (`twinward server restore --ledger COPY`)",
        )
    return f"signed up to block {newest[1]}"


def ledger(place: Place) -> str:
    """The ledger answers, and is this network's, with its contracts."""
    if place.status is None and not place.founding.is_ledger_outside:
        raise NotChecked("the coordinator keeps it and is not running")
    endpoint = Endpoint.of(place.founding, place.folder)
    with closing(endpoint.chain(place.founding)) as chain:
        chain.check_contracts(founding_digest=place.founding.digest)
        tip = chain.tip()
    return f"block {tip.number} of {iso(tip.time)}"


def clock(place: Place) -> str:
    """It is not behind what was done here, and something keeps it right."""
    latest = 0.0
    with suppress(OSError, ValueError):
        leaf = leaf_of(place.organisation.tls.certificate.read_bytes())
        latest = leaf.not_valid_before_utc.timestamp()
    with suppress(LedgerError):
        latest = max(latest, 0.0 if place.tail is None else float(place.tail.time))
    behind = latest - place.clock.now()
    if behind > _TOLERATED_SECONDS:
        raise UsageError(
            f"this machine's clock is at least {behind:.0f} s behind: {iso(latest)} was before",
            code="TW7641",
            help="switch time synchronisation on (`timedatectl set-ntp true`) before anything is "
            "signed",
        )
    if place.machine.is_clock_kept() is False:
        raise Concern(
            "nothing keeps this machine's clock right, by what its kernel says",
            code="TW7640",
            help="switch time synchronisation on (`timedatectl set-ntp true`): hospitals judge "
            "by this clock how fresh the ledger is",
        )
    return iso(place.clock.now())


def audit(place: Place) -> str:
    """Every row of the coordinator's audit log is what its entries say."""
    if not logbook.is_here(place.folder):
        raise NotChecked("nothing was entered yet")
    with logbook.opened(place.folder, founding=place.founding, clock=place.clock) as log:
        count = log.require_sound(
            help="stop the coordinator, keep the files, restore the newest backup, tell the auditor"
        )
    return f"{count} entries, all as they were written"


def anchors(place: Place) -> str:
    """Heads of the audit log reach the ledger in time."""
    with logbook.opened(place.folder, founding=place.founding, clock=place.clock) as log:
        lag = log.lag()
    if lag.is_long(every_seconds=place.settings.audit_anchor_seconds):
        raise Concern(
            f"{lag.entries} entries of the audit log are not on the ledger, the oldest for "
            f"{lag.seconds / _HOUR:.0f} hours",
            code="TW7355",
            help="start the coordinator and bring the ledger back; until then nobody outside "
            "vouches for these entries",
        )
    return f"{lag.entries} entries not on the ledger yet"
