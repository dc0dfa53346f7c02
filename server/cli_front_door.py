"""``twinward server front-door``: what nginx needs, written for one coordinator."""

from __future__ import annotations

from pathlib import Path

import click

from twinward.clock import SystemClock
from twinward.console import emit, json_option, next_step, reports_errors


@click.command("front-door")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@json_option
@reports_errors
def command(*, folder: Path, as_json: bool) -> None:
    """Write the front door's certificate and nginx configuration into FOLDER/front_door.

    Run it again, and reload nginx, after a roll-over of the CA and within 90 days.
    """
    from server import front_door

    files = front_door.write(folder, now=SystemClock().now())
    emit(
        {"configuration": str(files.conf), "key_sha256": front_door.key_digest(folder)},
        schema="server.front-door",
        as_json=as_json,
        text=lambda: f"nginx configuration: {files.conf}",
    )
    next_step(
        f"nginx -t -c {files.conf}, then start or reload nginx; start the coordinator after the "
        "first time"
    )
