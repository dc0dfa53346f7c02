"""What visitors did, entered in the audit log of the organisation whose site it is.

Entered before it is answered: a page that cannot be entered is not shown. Who it was and from where
stands in bodies under a key of the account, which `erase` deletes; topics say what kind, by which
way, with what outcome, and a pseudonym. A site over copies has no log of its own, and enters
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ledger.audit import fhir
from ledger.audit.bodies import AUDITOR, person
from ledger.audit.log import AuditLog, Happened
from ledger.questions import logbook
from twinward.clock import Clock
from twinward.founding import Founding

NOBODY = "unknown"
"""Stands for every name that belongs to no account: what was typed may be anything."""

_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Journal:
    """Where visits are entered.

    Attributes:
        log: The organisation's own; None at a site over copies.
        clock: Local time.
        site: Where browsers reach the site.
    """

    log: AuditLog | None
    clock: Clock
    site: str

    def signed_in(self, name: str | None, *, way: str, address: str, failure: str = "") -> None:
        """Somebody is about to be let in, or is refused.

        Args:
            name: The account; None where the name that was given is none.
            way: ``passphrase``, ``invitation`` or ``provider``.
            address: Of the browser.
            failure: Code of the refusal; empty if they are in.

        Raises:
            LedgerError: TW3601, TW3610, it cannot be entered: then nobody is let in.
        """
        if self.log is None:
            return
        who = name or NOBODY
        body = fhir.sign_in(
            org=self.log.org,
            who=who,
            way=way,
            address=address,
            at=self.clock.now(),
            failure=failure or None,
        )
        about = (f"way:{way}", f"outcome:{failure or 'done'}")
        self.log.enter([Happened("sign-in", body, about, person(AUDITOR, who))])

    def asked(self, name: str, *, path: str, query: str, address: str) -> None:
        """An auditor is about to be shown this page, or given this file.

        Raises:
            LedgerError: TW3601, TW3610, it cannot be entered: then it is not shown.
        """
        if self.log is None:
            return
        body = fhir.visit(
            org=self.log.org,
            who=name,
            site=self.site,
            asked=(f"{path}?{query}" if query else path)[:_LONGEST],
            address=address,
            at=self.clock.now(),
        )
        self.log.enter([Happened("page-asked", body, (_page(path),), person(AUDITOR, name))])


def _page(path: str) -> str:
    """The topic of a page: which one, not what it was about."""
    first = path.strip("/").split("/")[0].split(".")[0]
    return f"page:{first if first.isalnum() and first.isascii() else 'other'}"[:128]


def erase(log: AuditLog, name: str) -> int:
    """Delete what links entries to an auditor; returns how many bodies. Entries stay."""
    return log.erase(person(AUDITOR, name))


@contextmanager
def journal_of(folder: Path, *, founding: Founding, clock: Clock, site: str) -> Iterator[Journal]:
    """The journal of a site on this folder, while the block lasts."""
    if not logbook.is_members(folder):
        yield Journal(None, clock, site)
        return
    with logbook.opened(folder, founding=founding, clock=clock) as log:
        yield Journal(log, clock, site)
