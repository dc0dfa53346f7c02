"""``twinward data``: bring patients' records in, and see what they are worth before any use."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hospital_node.data.defects import KINDS
from hospital_node.data.public_sets import SETS
from hospital_node.record import RECORD, typed
from twinward.console import (
    emit,
    is_interactive,
    json_option,
    next_step,
    reports_errors,
    say,
    table,
)
from twinward.errors import EXIT_CHECK
from twinward.ids import RecordNumber

if TYPE_CHECKING:
    from hospital_node.data.importing import Outcome
    from hospital_node.data.store import Part

FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
NODE = click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))


@click.group()
def data() -> None:
    """Bring patients' records in, and see what they are worth. Nothing of it leaves."""


@data.command("import")
@FOLDER
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--mapping", type=click.Path(path_type=Path, dir_okay=False),
    help="What is which field. A table needs one; for FHIR there is one.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Read and report everything, keep nothing.")
@json_option
@reports_errors
def import_(
    *, folder: Path, sources: tuple[Path, ...], mapping: Path | None, dry_run: bool, as_json: bool
) -> None:
    """Import tables, FHIR R4 bundles or WFDB recordings (files, folders) into the node in FOLDER.

    What is faulty is left out and named, the rest is kept, sealed. An import that was interrupted
    goes on when the same command is given again.
    """
    from datetime import UTC, datetime

    from hospital_node.data import imported, importing, readmission, report
    from twinward.clock import SystemClock

    clock = SystemClock()
    now = datetime.fromtimestamp(clock.now(), tz=UTC)
    read = importing.sources(sources, mapping=mapping, now=now)
    with (
        _elsewhere(folder, dry_run=dry_run) as place,
        closing(imported.open_store(place, alone=True)) as store,
    ):
        _note(place, "data-import")
        without = readmission.left_out(folder)
        outcomes = [
            importing.run(store, source, clock=clock, without=without, progress=_progress())
            for source in read
        ]
        written = report.write(place, store)
    for outcome in outcomes:
        _tell(outcome)
    found = written.found
    emit(
        {
            "dry_run": dry_run,
            "sources": [_as_json(outcome) for outcome in outcomes],
            "patients": found["patients"],
            "qualifying": found["qualifying"],
            "report": None if dry_run else str(written.page),
        },
        schema="data.import",
        as_json=as_json,
        text=lambda: (
            f"{found['qualifying']} of {found['patients']} patients "
            + ("would qualify; nothing was kept" if dry_run else f"qualify\n{written.page}")
        ),
    )
    if not dry_run:
        next_step(_use(folder))


@data.command()
@NODE
@json_option
@reports_errors
def report(*, folder: Path, as_json: bool) -> None:
    """Write the report on imported records: how many would qualify, what is wrong with the rest."""
    from hospital_node.data import imported
    from hospital_node.data import report as reports

    with closing(imported.open_store(folder)) as store:
        written = reports.write(folder, store)
    found = written.found
    rows = [
        (each["name"], str(each["recorded"]), f"{each['share']:.0%}") for each in found["fields"]
    ]
    emit(
        {**found, "report": str(written.page)},
        schema="data.report",
        as_json=as_json,
        text=lambda: (
            f"{found['qualifying']} of {found['patients']} patients qualify, "
            f"{found['with_disease']} of them with the disease\n"
            + table(("FIELD", "RECORDED", "SHARE"), rows)
            + f"\nversion {found['version'] or 'none yet'}\n{written.page}"
        ),
    )


@data.command()
@click.option("--format", "kind", type=click.Choice(["csv", "fhir"]), default="csv")
@reports_errors
def mapping(*, kind: str) -> None:
    """Print a mapping file to start from."""
    from hospital_node.data import importing

    path = importing.CSV_MAPPING if kind == "csv" else importing.FHIR_MAPPING
    click.echo(path.read_text(encoding="utf-8"), nl=False)


@data.command()
@NODE
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--study", "name", required=True, help="The study that they agreed to.")
@click.option("--dry-run", is_flag=True, help="Check every line, keep nothing.")
@json_option
@reports_errors
def consents(*, folder: Path, file: Path, name: str, dry_run: bool, as_json: bool) -> None:
    """Bring in consents that patients gave on paper, each attested by staff and checked by others.

    They count only in plans that accept the grade `staff-attested`.
    """
    from hospital_node import paper_consents

    lines = list(paper_consents.bring_in(folder, file, study=name, dry_run=dry_run))
    counts = Counter(line.became.value for line in lines)
    refused = [line for line in lines if line.code]
    for line in refused:
        say(f"  {file.name}:{line.number}: {line.reason} ({line.code})")
    emit(
        {
            "dry_run": dry_run,
            "counts": {each.value: counts[each.value] for each in paper_consents.Became},
            "lines": [
                {"line": line.number, "became": line.became, "code": line.code or None}
                for line in lines
            ],
        },
        schema="data.consents",
        as_json=as_json,
        text=lambda: (
            f"{counts['taken']} {'would be ' if dry_run else ''}taken, "
            f"{counts['known']} known before, {counts['refused']} refused"
        ),
    )
    if refused:
        sys.exit(EXIT_CHECK)


