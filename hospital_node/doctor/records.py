"""Checks of what the node keeps: patients, consents, letters, queues, privacy book, audit log."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from consent.hidden import Hidden
from consent.postgres_url import PostgresUrl
from consent.store import form_of
from consent.vault import other_key
from consent.vault_tables import FORM
from hospital_node import audit_log, consents
from hospital_node.data import records
from hospital_node.doctor.site import Site, copy_of
from hospital_node.privacy import tombstones
from hospital_node.privacy.book import BudgetBook
from hospital_node.privacy.continuity import MEMORY, Continuity
from hospital_node.privacy.lifetime import Lifetime
from twinward.doctor.findings import Concern, NotChecked
from twinward.errors import BudgetError, ConsentError, UsageError
from twinward.forms import reading

_HOUR = 3600.0


def data(site: Site) -> str:
    """The patients' file is there, readable by few, and keeps its contract."""
    path = site.settings.data
    found = records.read(path, hospital=site.settings.org)
    if path.stat().st_mode & (stat.S_IRWXO & ~stat.S_IXOTH):
        raise Concern(
            "any user of this machine can read the patients' records",
            code="TW7350",
            at=str(path),
            help=f"run `chmod o-rwx {path}`",
        )
    return f"{len(found)} patients"


def vault(site: Site) -> str:
    """The database of consents is whole and private."""
    path = consents.place(site.folder)
    if not isinstance(path, Path):
        return _in_server(site, path)
    if not path.exists():
        raise NotChecked("the node has not been started yet")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ConsentError(
            "other users can read the database of consents",
            code="TW3020",
            at=str(path),
            help=f"run `chmod 600 {path}` and find out who could have read it",
        )
    try:
        with reading(path) as database:
            (verdict,) = database.execute("pragma quick_check(1)").fetchone()
            database.execute("select count(*) from grants").fetchone()
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    if verdict != "ok":
        raise ConsentError(
            "the database of consents is damaged",
            code="TW3022",
            at=str(path),
            note=verdict[:120],
            help="stop; restore it from backup, then compare it with the ledger",
        )
    _require_key(site, path)
    return "whole, readable by its owner only"


def _in_server(site: Site, url: PostgresUrl) -> str:
    from consent import postgres_server  # noqa: PLC0415 - most hospitals have no driver

    version = postgres_server.version_of(url)
    if not consents.has_vault(site.folder):
        raise NotChecked("the node has not been started yet")
    consents.open_vault(site.folder).store.close()
    return f"in PostgreSQL {version}, durable, of this node's key; its backups are the server's"


@contextmanager
def _asked(site: Site) -> Iterator[Callable[..., Any]]:
    """Ask for the first row of the consents, wherever they lie; nothing is changed."""
    at = consents.place(site.folder)
    if isinstance(at, Path):
        with reading(at) as database:
            yield lambda sql, values=(): database.execute(sql, values).fetchone()
    else:
        with closing(consents.open_vault(site.folder).store) as store:
            yield store.row


def _require_key(site: Site, path: Path) -> None:
    """The key in ``secrets`` opens the vault; one of an older form has no key yet."""
    if form_of(path) < FORM:
        return
    with reading(path) as database:
        (check,) = database.execute("select key_check from site").fetchone()
    if Hidden(consents.vault_key(site.folder)).check != check:
        raise other_key(str(path))


def outbox(site: Site) -> str:
    """No withdrawal waits longer than its receipt promised, and no grant is stuck."""
    with _asked(site) as ask:
        now = int(site.clock.now())
        (overdue,) = ask(
            "select count(*) from withdrawals where state = 'waiting' and on_chain_by < ?", (now,)
        )
        (waiting,) = ask("select count(*) from withdrawals where state = 'waiting'")
        (refused,) = ask(
            "select count(*) from grants where state = 'waiting' and reason is not null"
        )
    if overdue:
        raise ConsentError(
            f"{overdue} withdrawals wait for the ledger past the deadline on their receipts",
            code="TW7351",
            help="bring the ledger and the coordinator back; these patients are used no more "
            "either way, and the receipt is their proof",
        )
    if refused:
        raise Concern(
            f"the ledger refused {refused} grants, which count for nothing until it takes them",
            code="TW7352",
            help="see `twinward node status`, row `refused by ledger`",
        )
    return f"{waiting} withdrawals on their way"


