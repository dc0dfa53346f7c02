"""``twinward twin letter``: the patient is asked for a twin of their own, and answers by key."""

from __future__ import annotations

from pathlib import Path

import click

from hospital_node.record import RECORD, typed
from hospital_node.twins.cli_arguments import FILE, FOLDER
from twinward.console import emit, json_option, next_step, reports_errors


@click.command()
@FOLDER
@RECORD
@click.option("--out", required=True, type=FILE, help="File for the letter; must be new.")
@json_option
@reports_errors
def letter(*, folder: Path, record: str, out: Path, as_json: bool) -> None:
    """Write a letter that asks the patient about a twin for their own care.

    The patient answers with their own wallet: `twinward consent`. From the first answer on it alone
    decides, and a withdrawal stops every answer of the twin at once.
    """
    from hospital_node import audit_log, care_study, enrolment, membership
    from twinward.clock import SystemClock
    from twinward.organisation import Organisation

    patient = typed(record)
    study = care_study.of(
        folder,
        founding=membership.load_founding(folder),
        identity=Organisation(folder).identity(),
        clock=SystemClock(),
    )
    audit_log.commanded(folder, "letters")
    count = enrolment.write_for(folder, study, [patient], out=out)
    emit(
        {"letters": count, "out": str(out), "study": study.name},
        schema="twin.letter",
        as_json=as_json,
        text=lambda: f"{out}: it stands for the patient, hand it over and keep no copy",
    )
    next_step(f"twinward consent grant --wallet WALLET --letters {out} --all")
