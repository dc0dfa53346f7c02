"""``twinward experiment``: made-up hospitals, and the comparison that no network could see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from twinward.console import emit, json_option, next_step, reports_errors, table

FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))


@click.group()
def experiment() -> None:
    """Made-up hospitals, and comparisons in one process."""


@experiment.command("virtual-hospitals")
@FOLDER
@click.option("--seed", default=1, show_default=True, help="The same seed makes the same files.")
@json_option
@reports_errors
def virtual_hospitals(*, folder: Path, seed: int, as_json: bool) -> None:
    """Write files of four made-up hospitals to FOLDER, in the format of real ones."""
    from hospital_node.data import virtual

    written = {name: str(path) for name, path in virtual.write(folder, seed=seed).items()}
    emit(
        {"hospitals": written},
        schema="experiment.virtual-hospitals",
        as_json=as_json,
        text=lambda: "\n".join(f"{name}: {path}" for name, path in written.items()),
    )
    next_step("twinward node init NODE --name NAME --data FILE")


@experiment.command("virtual-diaries")
@FOLDER
@click.option("--people", default=24, show_default=True, type=click.IntRange(1, 1000))
@click.option("--days", default=5, show_default=True, type=click.IntRange(1, 60))
@click.option("--seed", default=1, show_default=True, help="The same seed makes the same files.")
@click.option("--vitals", is_flag=True, help="With hourly vital signs in each diary.")
@json_option
@reports_errors
def virtual_diaries(
    *, folder: Path, people: int, days: int, seed: int, vitals: bool, as_json: bool
) -> None:
    """Write diaries of PEOPLE virtual persons with diabetes at each of four hospitals to FOLDER."""
    from hospital_node.data import virtual_diaries as virtual

    written = virtual.write(folder, people=people, days=days, seed=seed, vitals=vitals)
    emit(
        {"hospitals": {name: str(path) for name, path in written.items()}, "virtual": True},
        schema="experiment.virtual-diaries",
        as_json=as_json,
        text=lambda: "\n".join(f"{name}: {path}" for name, path in written.items()),
    )
    next_step(
        "twinward node init NODE --name NAME --data FOLDER --study glucose-prior "
        "--model glucose_prior/1 --purpose diabetes-research"
    )


@experiment.command()
@FOLDER
@click.option(
    "--plan",
    "plan_file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The plan whose arithmetic and privacy are used.",
)
@click.option("--splits", default=10, show_default=True, help="Random splits to average over.")
@json_option
@reports_errors
def compare(*, folder: Path, plan_file: Path, splits: int, as_json: bool) -> None:
    """Compare training alone, together and without privacy on all files in FOLDER."""
    from hospital_node.data import uci
    from hospital_node.privacy.experiment import NOTE
    from hospital_node.privacy.experiment import compare as run
    from twinward.files import read_given
    from twinward.plan import KIND, Plan
    from twinward.signing import Document

    document = Document.decode(read_given(plan_file), kind=KIND, at=str(plan_file))
    plan = Plan.from_document(document)
    files = uci.find(folder)
    hospitals = {site: uci.read(files[site], hospital=site) for site in plan.sites if site in files}
    found = run(hospitals, plan=plan, splits=splits).as_json()
    emit(
        found,
        schema="experiment.compare",
        as_json=as_json,
        text=lambda: f"{_as_text(found)}\n{NOTE}",
    )


def _as_text(found: dict[str, Any]) -> str:
    names = list(found["rows"][0]["within"])
    rows = [
        (row["method"], _figure(row["pooled"]), *(_figure(row["within"][name]) for name in names))
        for row in found["rows"]
    ]
    heading = f"AUROC on held-out patients, mean of {found['splits']} random splits, 95 % interval"
    return f"{heading}\n" + table(("TRAINED", "POOLED", *(name.upper() for name in names)), rows)


def _figure(figure: dict[str, float | None] | str) -> str:
    if isinstance(figure, str):
        return figure
    spread = figure["half_width"]
    return f"{figure['mean']:.3f}" + ("" if spread is None else f" ± {spread:.3f}")
