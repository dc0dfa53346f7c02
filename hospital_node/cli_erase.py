"""``twinward node erase``, ``hold`` and ``retention``: what is kept of a person, and what goes."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hospital_node.record import RECORD, asked, doubt, typed
from twinward.console import emit, json_option, next_step, reports_errors, say, table

_FOLDER = click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
_FILE = click.Path(path_type=Path, dir_okay=False)
_INCOMPLETE = 3


@click.command()
@_FOLDER
@RECORD
@click.option("--yes", is_flag=True, help="Do not ask for the record number again.")
@click.option("--out", type=_FILE, help="Write the signed report for the patient here too.")
@json_option
@reports_errors
def erase(*, folder: Path, record: str, yes: bool, out: Path | None, as_json: bool) -> None:
    """Erase a person from every store of this node and sign a report; nothing brings it back.

    All permissions are withdrawn first. What is kept, and on which ground, is in the report. The
    node may be up; exit status 3 if a file is not known to erasure.
    """
    from hospital_node import erasure
    from twinward.clock import SystemClock
    from twinward.errors import UsageError
    from twinward.files import write_atomic

    number = typed(record)
    if not yes and asked("Type the record number again") != number:
        raise UsageError(
            "the two record numbers are not the same; nothing was erased",
            code="TW8143",
            help="give the command again and type the number twice",
        )
    document = erasure.erase(folder, number, clock=SystemClock())
    if out is not None:
        write_atomic(out, document.encode(), mode=0o600)
    emit(
        {"report": erasure.as_json(document), "file": str(erasure.report_path(folder, document))},
        schema="node.erase",
        as_json=as_json,
        text=lambda: (
            table(("STORE", "WHAT", "ROWS", "GROUND"), erasure.in_words(document))
            + f"\nin {len(document.payload['models'])} releases, which stay, bounded; all of it in"
            + f"\nthe signed report: {erasure.report_path(folder, document)}"
        ),
    )
    if document.payload["memory"] == "let go":
        say("the running node let go of what it held in memory")
    next_step(f"copy {folder / 'state' / 'erased'} to where its copies are kept")
    if not erasure.is_complete(document):
        say(f"NOT COMPLETE, not known to erasure: {', '.join(document.payload['unknown'])}")
        sys.exit(_INCOMPLETE)


@click.command()
@_FOLDER
@RECORD
@click.option("--ground", help="Why this record must not be erased: a law, a case.")
@click.option("--end", is_flag=True, help="The hold is over.")
@json_option
@reports_errors
def hold(*, folder: Path, record: str, ground: str | None, end: bool, as_json: bool) -> None:
    """Show, begin or end a legal hold on a record: until it ends, nothing of it is erased.

    A hold lets nobody use the data: withdrawals and objections work as ever.
    """
    import getpass

    from hospital_node import audit_log, consents, erasures, holds
    from twinward.clock import SystemClock
    from twinward.organisation import Organisation

    if end and ground is not None:
        raise click.UsageError("give --ground or --end, not both")
    number = typed(record)
    name = erasures.name(Organisation(folder).identity(), number)
    if ground is not None:
        audit_log.commanded(folder, "hold")
        holds.begin(folder, name, ground=ground, by=getpass.getuser(), now=SystemClock().now())
        doubt(has_letter=consents.has_letter(folder, number))
    elif end:
        audit_log.commanded(folder, "hold-ended")
        holds.end(folder, name)
    found = holds.of(folder, name)
    emit(
        {"hold": found},
        schema="node.hold",
        as_json=as_json,
        text=lambda: "no hold" if found is None else f"held, by {found['by']}: {found['ground']}",
    )


@click.command()
@_FOLDER
@click.option("--apply", "is_applied", is_flag=True, help="Delete what is past its time.")
@json_option
@reports_errors
def retention(*, folder: Path, is_applied: bool, as_json: bool) -> None:
    """Show what is kept of patients, for how long and why, and what is past its time."""
    from hospital_node import audit_log
    from hospital_node import retention as rules
    from hospital_node.stores import STORES, Treatment
    from twinward.clock import SystemClock

    if is_applied:
        audit_log.commanded(folder, "retention")
    due = rules.due(folder, now=SystemClock().now(), delete=is_applied)
    kept = [store for store in STORES if store.treatment is not Treatment.NOBODY]
    rows = [(one.name, one.holds, one.treatment.value, one.keep) for one in kept]
    emit(
        {
            "stores": [
                {"store": name, "holds": holds, "on_erasure": treatment, "keep": keep}
                for name, holds, treatment, keep in rows
            ],
            "past_their_time": due,
            "deleted": is_applied,
        },
        schema="node.retention",
        as_json=as_json,
        text=lambda: (
            table(("STORE", "HOLDS", "AN ERASURE", "KEPT"), rows)
            + f"\n{'deleted' if is_applied else 'past their time'}: "
            + ", ".join(f"{count} {what}" for what, count in due.items())
        ),
    )
    if any(due.values()) and not is_applied:
        next_step(f"twinward node retention {folder} --apply")


COMMANDS = (erase, hold, retention)
