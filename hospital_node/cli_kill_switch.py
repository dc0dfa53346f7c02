"""``twinward node stop-training`` and ``resume-training``: the hospital's kill switch."""

from __future__ import annotations

from pathlib import Path

import click

from hospital_node.settings import FILE, NodeSettings
from twinward.clock import SystemClock
from twinward.console import emit, json_option, next_step, reports_errors
from twinward.settings import load

_FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))


@click.command(name="stop-training")
@_FOLDER
@click.option("--reason", default="", help="For this hospital's own staff; it does not leave.")
@json_option
@reports_errors
def stop_training(*, folder: Path, reason: str, as_json: bool) -> None:
    """Send no vector any more, from the next step on and over restarts; patients' rights go on."""
    from hospital_node import kill_switch

    load(NodeSettings, folder / FILE)
    found = kill_switch.stop(folder, reason=reason, clock=SystemClock())
    emit(
        {"stopped": True, **found},
        schema="node.stop-training",
        as_json=as_json,
        text=lambda: f"training is stopped since {found['since']}; what was sent stays charged",
    )
    next_step(f"twinward node resume-training {folder}, once the hospital wants it again")


@click.command(name="resume-training")
@_FOLDER
@json_option
@reports_errors
def resume_training(*, folder: Path, as_json: bool) -> None:
    """Take part in runs again, from the next one on."""
    from hospital_node import kill_switch

    load(NodeSettings, folder / FILE)
    was_stopped = kill_switch.resume(folder)
    emit(
        {"stopped": False, "was_stopped": was_stopped},
        schema="node.resume-training",
        as_json=as_json,
        text=lambda: (
            "this hospital takes part in the next run"
            if was_stopped
            else "training was not stopped here"
        ),
    )


COMMANDS = (stop_training, resume_training)
