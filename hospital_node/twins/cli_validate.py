"""``twinward twin validate``: reports on released models and twins, kept, handed out, checked."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hospital_node.twins.cli_arguments import FILE, FOLDER
from twinward.console import emit, json_option, next_step, reports_errors, say, table

if TYPE_CHECKING:
    from hospital_node.twins.validation import Report
    from hospital_node.twins.validation_files import Kept, Reports

_LOOK_SECONDS = 0.2


@click.group()
def validate() -> None:
    """Say how good a released model or a twin is, for whom, and who may see each figure."""


@validate.command()
@FOLDER
@click.argument("pack", type=FILE)
@click.option(
    "--without", type=FILE,
    help="Evidence of a model of the same study that learnt nothing from this hospital.",
)  # fmt: skip
@click.option("--wait", default=120.0, show_default=True, help="Seconds to wait for the node.")
@json_option
@reports_errors
def model(*, folder: Path, pack: Path, without: Path | None, wait: float, as_json: bool) -> None:
    """Measure a released risk model on this hospital's patients, now and from now on.

    PACK is the evidence of the release. The node in FOLDER measures the model on patients who
    permit the study and were not trained on, and again every `revalidate_days`.
    """
    from hospital_node import membership
    from hospital_node.twins import validation_node

    founding = membership.load_founding(folder).document.encode()
    reports = validation_node.take(folder, pack, founding=founding, without=without)
    kept = _waited(reports, seconds=wait)
    if kept is None:
        trouble = reports.trouble()
        emit(
            {"model": reports.folder.name, "report": None, "trouble": trouble},
            schema="twin.validate.model",
            as_json=as_json,
            text=lambda: (
                "the model is taken in; no report yet"
                + (f": [{trouble['code']}] {trouble['message']}" if trouble else "")
            ),
        )
        next_step(f"twinward node up {folder}")
        return
    _tell(kept, schema="twin.validate.model", as_json=as_json)


@validate.command("twin")
@FOLDER
@click.argument("name")
@json_option
@reports_errors
def of_twin(*, folder: Path, name: str, as_json: bool) -> None:
    """Judge a twin on this hospital's patients who agreed to it, now and from now on."""
    from hospital_node.twins import validation_here
    from twinward.clock import SystemClock

    kept = validation_here.of_patients(folder, name, clock=SystemClock())
    _tell(kept, schema="twin.validate.twin", as_json=as_json)


@validate.command("made-up")
@click.argument("name")
@click.option("--people", default=12, show_default=True, type=click.IntRange(2, 200))
@click.option("--out", type=FILE, required=True, help="The page; the figures beside it as JSON.")
@json_option
@reports_errors
def made_up(*, name: str, people: int, out: Path, as_json: bool) -> None:
    """Judge a twin on made-up people; needs no hospital."""
    from hospital_node.twins import validation_here, validation_page
    from twinward.clock import SystemClock
    from twinward.files import write_atomic

    report, alarms = validation_here.of_made_up(name, people=people, clock=SystemClock())
    write_atomic(out.with_suffix(".json"), report.encode())
    write_atomic(out, validation_page.render(report))
    _emit(report, alarms=list(alarms), page=out, schema="twin.validate.made-up", as_json=as_json)


@validate.command("list")
@FOLDER
@json_option
@reports_errors
def listed(*, folder: Path, as_json: bool) -> None:
    """Show what was validated here and when, what is overdue, and what is alarming."""
    from hospital_node.settings import FILE as SETTINGS
    from hospital_node.settings import NodeSettings
    from hospital_node.twins.validation_standing import standing
    from twinward.settings import load

    every = load(NodeSettings, folder / SETTINGS).revalidate_days
    found = standing(folder, now=time.time(), every_days=every)
    rows = [[one["what"], *_words(one)] for one in found]
    emit(
        {"every_days": every, "validated": found},
        schema="twin.validate.list",
        as_json=as_json,
        text=lambda: (
            table(["WHAT", "LAST REPORT", "LEDGER", "ALARMS"], rows) if rows else "nothing yet"
        ),
    )


@validate.command("hand-out")
@click.argument("report", type=FILE)
@click.option("--out", type=FILE, required=True, help="The page; the figures beside it as JSON.")
@json_option
@reports_errors
def hand_out(*, report: Path, out: Path, as_json: bool) -> None:
    """Write a copy of REPORT without the figures that stay at the hospital."""
    from hospital_node.twins import validation, validation_page
    from twinward.files import read_given, write_atomic

    whole = validation.read(read_given(report), at=str(report))
    copy = whole.handed_out()
    write_atomic(out.with_suffix(".json"), copy.encode())
    write_atomic(out, validation_page.render(copy))
    proof = report.with_suffix(".ledger.json")
    if proof.exists():
        write_atomic(out.with_suffix(".ledger.json"), read_given(proof))
    left = sorted(set(whole.sections) - set(copy.sections))
    emit(
        {"page": str(out), "sections": sorted(copy.sections), "left_out": left},
        schema="twin.validate.hand-out",
        as_json=as_json,
        text=lambda: f"{out}: {len(copy.sections)} sections; {len(left)} stay at the hospital",
    )


