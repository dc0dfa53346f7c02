"""Consents that patients gave on paper before there was a network, brought in by staff.

A table with one consent a line, each attested by one member of staff and checked by another; what
holds is taken as `consent.attested` takes it, and never outranks what a patient said since.

Each line is entered in the audit log, then kept, before the next is looked at. A process that dies
leaves whole lines; giving the same file again goes on, and takes no line twice.
"""

from __future__ import annotations

import csv
import getpass
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path

from consent import purposes
from consent.attested import Attested
from consent.intake import Desk, Intake
from consent.record import midnight_before
from consent.study import Study
from consent.vault import Vault
from hospital_node import approvals, audit_log, membership
from hospital_node.audit_log import NodeAudit
from hospital_node.consents import open_vault
from hospital_node.data import records
from hospital_node.enrolment import consent_domain
from hospital_node.settings import FILE, NodeSettings
from twinward.clock import SystemClock
from twinward.errors import TwinwardError, UsageError
from twinward.files import read_given
from twinward.ids import RecordNumber
from twinward.organisation import Organisation
from twinward.settings import load

COLUMNS = ("record", "signed_on", "until", "purposes", "form", "attested_by", "checked_by")
"""The first line of the table, in any order. ``purposes`` may be empty: what the study asks."""
WITHOUT = "without"
"""A column that may be there: the categories left out, with ``;`` between them; empty: none."""

_LONGEST_CELL = 200


