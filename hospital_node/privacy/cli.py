"""``twinward privacy``: attack the claim of a plan, and say in words what it promises."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from twinward.console import emit, json_option, next_step, reports_errors, say
from twinward.errors import EXIT_CHECK

if TYPE_CHECKING:
    from twinward.plan import Plan

PLAN = click.argument("plan_file", metavar="PLAN", type=click.Path(path_type=Path, dir_okay=False))
FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group()
def privacy() -> None:
    """Attack, explain and plan what a study says about its patients."""


@privacy.command()
@PLAN
@click.option("--quick", is_flag=True, help="Fewer trainings: seconds instead of half a minute.")
@json_option
@reports_errors
def audit(*, plan_file: Path, quick: bool, as_json: bool) -> None:
    """Attack the code that runs PLAN with made-up patients; exit 3 if the claim is refuted.

    Uses no record, so anyone may run it and publish what it says.
    """
    from hospital_node.privacy.audit import report

    plan = _read(plan_file)
    say("attacking the code that runs this plan, with made-up patients ...")
    found = report.audit(plan, size=report.QUICK if quick else report.FULL)
    emit(
        found.as_json(),
        schema="privacy.audit",
        as_json=as_json,
        text=lambda: report.as_text(found),
    )
    if not found.passed:
        sys.exit(EXIT_CHECK)
    next_step(f"twinward privacy statement {plan_file}")


@privacy.command()
@click.argument("folder", type=FOLDER)
@click.option("--plan", "plan_file", required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--models", default=128, show_default=True, help="Models per way of training.")
@json_option
@reports_errors
def membership(*, folder: Path, plan_file: Path, models: int, as_json: bool) -> None:
    """Infer who was in the training from models of PUBLIC data in FOLDER, with and without noise.

    Refuses every file that is not known to be public: how well members of a hospital's own cohort
    can be told is itself a statement about them.
    """
    from hospital_node.privacy.audit import lira

    found = lira.compare(lira.public(folder), plan=_read(plan_file), models=models)
    emit(
        lira.as_json(found, models=models),
        schema="privacy.membership",
        as_json=as_json,
        text=lambda: lira.as_text(found),
    )


@privacy.command()
@PLAN
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Write the picture.")
@click.option("--nist", is_flag=True, help="Print the NIST SP 800-226 considerations as JSON.")
@json_option
@reports_errors
def statement(*, plan_file: Path, svg: Path | None, nist: bool, as_json: bool) -> None:
    """Say what PLAN promises its patients, in plain words, before anyone takes part."""
    from hospital_node.privacy.statement import of_plan
    from twinward.files import write_atomic

    promised = of_plan(_read(plan_file))
    if svg is not None:
        write_atomic(svg, promised.svg().encode())
        say(f"picture: {svg}")
    emit(
        promised.as_json(),
        schema="privacy.statement",
        as_json=as_json or nist,
        text=lambda: "\n\n".join(promised.words()),
    )


def _read(plan_file: Path) -> Plan:
    from twinward.files import read_given
    from twinward.plan import KIND, Plan
    from twinward.signing import Document

    document = Document.decode(read_given(plan_file), kind=KIND, at=str(plan_file))
    return Plan.from_document(document)
