"""The command ``twinward node policy``: is the file sound, and what would it say of a plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twinward.console import emit, json_option, reports_errors, table
from twinward.errors import EXIT_REFUSED
from twinward.files import read_given

if TYPE_CHECKING:
    from hospital_node.policy import Decision

FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
FILE_PATH = click.Path(path_type=Path, dir_okay=False)


@click.group()
def policy() -> None:
    """What this hospital agreed to: `policy.toml`."""


@policy.command()
@FOLDER
@click.argument("plan", type=FILE_PATH, required=False)
@json_option
@reports_errors
def check(*, folder: Path, plan: Path | None, as_json: bool) -> None:
    """Read the policy strictly; with PLAN say what each rule would decide. Changes nothing."""
    from hospital_node import policy_code, policy_file
    from hospital_node.settings import FILE, NodeSettings
    from twinward.settings import load

    org, found = load(NodeSettings, folder / FILE).org, policy_file.read(folder)
    site = found.policy
    answer: dict[str, Any] = {
        "policy": found.digest,
        "code": policy_code.installed(),
        "studies": [study.study for study in site.studies],
        "approvals": site.approvals,
        "approvers": [one.name for one in site.approvers],
    }
    if plan is None:
        emit(
            answer,
            schema="node.policy.check",
            as_json=as_json,
            text=lambda: (
                f"policy {found.digest}\ninstalled code {answer['code']}\nstudies: "
                f"{', '.join(answer['studies']) or 'none, so every plan is refused'}"
            ),
        )
        return
    from hospital_node.policy_dry_run import dry_run

    verdicts, decision = dry_run(folder, read_given(plan), site=site, org=org)
    answer |= {
        "permit": decision.permit,
        "rule": decision.rule,
        "because": decision.because,
        "rules": [
            {"rule": one.rule, "permit": one.permit, "because": one.because} for one in verdicts
        ],
    }
    emit(
        answer,
        schema="node.policy.check",
        as_json=as_json,
        text=lambda: (
            table(("RULE", "NOW", "BECAUSE"), [_row(one) for one in verdicts])
            + f"\n{'permitted' if decision.permit else 'REFUSED'} by `{decision.rule}`: "
            + decision.because
        ),
    )
    if not decision.permit:
        raise click.exceptions.Exit(EXIT_REFUSED)


def _row(one: Decision) -> tuple[str, str, str]:
    return one.rule, {True: "yes", False: "NO", None: "asked later"}[one.permit], one.because
