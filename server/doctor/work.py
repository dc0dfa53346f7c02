"""Checks of what the coordinator was asked to do: runs that did not end, studies that stand."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from server import release
from server.doctor.place import Place
from server.study_queue import DONE, OPEN, PARKED, WAITING
from server.transcript import FINISHED
from server.transcript import OPEN as UNDER_WAY
from twinward.doctor.findings import Concern, NotChecked
from twinward.errors import TrainingError
from twinward.forms import reading


def runs(place: Place) -> str:
    """Every run ended, and every model that all signed was released."""
    outcomes = {
        path.stem: _outcome(path) for path in sorted(place.state("transcripts").glob("*.sqlite"))
    }
    if not outcomes:
        raise NotChecked("there was no run yet")
    releases = place.folder / "releases"
    stuck = [
        run
        for run, outcome in outcomes.items()
        if outcome == FINISHED and not release.is_available(releases / run[:16])
    ]
    current = None if place.status is None else place.status["running"]
    stuck = [run for run in stuck if run != current]
    if stuck:
        raise TrainingError(
            f"all hospitals signed the model of run {stuck[0][:16]}, and it is not released",
            code="TW6236",
            at=str(place.state("transcripts")),
            note=f"{len(stuck)} in all",
            help="the release is tried again at each start: start the coordinator, read its log",
        )
    interrupted = [run for run, outcome in outcomes.items() if outcome == UNDER_WAY]
    if interrupted and place.status is None:
        raise Concern(
            f"run {interrupted[0][:16]} was under way when the coordinator stopped",
            code="TW7657",
            help="start the coordinator: a run of the queue goes on, any other is over, and the "
            "hospitals are told; what was sent stays charged",
        )
    return f"{len(outcomes)} runs" + (", one under way" if current else ", none under way")


def queue(place: Place) -> str:
    """No study stands parked, and those that wait may begin."""
    path = place.state("queue") / "queue.sqlite"
    if not path.exists():
        raise NotChecked("nothing was queued yet")
    with reading(path) as database:
        (mode,) = database.execute("select mode from mode").fetchone()
        rows = database.execute("select study, state, code from entries order by number").fetchall()
    newest = {study: (state, code) for study, state, code in rows}
    parked = [f"`{study}` [{code}]" for study, (state, code) in newest.items() if state == PARKED]
    if parked:
        raise Concern(
            f"parked: {', '.join(sorted(parked))}",
            code="TW7659",
            help="`twinward explain CODE` says what to do; then `twinward server queue add`",
        )
    waiting = sum(state == WAITING for _, state, _ in rows)
    if waiting and mode != OPEN:
        raise Concern(
            f"{waiting} studies wait, and the queue is {mode}",
            code="TW7660",
            help="`twinward server queue resume` lets them begin",
        )
    done = sum(state == DONE for _, state, _ in rows)
    return f"{mode}; {waiting} wait, {done} done"


def _outcome(path: Path) -> str:
    try:
        with reading(path) as database:
            (outcome,) = database.execute("select outcome from run").fetchone()
    except (sqlite3.Error, TypeError) as error:
        raise TrainingError(
            f"the transcript of run {path.stem[:16]} cannot be read",
            code="TW6141",
            at=str(path),
            note=str(error),
            help="the coordinator would not start: restore the file from the newest backup",
        ) from error
    return str(outcome)
