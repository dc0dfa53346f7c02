"""``twinward twin``: a patient's own twin at their hospital. It stays in the node's folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hospital_node.record import RECORD, typed
from hospital_node.twins import (
    cli_alerts,
    cli_census,
    cli_deploy,
    cli_doses,
    cli_letter,
    cli_search,
    cli_validate,
)
from hospital_node.twins.cli_arguments import (
    FILE,
    FOLDER,
    HISTORY,
    TWIN,
    opened,
    read,
    scenario,
)
from hospital_node.twins.cli_write_back import FHIR, write_back_answer, write_back_explanation
from twinward.console import emit, json_option, next_step, reports_errors, say, table

if TYPE_CHECKING:
    from hospital_node.twins.answer import Answer
    from models.twin import Explanation


@click.group()
def twin() -> None:
    """Make, ask and end the twin of one patient, at the patient's own hospital."""


for command in (
    *cli_alerts.COMMANDS,
    *cli_deploy.COMMANDS,
    cli_letter.letter,
    cli_census.census,
    cli_doses.forecaster,
    cli_search.search,
    cli_search.trial,
    cli_validate.validate,
):
    twin.add_command(command)


@twin.command()
@click.argument("file", type=FILE)
@click.option("--days", default=6, show_default=True, type=click.IntRange(1, 60))
@click.option("--seed", default=1, show_default=True, help="Another seed is another person.")
@click.option("--until-dose", is_flag=True, help="End with the last dose, to ask about another.")
@json_option
@reports_errors
def example(*, file: Path, days: int, seed: int, until_dose: bool, as_json: bool) -> None:
    """Write the diary of a virtual person with diabetes, to try the other commands with."""
    from hospital_node.twins import diary
    from models.glucose import virtual_diary
    from twinward.files import write_atomic

    series = virtual_diary.example(days=days, seed=seed, until_dose=until_dose)
    write_atomic(file, diary.write(series).encode(), mode=0o600)
    emit(
        {
            "file": str(file),
            "rows": int(series.minutes.size),
            "virtual": True,
            "last_bolus": float(series.values["bolus"][-1]),
            "last_carbs": float(series.values["carbs"][-1]),
        },
        schema="twin.example",
        as_json=as_json,
        text=lambda: f"{file}: {days} days of a virtual person; no patient",
    )
    next_step(
        f"twinward twin agree NODE RECORD; twinward twin individualise NODE RECORD --history {file}"
    )


@twin.command()
@FOLDER
@RECORD
@json_option
@reports_errors
def agree(*, folder: Path, record: str, as_json: bool) -> None:
    """Write down that the patient agreed to a twin for their own care."""
    patient = typed(record)
    with opened(folder) as service:
        service.agree(patient)
    emit({"agreed": True}, schema="twin.agree", as_json=as_json, text=lambda: "written down")


@twin.command()
@FOLDER
@RECORD
@TWIN
@HISTORY
@json_option
@reports_errors
def individualise(*, folder: Path, record: str, name: str, history: Path, as_json: bool) -> None:
    """Make the patient's twin from their history, in place of an earlier one."""
    patient = typed(record)
    with opened(folder) as service:
        found = service.individualise(patient, name, read(history, name))
    _show(found, schema="twin.individualise", as_json=as_json)
    next_step(f"twinward twin what-if {folder} {record}")


@twin.command()
@FOLDER
@RECORD
@TWIN
@HISTORY
@json_option
@reports_errors
def observe(*, folder: Path, record: str, name: str, history: Path, as_json: bool) -> None:
    """Tell the twin what was observed since."""
    series = read(history, name)
    patient = typed(record)
    with opened(folder) as service:
        service.observe(name, [(patient, series)])
    emit(
        {"rows": int(series.minutes.size)},
        schema="twin.observe",
        as_json=as_json,
        text=lambda: f"{series.minutes.size} moments taken",
    )


@twin.command()
@FOLDER
@RECORD
@TWIN
@FHIR
@json_option
@reports_errors
def show(*, folder: Path, record: str, name: str, fhir: Path | None, as_json: bool) -> None:
    """Show what is particular about this patient."""
    patient = typed(record)
    with opened(folder) as service:
        found = service.explain(patient, name)
    _show(found, schema="twin.show", as_json=as_json)
    write_back_explanation(fhir, found, folder=folder, record=patient, name=name)


@twin.command("what-if")
@FOLDER
@RECORD
@TWIN
@click.option(
    "--change", "changes", multiple=True, metavar="INPUT=AMOUNT@MINUTES",
    help="Add to what is planned: bolus=2@0, carbs=-20@30. Each is answered on its own.",
)  # fmt: skip
@click.option("--hours", default=4.0, show_default=True, help="How far to look.")
@click.option("--plot", type=FILE, help="Write the fans as SVG.")
@FHIR
@json_option
@reports_errors
def what_if(
    *,
    folder: Path,
    record: str,
    name: str,
    changes: tuple[str, ...],
    hours: float,
    plot: Path | None,
    fhir: Path | None,
    as_json: bool,
) -> None:
    """Forecast the next hours, and what would differ with each change."""
    from twinward.files import write_atomic

    scenarios = [scenario(change) for change in changes]
    patient = typed(record)
    with opened(folder) as service:
        answer = service.ask(patient, name, scenarios, horizon_minutes=hours * 60)
    if plot is not None:
        write_atomic(plot, _plot(answer).encode(), mode=0o600)
    emit(
        answer_as_json(answer),
        schema="twin.what_if",
        as_json=as_json,
        text=lambda: answer_as_text(answer),
    )
    if plot is not None:
        say(f"plot: {plot}")
    write_back_answer(fhir, answer, folder=folder, record=patient)


