"""``twinward audit report``: what the law asks for, as Markdown or JSON."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import click

from ledger.questions.cli_options import (
    documents_option,
    folder_argument,
    ledger_option,
    offline_option,
    up_to_date,
)
from twinward.console import emit, json_option, reports_errors
from twinward.errors import UsageError


@click.group()
def report() -> None:
    """Write a report that the law asks for."""


@report.command()
@folder_argument
@click.option("--subjects", required=True, help="Pseudonyms of the patient, with commas.")
@click.option("--until", help="Last day; today if not given.")
@documents_option
@ledger_option
@offline_option
@json_option
@reports_errors
def hipaa(
    *,
    folder: Path,
    subjects: str,
    until: str | None,
    documents: tuple[Path, ...],
    ledger: str | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Account for the disclosures of a patient in six years (45 CFR 164.528), as Markdown."""
    from ledger.questions import reports
    from ledger.questions.workspace import Workspace

    space = Workspace(folder, more=documents)
    up_to_date(space, ledger, offline=offline)
    last = datetime.fromtimestamp(time.time(), UTC) if until is None else _day(until)
    with space.sources() as sources:
        found = reports.hipaa(sources, subjects=subjects, until=last)
    emit(found.as_json(), schema="audit.hipaa", as_json=as_json, text=found.as_markdown)


@report.command()
@folder_argument
@click.option("--member", required=True, help="The hospital whose register it is.")
@documents_option
@ledger_option
@offline_option
@json_option
@reports_errors
def gdpr(
    *,
    folder: Path,
    member: str,
    documents: tuple[Path, ...],
    ledger: str | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Write a hospital's register of processing (GDPR Article 30), as Markdown."""
    from ledger.questions import reports
    from ledger.questions.workspace import Workspace

    space = Workspace(folder, more=documents)
    up_to_date(space, ledger, offline=offline)
    with space.sources() as sources:
        found = reports.gdpr(sources, member=member)
    emit(found.as_json(), schema="audit.gdpr", as_json=as_json, text=found.as_markdown)


def _day(text: str) -> datetime:
    try:
        day = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"`{text}` is not a day", code="TW3736", help="write it as 2026-11-21"
        ) from error
    return day if day.tzinfo else day.replace(tzinfo=UTC)
