"""``twinward twin census``: the beds of the next days, and what would change them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twinward.console import emit, json_option, next_step, reports_errors, say, table

if TYPE_CHECKING:
    from hospital_node.twins.census import Census
    from models.twin import Scenario

FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def census() -> None:
    """Beds taken in the next days, from a file of the hospital's own. Nothing of it is kept."""


@census.command()
@click.argument("file", type=FILE)
@click.option("--days", default=400, show_default=True, type=click.IntRange(60, 2000))
@click.option("--seed", default=1, show_default=True, help="Another seed is another ward.")
@click.option("--records", is_flag=True, help="With record numbers, as a hospital's data for runs.")
@json_option
@reports_errors
def example(*, file: Path, days: int, seed: int, records: bool, as_json: bool) -> None:
    """Write the admissions of a made-up ward, to try the other command with."""
    from hospital_node.twins import census as wards
    from twinward.files import write_atomic

    text = wards.example(days=days, seed=seed, records=records)
    write_atomic(file, text.encode(), mode=0o600)
    emit(
        {"file": str(file), "admissions": text.count("\n") - 1, "virtual": True},
        schema="twin.census.example",
        as_json=as_json,
        text=lambda: f"{file}: {days} days of a made-up ward; no patient",
    )
    if records:
        next_step(
            f"twinward node init NODE --name NAME --data {file} --study ward-counts "
            "--model ward_counts/1 --purpose general-research"
        )
    else:
        next_step(f"twinward twin census ask {file} --change arrivals=30@0 --change stay=-1@0")


@census.command()
@click.argument("file", type=FILE)
@click.option("--days", default=7, show_default=True, help="How far to look, at most 14.")
@click.option(
    "--change", "changes", multiple=True, metavar="INPUT=AMOUNT@DAY",
    help="arrivals in %, stay in days, from a day on: arrivals=30@0, stay=-1@2; with a comma "
    "between them, several as one: arrivals=-100@0,arrivals=100@3 closes the door for three days.",
)  # fmt: skip
@click.option("--beds", type=float, help="Beds there are: how likely are they too few?")
@click.option(
    "--node", type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="This hospital's node: start from what it adopted (`twinward twin adopt`).",
)  # fmt: skip
@click.option("--plot", type=FILE, help="Write the fans as SVG.")
@json_option
@reports_errors
def ask(
    *,
    file: Path,
    days: int,
    changes: tuple[str, ...],
    beds: float | None,
    node: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Forecast the beds taken, and what would differ with each change.

    FILE has a line `arrived,left` and one for every admission, or `time,beds` and one count a day;
    only the first can be asked what would differ. Record numbers before each line are not looked
    at.
    """
    from hospital_node.twins import census as wards
    from hospital_node.twins.cli_arguments import started, text_of
    from twinward.files import write_atomic

    twin, history = wards.read(text_of(file))
    scenarios = [_scenario(each) for each in changes]
    start = None if node is None else started(node, twin)
    found = wards.ask(twin, history, scenarios, days=days, beds=beds, start=start)
    if plot is not None:
        write_atomic(plot, _plot(found).encode(), mode=0o600)
    emit(as_json_value(found), schema="twin.census", as_json=as_json, text=lambda: as_text(found))
    if plot is not None:
        say(f"plot: {plot}")


def as_json_value(found: Census) -> dict[str, Any]:
    """The whole answer with the twin's limits; a number that is not known or withheld is null."""

    def row(values: Any) -> list[float | None]:
        return [round(float(each), 3) if math.isfinite(each) else None for each in values]

    return {
        "twin": found.spec.name,
        "population": found.population,
        "unit": "beds",
        "days": row(found.days),
        "scenarios": list(found.scenarios),
        "middle": [row(each) for each in found.middle],
        "low": [row(each) for each in found.low],
        "high": [row(each) for each in found.high],
        "too_few_beds": None if found.over is None else [row(each) for each in found.over],
        "lately": [
            {
                "days": each.days,
                "error": row([each.error])[0],
                "as_today": row([each.stays])[0],
                "of": each.of,
                "withheld": each.withheld,
            }
            for each in found.standings
        ],
        "coverage": [
            {"days": days, "share": row([share])[0], "of": count}
            for days, share, count in found.coverage
        ],
        "limits": list(found.spec.limits),
    }


def as_text(found: Census) -> str:
    """A table of days, how the last weeks went, and the limits."""
    from hospital_node.twins.deployment import PUBLIC

    shown = [column for column, day in enumerate(found.days) if day in {1, 2, 3, 5, 7, 10, 14}]
    rows = []
    for number, title in enumerate(found.scenarios):
        rows.append([title, *(_cell(found, number, column) for column in shown)])
        if found.over is not None:
            risk = [found.over[number, column] for column in shown]
            said = ["-" if math.isnan(each) else f"{each:.0%}" for each in risk]
            rows.append(["  too few beds", *said])
    lines = [table(["BEDS TAKEN", *(f"in {found.days[c]:g} d" for c in shown)], rows), ""]
    for each in found.standings:
        if each.withheld:
            lines.append(f"{each.days} days ahead is withheld: {each.withheld}.")
        else:
            lines.append(
                f"{each.days} days ahead: error {each.error:.1f} beds over the last {each.of} days,"
                f" {each.stays:.1f} for `it stays as it is`."
            )
    held = [f"{s:.0%} at {d} d (of {n})" for d, s, n in found.coverage if n]
    lines.append(
        f"90 % intervals held: {', '.join(held)}." if held else "Too little is known for intervals."
    )
    if found.population != PUBLIC:
        lines.append(f"It started from a release: {found.population[:16]}.")
    return "\n".join([*lines, *found.spec.limits])


def _cell(found: Census, number: int, column: int) -> str:
    middle, low = found.middle[number, column], found.low[number, column]
    if math.isnan(middle):
        return "withheld"
    high = found.high[number, column]
    return f"{middle:.0f}" + (f" ({low:.0f} to {high:.0f})" if math.isfinite(high) else "")


def _scenario(change: str) -> Scenario:
    from hospital_node.twins.cli_arguments import scenario
    from models.census.stays import DAY
    from models.twin import Scenario

    parts = [scenario(part).actions for part in change.split(",")]
    return Scenario(
        change,
        tuple((day * DAY, name, amount) for part in parts for day, name, amount in part),
    )


def _plot(found: Census) -> str:
    from models.census.stays import DAY
    from twinward.report.fan import DAYS, Band, fan

    bands = [
        Band(title, list(found.middle[row]), list(found.low[row]), list(found.high[row]))
        for row, title in enumerate(found.scenarios)
    ]
    return fan(
        [day * DAY for day in found.days],
        bands,
        title=f"{found.spec.title}: the next days",
        says="; ".join(
            f"{band.title}: {band.middle[-1]:.0f} beds on the last day"
            for band in bands
            if math.isfinite(band.middle[-1])
        )
        or "The forecast is withheld.",
        up="Beds taken",
        seen=[(day * DAY, beds) for day, beds in found.recent],
        every=DAYS,
    )