@twin.command()
@FOLDER
@RECORD
@TWIN
@click.option("--reason", required=True, help="Why the answer was not followed; kept, erasable.")
@json_option
@reports_errors
def override(*, folder: Path, record: str, name: str, reason: str, as_json: bool) -> None:
    """Enter that a clinician decided against the twin's answer."""
    patient = typed(record)
    with opened(folder) as service:
        service.override(patient, name, reason=reason)
    emit({"entered": True}, schema="twin.override", as_json=as_json, text=lambda: "entered")


@twin.command()
@FOLDER
@RECORD
@click.confirmation_option("--yes", prompt="Erase this patient's twins and observations?")
@json_option
@reports_errors
def end(*, folder: Path, record: str, as_json: bool) -> None:
    """Erase the patient's twins and what was observed for them."""
    patient = typed(record)
    with opened(folder) as service:
        rows = service.end(patient)
    emit({"rows": rows}, schema="twin.end", as_json=as_json, text=lambda: f"{rows} rows erased")


def answer_as_json(answer: Answer) -> dict[str, Any]:
    """The whole answer with the twin's limits; an end that is not known is null."""

    def rows(values: Any) -> list[list[float | None]]:
        return [[round(v, 2) if math.isfinite(v) else None for v in row] for row in values]

    return {
        "twin": answer.spec.name,
        "population": answer.population,
        "asked_at_minute": answer.asked_at,
        "unit": answer.spec.outputs[0].unit,
        "minutes": [float(each) for each in answer.minutes],
        "scenarios": list(answer.scenarios),
        "middle": rows(answer.middle),
        "low": rows(answer.low),
        "high": rows(answer.high),
        "change": [rows(each) for each in answer.change],
        "coverage": [
            {"minutes": at, "share": None if math.isnan(share) else round(share, 4), "of": count}
            for at, share, count in answer.coverage
        ],
        "error_over_persistence": None if math.isnan(answer.skill) else round(answer.skill, 3),
        "limits": list(answer.spec.limits),
    }


def answer_as_text(answer: Answer) -> str:
    """A table at whole hours, how far the intervals can be believed, and the limits."""
    output = answer.spec.outputs[0]
    at = [column for column, each in enumerate(answer.minutes) if each % 60 == 0] or [-1]
    rows = []
    for row, title in enumerate(answer.scenarios):
        cells = []
        for column in at:
            low, high = answer.low[row, column], answer.high[row, column]
            reach = f" ({low:.0f} to {high:.0f})" if math.isfinite(low) else ""
            cells.append(f"{answer.middle[row, column]:.0f}{reach}")
        rows.append([title, *cells])
    for row, title in enumerate(answer.scenarios[1:]):
        cells = [f"{answer.change[row, 0, column]:+.0f}" for column in at]
        rows.append([f"{title}: change", *cells])
    heading = [
        f"{output.title}, {output.unit}",
        *(f"in {answer.minutes[column] / 60:g} h" for column in at),
    ]
    held = [
        f"{share:.0%} at {minutes:g} min (of {count})"
        for minutes, share, count in answer.coverage
        if count
    ]
    lines = [table(heading, rows), ""]
    if held:
        lines.append(f"90 % intervals held for this patient: {', '.join(held)}.")
    else:
        lines.append("Too little is known of this patient for an interval.")
    if not math.isnan(answer.skill):
        lines.append(
            f"Error an hour ahead is {answer.skill:.2f} of that of `it stays as it is`"
            + (": this twin is no help for this patient." if answer.skill >= 1 else ".")
        )
    return "\n".join([*lines, *answer.spec.limits])


def _plot(answer: Answer) -> str:
    from twinward.report.fan import Band, fan

    output = answer.spec.outputs[0]
    bands = [
        Band(title, list(answer.middle[row]), list(answer.low[row]), list(answer.high[row]))
        for row, title in enumerate(answer.scenarios)
    ]
    return fan(
        list(answer.minutes),
        bands,
        title=f"{answer.spec.title}: the next hours",
        says="; ".join(
            f"{band.title}: {band.middle[-1]:.0f} {output.unit} at the end" for band in bands
        ),
        up=f"{output.title}, {output.unit}",
        seen=answer.recent,
        safe=(70.0, 180.0) if output.name == "glucose" else None,
    )


def _show(found: Explanation, *, schema: str, as_json: bool) -> None:
    rows = [
        [name, f"{own:.3g}", f"{usual:.3g}", f"{percentile:.0f}"]
        for name, own, usual, percentile in found.rows
    ]
    emit(
        {
            "parameters": [
                {"name": name, "own": own, "usual": usual, "percentile": percentile}
                for name, own, usual, percentile in found.rows
            ],
            "words": list(found.words),
        },
        schema=schema,
        as_json=as_json,
        text=lambda: "\n".join(
            [table(["parameter", "own", "usual", "percentile"], rows), *found.words]
        ),
    )
