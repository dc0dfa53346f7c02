"""``twinward server queue``: studies that run one after the other."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twinward.console import emit, json_option, next_step, reports_errors, table

if TYPE_CHECKING:
    from server.study_queue import Entry, StudyQueue

_FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))


@click.group()
def queue() -> None:
    """Studies that run one after the other; one that cannot run is parked with its cause."""


@queue.command()
@_FOLDER
@click.option("--study", required=True, help="Study to run, for example heart-risk.")
@click.option(
    "--successors",
    type=click.IntRange(0, 20),
    default=2,
    show_default=True,
    help="How often it is run again if the coordinator stops in the middle; each costs patients "
    "its whole price.",
)
@json_option
@reports_errors
def add(*, folder: Path, study: str, successors: int, as_json: bool) -> None:
    """Put a study at the end; the running coordinator begins it when its turn comes."""
    entry = added(folder, study, successors=successors)
    emit(
        entry.as_json(),
        schema="server.queue.add",
        as_json=as_json,
        text=lambda: f"`{study}` waits as number {entry.number}",
    )
    next_step(f"twinward server queue list {folder}")


@queue.command(name="list")
@_FOLDER
@json_option
@reports_errors
def listed(*, folder: Path, as_json: bool) -> None:
    """Show what waits, runs and ended, with its cause."""
    with _queue(folder) as found:
        standing = found.standing()
    emit(standing, schema="server.queue.list", as_json=as_json, text=lambda: as_text(standing))


@queue.command()
@_FOLDER
@click.argument("number", type=int)
@json_option
@reports_errors
def abort(*, folder: Path, number: int, as_json: bool) -> None:
    """Take NUMBER out, or end its run; what was sent stays charged."""
    with _queue(folder, "queue-abort") as found:
        entry = found.abort(number)
    emit(
        entry.as_json(),
        schema="server.queue.abort",
        as_json=as_json,
        text=lambda: (
            f"number {number} is taken out"
            if entry.state == "aborted"
            else f"the run of number {number} ends within a second, if the coordinator is up"
        ),
    )


@queue.command()
@_FOLDER
@json_option
@reports_errors
def pause(*, folder: Path, as_json: bool) -> None:
    """Begin no next study; a run under way goes on, for a step cannot wait."""
    _turn(folder, "paused", as_json=as_json)


@queue.command()
@_FOLDER
@json_option
@reports_errors
def drain(*, folder: Path, as_json: bool) -> None:
    """Take no more studies and finish those that wait."""
    _turn(folder, "draining", as_json=as_json)


@queue.command()
@_FOLDER
@json_option
@reports_errors
def resume(*, folder: Path, as_json: bool) -> None:
    """Take and begin studies again, after a pause or a drain."""
    _turn(folder, "open", as_json=as_json)


def _turn(folder: Path, mode: str, *, as_json: bool) -> None:
    with _queue(folder, f"queue-{mode}") as found:
        found.turn(mode)
        standing = found.standing()
    emit(standing, schema="server.queue.mode", as_json=as_json, text=lambda: as_text(standing))


def added(folder: Path, study: str, *, successors: int, shard: int | None = None) -> Entry:
    """The study, or one shard of it, at the end of the queue, durably.

    Raises:
        UsageError: TW1039, there is no such study; TW6230, the queue is being drained; TW6244, its
            plan has not this shard.
    """
    from server import shards, studies
    from twinward.organisation import Organisation

    with _queue(folder, "queue-add") as found:
        found_study = studies.load(folder, study, identity=Organisation(folder).identity().public)
        shards.require_shard(found_study.plan, shard)
        return found.add(study, successors=successors, shard=shard)


def opened(folder: Path) -> StudyQueue:
    """The queue of a coordinator's folder."""
    from server.paths import ServerPaths
    from server.settings import FILE, ServerSettings
    from server.study_queue import StudyQueue
    from twinward.settings import load

    load(ServerSettings, folder / FILE)
    return StudyQueue(ServerPaths(folder).queue)


def _queue(folder: Path, command: str | None = None) -> closing[StudyQueue]:
    """The queue; a command is entered in the coordinator's audit log first."""
    from server import cli_members

    if command is not None:
        cli_members.enter(folder, command)
    return closing(opened(folder))


def as_text(standing: dict[str, Any]) -> str:
    """The queue for people."""
    rows = [
        (
            str(one["number"]),
            one["study"] if one["shard"] is None else f"{one['study']}, shard {one['shard']}",
            "ending" if one["aborting"] and one["state"] == "running" else one["state"],
            (one["run"] or "")[:16],
            (one["parent"] or "")[:16],
            f"[{one['code']}] {one['cause']}" if one["code"] else "",
        )
        for one in standing["entries"]
    ]
    headings = ("NUMBER", "STUDY", "STATE", "RUN", "IN PLACE OF", "CAUSE")
    return f"queue: {standing['mode']}\n" + (table(headings, rows) if rows else "nothing in it")
