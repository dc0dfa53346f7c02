"""Commands of ``twinward node`` about logs: check and erase its own, co-sign the network's."""

from __future__ import annotations

from pathlib import Path

import click

from hospital_node import cli_erase, cli_withdrawals
from hospital_node.record import RECORD, typed
from twinward.console import emit, json_option, reports_errors
from twinward.files import read_given, write_atomic

FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
FILE_PATH = click.Path(path_type=Path, dir_okay=False)


@click.command()
@FOLDER
@click.argument("checkpoint", type=FILE_PATH)
@json_option
@reports_errors
def cosign(*, folder: Path, checkpoint: Path, as_json: bool) -> None:
    """Co-sign CHECKPOINT of the network's log, in its file, if this node computes the same."""
    from hospital_node import cosign as witness  # noqa: PLC0415 - --help must be instant

    write_atomic(checkpoint, witness.cosign(folder, read_given(checkpoint)))
    emit(
        {"checkpoint": str(checkpoint)},
        schema="node.cosign",
        as_json=as_json,
        text=lambda: f"co-signed {checkpoint}; give it back to the coordinator",
    )


@click.command(name="check-audit")
@FOLDER
@json_option
@reports_errors
def check_audit(*, folder: Path, as_json: bool) -> None:
    """Derive every row of the audit log's files again from its entries, and open every body."""
    from hospital_node import audit_log  # noqa: PLC0415 - --help must be instant

    entries = audit_log.check(folder)
    emit(
        {"entries": entries},
        schema="node.check-audit",
        as_json=as_json,
        text=lambda: f"{entries} entries, hashes, topics and bodies: all as they were written",
    )


@click.command(name="erase-audit")
@FOLDER
@RECORD
@json_option
@reports_errors
def erase_audit(*, folder: Path, record: str, as_json: bool) -> None:
    """Erase what links the audit log to one patient; the entries stay and point to nobody."""
    from hospital_node import audit_log  # noqa: PLC0415 - --help must be instant

    count = audit_log.erase(folder, typed(record))
    emit(
        {"erased": count},
        schema="node.erase-audit",
        as_json=as_json,
        text=lambda: f"{count} bodies and the key to them are erased; backups of keys must go too",
    )


@click.command()
@FOLDER
@RECORD
@click.option("--study", required=True, help="Study to withdraw from.")
@json_option
@reports_errors
def withdraw(*, folder: Path, record: str, study: str, as_json: bool) -> None:
    """Take down a withdrawal for a patient at the desk or on the telephone; it holds at once.

    Who gave this command is entered in the audit log, under a number that only this hospital can
    tell a person by.
    """
    from hospital_node import attest  # noqa: PLC0415 - --help must be instant

    receipt = attest.withdraw(folder, study=study, record=typed(record))
    emit(
        receipt,
        schema="node.withdraw",
        as_json=as_json,
        text=lambda: "withdrawn: the patient is in no cohort that is drawn from now on",
    )


@click.command()
@FOLDER
@click.argument("run")
@click.option("--seed", required=True, help="Of the auditor, told only now: 8 to 200 signs.")
@click.option("--count", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--out", type=FILE_PATH, required=True, help="File for the auditor; must be new.")
@click.option("--now", is_flag=True, help="As of now, not of the newest head on the ledger.")
@json_option
@reports_errors
def sample(
    *, folder: Path, run: str, seed: str, count: int, out: Path, now: bool, as_json: bool
) -> None:
    """Open some patients of RUN, drawn by an auditor's seed, so that the auditor can ask them.

    The file holds their record numbers: hand it to nobody else. The auditor checks it with
    `twinward audit check-sample`.
    """
    from hospital_node import sample as samples  # noqa: PLC0415 - --help must be instant

    size = samples.draw(folder, run, seed=seed, count=count, out=out, now=now)
    emit(
        {"file": str(out), "bytes": size},
        schema="node.sample",
        as_json=as_json,
        text=lambda: f"{out}: {size} bytes; it holds record numbers, for the auditor alone",
    )


COMMANDS = (
    cosign,
    sample,
    check_audit,
    erase_audit,
    withdraw,
    *cli_withdrawals.COMMANDS,
    *cli_erase.COMMANDS,
)
