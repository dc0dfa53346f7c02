"""``twinward twin forecaster``: why a forecaster is not asked what another dose would do."""

from __future__ import annotations

from pathlib import Path

import click

from twinward.console import emit, json_option, reports_errors, table


@click.command()
@click.argument("diary_file", metavar="DIARY", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--bolus", "amounts", multiple=True, type=float, required=True,
    help="Units added to the last dose; negative for less. May be given again.",
)  # fmt: skip
@json_option
@reports_errors
def forecaster(*, diary_file: Path, amounts: tuple[float, ...], as_json: bool) -> None:
    """Ask ordinary forecasters what another dose would do, to see why they are not asked."""
    from dataclasses import asdict

    from hospital_node.twins import diary, doses
    from models import twins
    from twinward.files import read_given

    text = read_given(diary_file).decode("utf-8-sig", errors="replace")
    found = doses.ask(diary.read(text, spec=twins.get("glucose/1").spec), amounts)
    rows = [
        (
            each.knows,
            f"{each.error_over_persistence:.2f}",
            *(f"{change:+.1f}" for change in each.change),
            "the wrong way" if each.wrong_way else "the right way",
        )
        for each in found
    ]
    heading = ("KNOWS", "ERROR / STAYS", *(f"{amount:+g} U" for amount in amounts), "POINTS")
    emit(
        {
            "minutes": doses.AHEAD,
            "unit": "mg/dL",
            "amounts": list(amounts),
            "forecasters": [asdict(each) for each in found],
        },
        schema="twin.forecaster",
        as_json=as_json,
        text=lambda: f"change of glucose in {doses.AHEAD} minutes, mg/dL\n" + table(heading, rows),
    )