def letters(site: Site) -> str:
    """Letters that were handed out can still be answered."""
    with _asked(site) as ask:
        rows = ask(
            "select count(*), sum(case when valid_until < ? then 1 else 0 end) from enrolments"
            " where subject is null",
            (int(site.clock.now()),),
        )
    unanswered, expired = int(rows[0]), int(rows[1] or 0)
    if expired:
        raise Concern(
            f"{expired} of {unanswered} unanswered letters have expired",
            code="TW7353",
            help="write new ones with `twinward node letters`, if these patients shall be asked",
        )
    return f"{unanswered} unanswered, none expired"


def book(site: Site) -> str:
    """The privacy book reads, and is the one that this machine wrote last."""
    path = site.state("budget.sqlite")
    if not path.exists():
        raise NotChecked("the node has not been started yet")
    noted = Continuity(path, memory=MEMORY if MEMORY.is_dir() else None).last()
    with copy_of(path) as copy:
        with closing(BudgetBook(copy)) as found:
            spent, runs = found.spent_mu2(), len(found.reserved())
        with reading(copy) as database:
            (changes,) = database.execute("select changes from state").fetchone()
    if noted is not None and changes < noted:
        raise BudgetError(
            "the privacy book is older than the one that this machine wrote last",
            code="TW4108",
            at=str(path),
            help="bring back the latest book of this node; if it is lost, run `twinward node "
            "recover`",
        )
    return f"{runs} runs, mu^2 {spent:.4f} at most of one patient"


def patients_accounts(site: Site) -> str:
    """The accounts read and are of this site's key; only one process has them."""
    path = site.state("accounts.sqlite")
    if not path.exists():
        raise NotChecked("the node has not been started yet")
    if site.status is not None:
        return "held by the running node"
    try:
        with reading(path) as database:
            database.execute("select count(*) from patients").fetchone()
    except sqlite3.Error as error:
        if "locked" not in str(error):
            raise BudgetError(
                f"the file of accounts cannot be read: {error}",
                code="TW4106",
                at=str(path),
                help="check disk and permissions; if it is damaged, bring back the latest copy",
            ) from error
        raise UsageError(
            "another process holds this node's files, and no daemon answers in this folder",
            code="TW7354",
            at=str(path),
            help="find it (`fuser -v` on that file): a second copy, or a daemon that hangs; end it",
        ) from error
    identity = site.organisation.identity()
    with copy_of(path) as copy:
        Lifetime(copy, key=identity.derive(tombstones.PURPOSE), records=(), limit_mu2=1.0).close()
    return "of this site's key"


def audit(site: Site) -> str:
    """Every row of the audit log is what its entries say."""
    if not site.state("audit").exists():
        raise NotChecked("nothing was entered yet")
    return f"{audit_log.check(site.folder)} entries, all as they were written"


def anchors(site: Site) -> str:
    """Heads of the audit log reach the ledger in time."""
    found = audit_log.NodeAudit.open(
        site.folder,
        org=site.settings.org,
        founding=site.founding,
        identity=site.organisation.identity(),
        clock=site.clock,
    )
    with closing(found):
        lag = found.log.lag()
    if lag.is_long(every_seconds=site.settings.audit_anchor_seconds):
        raise Concern(
            f"{lag.entries} entries of the audit log are not on the ledger, the oldest for "
            f"{lag.seconds / _HOUR:.0f} hours",
            code="TW7355",
            help="start the node and bring the ledger back; until then nobody outside vouches for "
            "these entries",
        )
    return f"{lag.entries} entries not on the ledger yet"
