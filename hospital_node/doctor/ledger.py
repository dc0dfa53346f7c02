"""Checks of the ledger: is it ours, does it know us, does our book and our copy agree with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from hospital_node.doctor.site import Site, copy_of
from hospital_node.node import connect_ledger, require_active, require_on_ledger
from hospital_node.privacy import fence
from hospital_node.privacy.book import BudgetBook
from ledger.chain import Chain
from ledger.consents import fold
from twinward.doctor.findings import NotChecked
from twinward.errors import LedgerError, UsageError
from twinward.forms import reading


def ledger(site: Site) -> str:
    """The ledger answers, and is this network's, with its contracts."""
    with _connected(site) as chain:
        chain.check_contracts(founding_digest=site.founding.digest)
        return f"block {chain.tip().number}"


def membership(site: Site) -> str:
    """The ledger knows this hospital as the founding file does, and it is not suspended."""
    with _connected(site) as chain:
        require_on_ledger(chain, site.founding, [site.settings.org])
        require_active(chain, site.founding, [site.settings.org])
    return f"`{site.settings.org}` is active"


def spend(site: Site) -> str:
    """The privacy book knows every reservation that the ledger knows, and no other copy runs."""
    path = site.state("budget.sqlite")
    if not path.exists():
        raise NotChecked("the node has not been started yet")
    with _connected(site) as chain, copy_of(path) as copy, closing(BudgetBook(copy)) as book:
        fence.compare(book, chain)
        return f"{chain.spent_by(chain.account) / 1e6:.4f} of mu^2, as in the book"


def mirror(site: Site) -> str:
    """The copy of the consents is what its running hash says."""
    path = site.state("mirror.sqlite")
    if not path.exists():
        raise NotChecked("the node has not been started yet")
    head, count = bytes(32), 0
    try:
        with reading(path) as database:
            rows = database.execute(
                "select sequence, study, subject, slot, digest, head from events order by sequence"
            )
            for sequence, study, subject, slot, digest, kept in rows:
                count += 1
                head = fold(head, study=study, subject=subject, packed=slot, digest=digest)
                if (sequence, head) != (count, kept):
                    raise _altered(str(path), f"change {sequence}")
            (other,) = database.execute(
                "select count(*) from slots s where s.sequence != (select max(sequence) from events"
                " e where e.study = s.study and e.subject = s.subject)"
            ).fetchone()
    except sqlite3.Error as error:
        raise _altered(str(path), f"it is damaged: {error}") from error
    if other:
        raise _altered(str(path), f"{other} standings are not the newest")
    return f"{count} changes, hash as kept"


def witness(site: Site) -> str:
    """What this site asks of witnesses can be had."""
    settings, hospitals = site.settings, len(site.founding.hospitals)
    if settings.witness_quorum and not settings.witness:
        raise UsageError(
            f"co-signatures of {settings.witness_quorum} hospitals are asked for, and this "
            "hospital's own witness is off, so nothing is ever believed",
            code="TW7361",
            at="node.toml: witness, witness_quorum",
            help="set `witness = true`, or `witness_quorum = 0`",
        )
    if settings.witness_quorum > hospitals:
        raise UsageError(
            f"co-signatures of {settings.witness_quorum} hospitals are asked for; there are "
            f"{hospitals}",
            code="TW7362",
            at="node.toml: witness_quorum",
            help=f"ask for at most {hospitals}",
        )
    return f"{settings.witness_quorum} asked for" if settings.witness else "off"


@contextmanager
def _connected(site: Site) -> Iterator[Chain]:
    key = site.organisation.ledger_key()
    with closing(connect_ledger(site.founding, key, folder=site.folder)) as chain:
        yield chain


def _altered(at: str, why: str) -> LedgerError:
    return LedgerError(
        "the copy of the consents was changed from outside, or is damaged",
        code="TW7360",
        at=at,
        note=why,
        help="stop the node, keep the file, delete it from the node's folder: it is fetched again",
    )
