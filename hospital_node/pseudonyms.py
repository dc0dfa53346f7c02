"""``twinward node pseudonyms``: under which pseudonyms one patient stands on the ledger.

The one step of an accounting of disclosures that only the hospital can do. The answer stays in the
hospital, or goes to the patient: together with the ledger it says what was done with their data.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from hospital_node.record import RECORD, typed
from twinward.console import emit, json_option, next_step, reports_errors, table
from twinward.errors import UsageError
from twinward.ids import RecordNumber


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@RECORD
@json_option
@reports_errors
def pseudonyms(*, folder: Path, record: str, as_json: bool) -> None:
    """Show the pseudonyms of a patient on the ledger. Stays inside the hospital."""
    found = of_record(folder, typed(record))
    emit(
        {"pseudonyms": found},
        schema="node.pseudonyms",
        as_json=as_json,
        text=lambda: table(["Study", "Pseudonym"], [[p["study"], p["subject"]] for p in found]),
    )
    subjects = ",".join(one["subject"] for one in found)
    next_step(f"twinward audit report hipaa FOLDER --subjects {subjects}")


def of_record(folder: Path, record: RecordNumber) -> list[dict[str, str]]:
    """Study and pseudonym of every answer that this patient ever gave here.

    Raises:
        UsageError: TW3740, there is none.
    """
    from hospital_node.consents import open_vault  # noqa: PLC0415 - --help must be instant

    vault = open_vault(folder)
    with closing(vault.store):
        rows = vault.subjects_of(record)
    if not rows:
        raise UsageError(
            "this patient never answered a letter here",
            code="TW3740",
            help="check the record number; without an answer nothing was used",
        )
    return [
        {"study": f"0x{study.hex()}", "subject": f"0x{subject.hex()}"} for study, subject in rows
    ]
