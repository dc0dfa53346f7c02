"""``twinward twin search`` and ``twinward twin trial``: plans compared, for research only."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hospital_node.record import RECORD, typed
from hospital_node.twins.cli_arguments import FILE, FOLDER, TWIN, opened, scenario
from twinward.console import emit, json_option, reports_errors, say, table

if TYPE_CHECKING:
    from models.treatment_search import Found

PLOT = click.option("--plot", type=FILE, help="Write the comparison as SVG.")
_VIRTUAL = "Virtual people (UVA/Padova equations): a reason to ask, never an answer for a person."
_ARMS = ("0.5@0", "0.75@0", "1.25@0", "1.5@0", "1@-15", "1@15")


@click.command()
@FOLDER
@RECORD
@TWIN
@click.option(
    "--plan", "plans", multiple=True, required=True, metavar="INPUT=AMOUNT@MINUTES",
    help="Add to what is planned: bolus=2@0, carbs=-20@30. Each is a plan of its own.",
)  # fmt: skip
@click.option("--hours", default=4.0, show_default=True, help="How far to look.")
@click.option("--low", default=70.0, show_default=True, help="Below this a course does harm.")
@click.option("--high", default=180.0, show_default=True, help="Above this it is too high.")
@PLOT
@json_option
@reports_errors
def search(
    *,
    folder: Path,
    record: str,
    name: str,
    plans: tuple[str, ...],
    hours: float,
    low: float,
    high: float,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Compare plans by the copies of one patient. Research only: it recommends nothing."""
    from hospital_node.twins import search as searches
    from models.treatment_search import Aim

    patient = typed(record)
    with opened(folder) as service:
        searched = searches.search(
            service,
            patient,
            name,
            [scenario(plan) for plan in plans],
            aim=Aim(low=low, high=high),
            horizon_minutes=hours * 60,
        )
    spec, told = searched.told.spec, searched.told
    _write(plot, searched.found, title=f"{spec.title}: plans compared, for research")
    emit(
        {
            "twin": spec.name,
            "population": told.population,
            "asked_at_minute": told.asked_at,
            "error_over_persistence": None if math.isnan(told.skill) else round(told.skill, 3),
            **found_as_json(searched.found),
            "limits": list(spec.limits),
        },
        schema="twin.search",
        as_json=as_json,
        text=lambda: "\n".join([found_as_text(searched.found), *spec.limits]),
    )
    if plot is not None:
        say(f"plot: {plot}")


@click.command()
@click.option(
    "--arm", "arms", multiple=True, default=_ARMS, show_default=True, metavar="FACTOR@MINUTES",
    help="A factor on the usual dose, and minutes from the meal: 0.8@-15.",
)  # fmt: skip
@click.option("--people", default=300, show_default=True, type=click.IntRange(40, 5000))
@click.option("--meal", default=60.0, show_default=True, type=click.FloatRange(5, 200), help="g.")
@click.option("--seed", default=1, show_default=True, help="Another seed is other people.")
@PLOT
@json_option
@reports_errors
def trial(
    *,
    arms: tuple[str, ...],
    people: int,
    meal: float,
    seed: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Compare doses of one meal on virtual people; no patient is involved."""
    from hospital_node.twins import trial as trials

    findings = trials.run([trials.arm(arm) for arm in arms], people=people, grams=meal, seed=seed)
    _write(plot, findings.everyone, title=f"{people} virtual people: plans compared")
    emit(
        {
            "virtual": True,
            "people": people,
            "meal_g": meal,
            "seed": seed,
            **found_as_json(findings.everyone),
            "groups": {group: found_as_json(found) for group, found in findings.groups},
        },
        schema="twin.trial",
        as_json=as_json,
        text=lambda: "\n\n".join(
            [
                found_as_text(findings.everyone),
                *(f"{group}\n{_rows(found)}" for group, found in findings.groups),
                _VIRTUAL,
            ]
        ),
    )
    if plot is not None:
        say(f"plot: {plot}")


def found_as_json(found: Found) -> dict[str, Any]:
    """Every plan with its shares; a number that is not known is null."""

    def three(values: tuple[float, float, float]) -> list[float | None]:
        return [round(each, 4) if math.isfinite(each) else None for each in values]

    return {
        "copies": found.copies,
        "plans": [
            {
                "title": plan.title,
                "utility": three(plan.utility),
                "gain": three(plan.gain),
                "best": round(plan.best, 4),
                "harm": round(plan.harm, 4),
                "worse": round(plan.worse, 4),
            }
            for plan in found.plans
        ],
        "stands_out": found.stands_out,
        "reason": found.reason,
        "use": _research(),
    }


def found_as_text(found: Found) -> str:
    """A table, whether a plan stands out and why not, and what it is for."""
    said = f"stands out: {found.stands_out}" if found.stands_out else "no plan stands out"
    return "\n".join([_rows(found), "", f"{said}: {found.reason}.", _research()])


def _rows(found: Found) -> str:
    return table(
        ["plan", "in range less penalty", "gain (90 % of copies)", "best", "harm", "worse"],
        [
            [
                plan.title,
                f"{plan.utility[0]:.2f}",
                f"{plan.gain[0]:+.2f} ({plan.gain[1]:+.2f} to {plan.gain[2]:+.2f})",
                f"{plan.best:.0%}",
                f"{plan.harm:.0%}",
                f"{plan.worse:.0%}",
            ]
            for plan in found.plans
        ],
    )


def _write(plot: Path | None, found: Found, *, title: str) -> None:
    if plot is None:
        return
    from twinward.files import write_atomic
    from twinward.report.plans import Line, plans

    drawn = plans(
        [Line(each.title, *each.gain, (each.best, each.harm)) for each in found.plans],
        title=title,
        says=f"{found.stands_out or 'No plan'} stands out: {found.reason}. {_research()}",
        across="gain over the first plan, in share of time (90 % of copies)",
        headings=("best", "harm"),
    )
    write_atomic(plot, drawn.encode(), mode=0o600)


def _research() -> str:
    from models.treatment_search import RESEARCH

    return RESEARCH