@data.command()
@click.argument("name", type=click.Choice(tuple(SETS)))
@click.option("--from", "address", required=True, help="URL of the folder that holds the files.")
@click.option(
    "--out", default=Path(), type=click.Path(path_type=Path, file_okay=False),
    help="Folder to put them in.  [default: this one]",
)  # fmt: skip
@json_option
@reports_errors
def fetch(*, name: str, address: str, out: Path, as_json: bool) -> None:
    """Fetch public data, to try things with: licence shown, every byte checked."""
    from hospital_node.data.fetch import fetch as fetch_set

    wanted = SETS[name]
    say(f"{wanted.title}\nlicence: {wanted.licence}\nname as source: {wanted.source}")
    fetched = fetch_set(wanted, address=address, out=out)
    emit(
        {
            "licence": wanted.licence,
            "source": wanted.source,
            "files": [
                {"path": str(one.path), "sha256": one.sha256, "was_there": one.was_there}
                for one in fetched
            ],
        },
        schema="data.fetch",
        as_json=as_json,
        text=lambda: "\n".join(f"{one.path}  sha256 {one.sha256[:16]}, right" for one in fetched),
    )
    next_step(f"twinward node init NODE --name NAME --data {fetched[0].path}")


@data.command()
@NODE
@RECORD
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@reports_errors
def forget(*, folder: Path, record: str, yes: bool, as_json: bool) -> None:
    """Erase the imported record of one patient; grants and accounts are kept elsewhere."""
    from hospital_node.data import imported

    patient = typed(record)
    if not yes:
        click.confirm("Erase this patient's imported record?", abort=True, err=True)
    with closing(imported.open_store(folder, alone=True)) as store:
        _note(folder, "data-forget")
        found = store.forget(patient)
    _let_go(folder, patient)
    emit(
        {"erased": found},
        schema="data.forget",
        as_json=as_json,
        text=lambda: "erased" if found else "there was none",
    )


@data.command()
@NODE
@RECORD
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@reports_errors
def again(*, folder: Path, record: str, yes: bool, as_json: bool) -> None:
    """Let somebody who was erased come back with the next import, because they asked for it.

    It permits nothing: they get a new letter, and without a new yes nobody uses the record.
    """
    from hospital_node.data import readmission

    patient = typed(record)
    if not yes:
        click.confirm("Did this person ask to be taken in again?", abort=True, err=True)
    _note(folder, "data-again")
    found = readmission.let_in(folder, patient)
    emit(
        {"let_in": found},
        schema="data.again",
        as_json=as_json,
        text=lambda: "let in" if found else "this person was not left out",
    )
    if found:
        next_step("give the same `twinward data import` again: sources are read anew")


@contextmanager
def _elsewhere(folder: Path, *, dry_run: bool) -> Iterator[Path]:
    """The node's folder, or one that is gone afterwards."""
    if not dry_run:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="twinward-dry-run-") as place:
        yield Path(place)


def _note(folder: Path, what: str) -> None:
    """Enter the command in the audit log, once the node belongs to a network and has one."""
    from hospital_node import audit_log
    from twinward.organisation import Organisation

    if Organisation(folder).founding_file.is_file():
        audit_log.commanded(folder, what)


def _let_go(folder: Path, record: RecordNumber) -> None:
    """Have a daemon that is up hold nothing of this patient either."""
    from hospital_node import erasures, memory
    from twinward.organisation import Organisation

    organisation = Organisation(folder)
    if organisation.founding_file.is_file():
        memory.let_go(folder, erasures.name(organisation.identity(), record))


def _use(folder: Path) -> str:
    from hospital_node.paths import NodePaths
    from hospital_node.settings import FILE

    store = NodePaths(folder.resolve()).patients
    if (folder / FILE).is_file():
        return f'data = "{store}" in {folder / FILE}, then start the node again'
    return f"twinward node init {folder} --name NAME --data {store}"


def _progress() -> Callable[[Part], None]:
    read = 0

    def show(part: Part) -> None:
        nonlocal read
        read += part.bytes
        if is_interactive():
            sys.stderr.write(f"\r{read / 1e6:.0f} MB read")
            sys.stderr.flush()

    return show


def _tell(outcome: Outcome) -> None:
    more = f" and {len(outcome.files) - 1} more" if len(outcome.files) > 1 else ""
    state = ", imported before" if outcome.was_done else ", resumed" if outcome.resumed else ""
    counts = ", ".join(f"{count} {name}" for name, count in outcome.counts.items() if count)
    if is_interactive():
        say("")
    say(f"{outcome.files[0]}{more}{state}: {counts or 'no patient'}; {outcome.refused} left out")
    for name, count in Counter(defect.kind for defect in outcome.defects).most_common():
        kind = KINDS[name]
        say(f"  {count} x {name} ({kind.code}): {kind.words}; left out: {kind.lost}")


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "files": list(outcome.files),
        "counts": dict(outcome.counts),
        "left_out": outcome.refused,
        "bytes": outcome.bytes,
        "resumed": outcome.resumed,
        "imported_before": outcome.was_done,
        "defects": [defect.as_json() for defect in outcome.defects],
    }