@validate.command()
@click.argument("report", type=FILE)
@click.option("--founding", type=FILE, required=True, help="The auditor's founding file.")
@json_option
@reports_errors
def check(*, report: Path, founding: Path, as_json: bool) -> None:
    """Check a report, or a copy that was handed out, without a network.

    The hospital's signature, every section, and the ledger's record by the proof that lies beside
    it (REPORT.ledger.json). Papers on who joined or what moved since are read beside the founding
    file.
    """
    import json

    from hospital_node.twins import validation, validation_ledger
    from twinward.admission import with_joined
    from twinward.errors import EvidenceError
    from twinward.files import read_given
    from twinward.founding import Founding

    found = validation.read(read_given(report), at=str(report))
    founded = Founding.decode(read_given(founding), at=str(founding))
    network = with_joined(founded, founding.parent)
    beside = report.with_suffix(".ledger.json")
    try:
        proof = json.loads(read_given(beside))
    except ValueError as error:
        raise EvidenceError(
            "the proof beside this report is not JSON",
            code="TW7178",
            at=str(beside),
            help="take the `.ledger.json` that the node wrote",
        ) from error
    recorded = validation_ledger.check(found, proof, founding=network)
    kept_back = len(found.head.payload["sections"]) - len(found.sections)
    emit(
        {
            "ok": True,
            "digest": found.digest.hex(),
            "org": recorded.org,
            "recorded_at": recorded.at,
            "block": recorded.block,
            "sections": sorted(found.sections),
            "kept_back": kept_back,
        },
        schema="twin.validate.check",
        as_json=as_json,
        text=lambda: (
            f"verified: signed by {recorded.org}, {len(found.sections)} sections whole, "
            f"{kept_back} not handed out. {recorded.words}"
        ),
    )


def _waited(reports: Reports, *, seconds: float) -> Kept | None:
    """The report that was asked for, once it is there."""
    from hospital_node.twins.validation_files import ASKED

    until, told = time.monotonic() + seconds, False
    while (reports.folder / ASKED).exists():
        if time.monotonic() > until:
            return None
        if not told and seconds > 1:
            say("waiting for the node to measure it ...")
            told = True
        time.sleep(_LOOK_SECONDS)
    return reports.newest()


def _tell(kept: Kept, *, schema: str, as_json: bool) -> None:
    _emit(kept.read(), alarms=kept.alarms(), page=kept.page, schema=schema, as_json=as_json)


def _emit(report: Report, *, alarms: list[str], page: Path, schema: str, as_json: bool) -> None:
    sections = [report.sections[one["title"]] for one in report.head.payload["sections"]]
    emit(
        {
            "subject": report.head.payload["subject"],
            "digest": report.digest.hex(),
            "page": str(page),
            "alarms": alarms,
            "sections": [
                {"title": one["title"], "release": one["release"], "rows": list(one["rows"])}
                for one in sections
            ],
        },
        schema=schema,
        as_json=as_json,
        text=lambda: "\n".join(
            [
                *(f"{one['title']} [{one['release']}]\n{_rows(one)}\n" for one in sections),
                *(f"ALARM: {alarm}" for alarm in alarms),
                f"report: {page}",
            ]
        ),
    )


def _rows(section: Any) -> str:
    lines = []
    for row in section["rows"]:
        value = "not measured" if row["value"] is None else f"{row['value']:.3f}"
        if row["low"] is not None and row["high"] is not None:
            value += f" ({row['low']:.3f} to {row['high']:.3f})"
        count = "" if row["of"] is None else f" of {row['of']}"
        note = f"; {row['note']}" if row["note"] else ""
        lines.append(f"  {row['name']}: {value}{count}{note}")
    return "\n".join(lines)


def _words(one: dict[str, Any]) -> tuple[str, str, str]:
    days = one["days_ago"]
    last = "none yet" if days is None else f"{days:g} days ago"
    if one["overdue"]:
        last += ", OVERDUE"
    if one["trouble"]:
        last += f" [{one['trouble']['code']}]"
    return last, "recorded" if one["on_ledger"] else "not yet", "; ".join(one["alarms"]) or "none"
