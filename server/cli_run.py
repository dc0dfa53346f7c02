"""``twinward server run``: one run followed to its end, also over stops of the coordinator."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
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
    help="Let it wait for its turn in the queue, and follow it there.",
)
@click.option(
    "--successors",
    type=click.IntRange(0, 20),
    help="With --queue: how often it is run again if a stop of the coordinator leaves a run that "
    f"cannot go on; {SUCCESSORS} unless told otherwise, each at the whole price.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per event.")
@reports_errors
def run(*, folder: Path, study: str, queued: bool, successors: int | None, as_json: bool) -> None:
    """Run a study once and follow it, until the model is released or the run has failed.

    The run goes on without you if you stop following it, and after a stop of the coordinator.
    """
    if successors is not None and not queued:
        raise click.UsageError("--successors goes with --queue")
    if queued:
        events = _queued(folder, study, SUCCESSORS if successors is None else successors)
    else:
        events = _at_once(folder, study)
    show(events, as_json=as_json)


def show(events: Iterable[dict[str, Any]], *, as_json: bool) -> None:
    """Print every event of a run as it comes: a line for people, or one JSON object."""
    from server import queue_follow

    for event in events:
        if as_json:
            click.echo(json.dumps({"schema": "twinward/run-event/v1", **event}, sort_keys=True))
        else:
            queue_follow.show(event)


def followed(folder: Path, number: int) -> Iterator[dict[str, Any]]:
    """Events of an entry of the queue until it has ended."""
    from server import cli_queue, queue_follow

    with closing(cli_queue.opened(folder)) as queue:
        yield from queue_follow.follow(folder, queue, number)


def _at_once(folder: Path, study: str) -> Iterator[dict[str, Any]]:
    """Events of a run that begins now; if the coordinator goes away, of its entry in the queue."""
    from server import watch
    from twinward.errors import CoordinatorUnreachable

    number: int | None = None
    try:
        for event in watch.start_run(folder, study=study):
            number = event.get("number", number)
            yield event
    except CoordinatorUnreachable:
        if number is None:
            raise
    else:
        return
    yield from followed(folder, number)


def _queued(folder: Path, study: str, successors: int) -> Iterator[dict[str, Any]]:
    from server import cli_queue

    entry = cli_queue.added(folder, study, successors=successors)
    yield from followed(folder, entry.number)
