"""Follow one study of the queue to its end, over stops of the coordinator and its successor runs.

Reads the queue's file, so it also tells what happens while the coordinator is away; ending it ends
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from server import watch
from server.paths import ServerPaths
from server.publish import release_folder
from server.study_queue import DONE, RUNNING, WAITING, StudyQueue
from twinward.console import next_step, say
from twinward.errors import TrainingError, TwinwardError

Event = dict[str, Any]

_LOOK_SECONDS = 0.5


def follow(folder: Path, queue: StudyQueue, number: int) -> Iterator[Event]:
    """Events of an entry until it has ended: ``queue`` at each change of it, steps, ``done``.

    Raises:
        TrainingError: TW6238, it ended without a model; the note says why.
        UsageError: TW6231, there is no such entry.
    """
    standing: Event | None = None
    step: Event | None = None
    while True:
        entry = queue.entry(number)
        event: Event = {"event": "queue", **entry.as_json()}
        if event != standing:
            yield event
            standing = event
        if entry.state not in {WAITING, RUNNING}:
            break
        newest = _progress(folder, entry.run)
        if newest is not None and newest != step:
            yield newest
            step = newest
        time.sleep(_LOOK_SECONDS)
    if entry.state != DONE or entry.run is None:
        raise TrainingError(
            f"number {number} of the queue ended without a model: {entry.state}",
            code="TW6238",
            note=f"[{entry.code}] {entry.cause}" if entry.code else None,
            help="attempts that were made stay charged; once the cause is mended, add it again",
        )
    released = release_folder(ServerPaths(folder), entry.run)
    yield {
        "event": "done",
        "number": number,
        "run": entry.run,
        "folder": str(released),
        "pack": str(released / "evidence.zip"),
    }


def _progress(folder: Path, run: str | None) -> Event | None:
    """The newest event of this run, if the coordinator is in it; or that it is away."""
    try:
        found = watch.status(folder)
    except TwinwardError:  # it is not up, just now starting, or its token is of an earlier start
        return {"event": "coordinator-away"}
    event: Event | None = found["progress"] if found["running"] == run else None
    return event or None


def show(event: Event) -> None:
    """One event for people."""
    match event["event"]:
        case "queue":
            about = f", in place of {event['parent'][:16]}" if event["parent"] else ""
            cause = f": [{event['code']}] {event['cause']}" if event["code"] else ""
            run = f", run {event['run'][:16]}" if event["run"] else ""
            click.echo(f"number {event['number']} is {event['state']}{run}{about}{cause}")
        case "coordinator-away":
            say("the coordinator does not answer; the study goes on once it is up")
        case "done":
            click.echo(f"released: {event['folder']}")
            next_step(f"twinward verify {event['pack']}")
        case "step" if "received" not in event:  # as the coordinator's status tells it
            say(f"step {event['step']} of {event['of']} with {', '.join(event['members'])}")
        case _:
            watch.show(event)