class Became(StrEnum):
    """What became of a line."""

    TAKEN = "taken"
    KNOWN = "known"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table after it was looked at.

    Attributes:
        number: In the file; the first line is 1.
        became: What became of it.
        code: Why it was refused; empty otherwise.
        reason: The same in words; never a name or a number of a patient.
    """

    number: int
    became: Became
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Paper:
    record: RecordNumber
    signed_on: int
    until: int
    mask: int
    attested_by: str
    without: tuple[str, ...]


class PaperConsents:
    """Takes paper consents for one study into a hospital's vault.

    Args:
        vault: The hospital's signed grants and withdrawals.
        desk: What the desk needs to know of its surroundings; ``studies`` has the study.
        study: What the patients agreed to.
        records: The hospital's patients.
        audit: Where each attestation is entered; None for a dry run, which keeps nothing.
    """

    def __init__(
        self,
        vault: Vault,
        desk: Desk,
        *,
        study: Study,
        records: Collection[RecordNumber],
        audit: NodeAudit | None,
    ) -> None:
        self._desk = desk
        self._intake = Intake(vault, desk)
        self._attested = Attested(vault, desk, study=study)
        self._study = study
        self._records = frozenset(records)
        self._audit = audit
        self._seen: set[RecordNumber] = set()

    def take(self, path: Path) -> Iterator[Line]:
        """Every line, in order, after what becomes of it is on disk.

        Raises:
            UsageError: TW7250 the file is no such table, TW1070 it cannot be read.
            ConsentError: TW3011, the study is not open here.
            LedgerError: The audit log cannot be written; nothing more is taken then.
        """
        self._intake.study(self._study.id32)
        for number, cells in _rows(path):
            try:
                paper = self._checked(cells)
                yield Line(number, self._kept(paper))
            except TwinwardError as error:
                if not isinstance(error, UsageError) and error.code.startswith("TW36"):
                    raise  # the audit log itself
                yield Line(number, Became.REFUSED, error.code, error.diagnostic.message)

    def _checked(self, cells: Mapping[str, str] | None) -> _Paper:
        if cells is None or any(len(cell) > _LONGEST_CELL for cell in cells.values()):
            raise UsageError(
                "the line has another number of cells than the first, or one that is too long",
                code="TW7251",
                help="write one cell for each column",
            )
        record = RecordNumber(cells["record"])
        if record not in self._records:
            raise UsageError(
                "this is no patient of this hospital's data",
                code="TW7252",
                help="import the patient's record first, and use the same number",
            )
        if record in self._seen:
            raise UsageError(
                "the patient stands in the table twice",
                code="TW7253",
                help="leave the newer consent of each patient only",
            )
        self._seen.add(record)
        first, second = cells["attested_by"].casefold(), cells["checked_by"].casefold()
        if not first or not second or first == second or not cells["form"]:
            raise UsageError(
                "a consent needs its form, and two different people who vouch for it",
                code="TW7254",
                help="fill in `form`, `attested_by` and `checked_by`; nobody checks themselves",
            )
        signed_on, until = _day(cells["signed_on"]), _day(cells["until"])
        now = self._desk.clock.now()
        if not signed_on <= now < until:
            raise UsageError(
                "the consent begins in the future, or has ended",
                code="TW7255",
                help="correct `signed_on` and `until`, or leave the line out",
            )
        asked = cells["purposes"].split() or [self._study.purpose]
        mask = purposes.bits(asked)
        without = tuple(filter(None, map(str.strip, cells.get(WITHOUT, "").split(";"))))
        self._study.withheld(without)
        staff = cells["attested_by"]
        return _Paper(record, signed_on, midnight_before(until), mask, staff, without)

    def _kept(self, paper: _Paper) -> Became:
        if self._attested.is_answered(paper.record, signed_on=paper.signed_on):
            return Became.KNOWN
        audit = self._audit
        if audit is not None:
            self._attested.take(
                paper.record,
                mask=paper.mask,
                until=paper.until,
                enter=lambda: audit.attested(
                    paper.record,
                    what="grant-attested",
                    study=self._study.id32,
                    staff=paper.attested_by,
                ),
                without=paper.without,
            )
        return Became.TAKEN


def bring_in(folder: Path, file: Path, *, study: str, dry_run: bool) -> Iterator[Line]:
    """Take the table into the vault of the node in this folder, whether its daemon is up or not.

    What the ledger says is not asked here: a patient who answered before stays as they are.

    Raises:
        UsageError: TW7250, TW1070; the study is not approved here.
        ConsentError: TW3011. LedgerError: The audit log cannot be written.
    """
    settings, founding = load(NodeSettings, folder / FILE), membership.load_founding(folder)
    agreed = approvals.load(folder, study, founding=founding).study
    clock = SystemClock()
    desk = Desk(
        hospital=settings.org,
        identity=Organisation(folder).identity(),
        domain=consent_domain(founding),
        studies={agreed.id32: agreed},
        clock=clock,
        slot=lambda _study, _subject: None,
        chain_time=clock.now,
        next_step=lambda _study: None,
    )
    patients = records.read(settings.data, hospital=settings.org).records
    vault = open_vault(folder)
    with closing(vault.store), audit_log.opened(folder) as audit:
        if not dry_run:
            audit.did("paper-consents", by=getpass.getuser())
        yield from PaperConsents(
            vault,
            desk,
            study=agreed,
            records=patients,
            audit=None if dry_run else audit,
        ).take(file)


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, str] | None]]:
    """Line numbers and cells by column; None for a line that does not fit the first."""
    try:
        text = read_given(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _no_table(path, "it is not text in UTF-8") from error
    rows = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        names: Sequence[str] = [name.strip() for name in next(rows, [])]
        if sorted(set(names) - {WITHOUT}) != sorted(COLUMNS) or len(set(names)) != len(names):
            raise _no_table(path, f"its first line is not: {','.join(COLUMNS)}")
        for row in rows:
            if not row:
                continue
            cells = [cell.strip() for cell in row]
            fits = len(cells) == len(names)
            yield rows.line_num, dict(zip(names, cells, strict=True)) if fits else None
    except csv.Error as error:
        raise _no_table(path, f"line {rows.line_num}: {error}") from error


def _day(text: str) -> int:
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            "a date is none",
            code="TW7255",
            help="write it as 2026-01-31",
        ) from error
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _no_table(path: Path, why: str) -> UsageError:
    return UsageError(
        "this is not a table of paper consents",
        code="TW7250",
        at=str(path),
        note=why,
        help="write CSV in UTF-8 with the columns of docs/data.md",
    )
