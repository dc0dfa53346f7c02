"""``twinward server run``: one run followed to its end, by itself or as a study of the queue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from server.study_queue import SUCCESSORS
from twinward.console import reports_errors


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--study", required=True, help="Study to run, for example heart-risk.")
@click.option(
    "--queue",
    "queued",
    is_flag=True,
    help="Put it into the queue and follow it there: it goes on without you, and after a stop of "
    "the coordinator.",
)
@click.option(
    "--successors",
    type=click.IntRange(0, 20),
    help="With --queue: how often it is run again if the coordinator stops in the middle; "
    f"{SUCCESSORS} unless told otherwise, each at the whole price.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per event.")
@reports_errors
def run(*, folder: Path, study: str, queued: bool, successors: int | None, as_json: bool) -> None:
    """Run a study once and follow it, until the model is released or the run has failed."""
    from server import queue_follow, watch

    if successors is not None and not queued:
        raise click.UsageError("--successors goes with --queue")
    if queued:
        events = _queued(folder, study, SUCCESSORS if successors is None else successors)
    else:
        events = watch.start_run(folder, study=study)
    show = queue_follow.show if queued else watch.show
    for event in events:
        if as_json:
            click.echo(json.dumps({"schema": "twinward/run-event/v1", **event}, sort_keys=True))
        else:
            show(event)


def _queued(folder: Path, study: str, successors: int) -> Iterator[dict[str, Any]]:
    from server import cli_queue, queue_follow

    entry = cli_queue.added(folder, study, successors=successors)
    with closing(cli_queue.opened(folder)) as queue:
        yield from queue_follow.follow(folder, queue, entry.number)
