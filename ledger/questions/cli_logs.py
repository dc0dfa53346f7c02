"""``twinward audit export`` and ``check-sample``: what an organisation opens for an auditor."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ledger.questions.cli_options import (
    FILE,
    folder_argument,
    ledger_option,
    now_option,
    offline_option,
    patients_option,
    up_to_date,
)
from twinward.console import emit, json_option, reports_errors
from twinward.errors import EXIT_CHECK
from twinward.files import write_atomic


@click.command()
@folder_argument
@click.argument("file", type=FILE)
@patients_option
@now_option
@json_option
@reports_errors
def export(*, folder: Path, file: Path, patients: bool, now: bool, as_json: bool) -> None:
    """Copy the audit log of FOLDER's organisation into FILE, for an auditor; it proves itself."""
    from ledger.questions.workspace import Workspace

    space = Workspace(folder)
    data = space.export_log(patients=patients, anchored=not now)
    write_atomic(file, data)
    said = space.anchor_in_words(data)
    emit(
        {"file": str(file), "bytes": len(data), "as_of": said},
        schema="audit.export",
        as_json=as_json,
        text=lambda: f"{file}: {len(data)} bytes, the whole log: {said}",
    )


@click.command("check-sample")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@folder_argument
@click.option("--seed", required=True, help="The seed that you told the hospital.")
@ledger_option
@offline_option
@json_option
@reports_errors
def check_sample(
    *, file: Path, folder: Path, seed: str, ledger: str | None, offline: bool, as_json: bool
) -> None:
    """Check FILE, patients of a run that a hospital opened, by its log and the ledger in FOLDER.

    What is left to do stands below the table: ask these patients. Exit status 3 if something is
    wrong with one of them.
    """
    from ledger.questions.sample_check import as_json as told
    from ledger.questions.sample_check import as_text
    from ledger.questions.workspace import Workspace

    space = Workspace(folder)
    up_to_date(space, ledger, offline=offline)
    found = space.check_sample(file.read_bytes(), seed=seed)
    emit(told(found), schema="audit.check-sample", as_json=as_json, text=lambda: as_text(found))
    if found.findings:
        sys.exit(EXIT_CHECK)


COMMANDS = (export, check_sample)
