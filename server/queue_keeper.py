"""Runs the studies of the queue one after the other; what cannot run is parked with its cause.

A study never blocks the next one, and one that somebody follows (`server run`) is an entry like any
other that does not wait. When the coordinator stops in the middle of a run, the run goes
on at the next start from the last sealed step, for one of its spare attempts. If that cannot be, it
is over and stays charged; a successor is ordered, a new run under new masks that names it as its
parent and pays the whole price again (ADR 13).
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import closing

from server import order, studies
from server.coordinator import Coordinator
from server.publish import unpublished
from server.run import Tell, another_run, run_study
from server.run_events import Event
from server.study_queue import ABORTED, DONE, PARKED, RUNNING, Entry, StudyQueue
from server.transcript import FINISHED, Transcript
from twinward.clock import Clock
from twinward.errors import TrainingError, TwinwardError
from twinward.ids import RunId
from twinward.logging import log

_LOOK_SECONDS = 0.5
_ANOTHER_RUN = another_run().code
_CANNOT_GO_ON = frozenset({"TW6132", "TW6242", "TW6248"})
"""Of a run that was taken up: no attempts are left, its study was planned anew, or its record is of
a backup."""


class QueueKeeper:
    """One for a coordinator; lives on its event loop."""

    def __init__(self, coordinator: Coordinator, queue: StudyQueue, *, clock: Clock) -> None:
        self._coordinator = coordinator
        self._queue = queue
        self._clock = clock
        self._keeping: asyncio.Task[None] | None = None
        self._started = asyncio.Event()
        self._at_once = set[asyncio.Task[None]]()

    def start(self) -> None:
        """Take up what a stop interrupted, then keep the queue going."""
        for entry in self._queue.entries():
            if entry.state == RUNNING:
                self._take_up(entry)
        self._keeping = asyncio.create_task(self._keep())
        self._started.set()

    async def stop(self) -> None:
        """End; a run under way ends with it, and is taken up at the next start."""
        tasks = [*self._at_once, *([] if self._keeping is None else [self._keeping])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def run_at_once(self, study: str, *, tell: Tell) -> asyncio.Task[None]:
        """Run a study now, ahead of what waits; it goes on whoever stops listening.

        Args:
            study: Its name.
            tell: Told of every event, the first with the ``number`` that it has in the queue.

        Returns:
            A task that ends with the run, and raises what ended it: TW6010, another run is under
            way; TW6230, the queue is being drained; and as ``server.run.run_study``.
        """
        task = asyncio.create_task(self._run_at_once(study, tell))
        self._at_once.add(task)
        task.add_done_callback(self._at_once.discard)
        return task

    async def _run_at_once(self, study: str, tell: Tell) -> None:
        await self._started.wait()  # or it would be taken for one that a stop interrupted
        if self._coordinator.run is not None:
            raise another_run()
        entry = self._queue.begin(study)

        async def numbered(event: Event) -> None:
            await tell({**event, "number": entry.number})

        ended = await self._run(entry, tell=numbered)
        if ended.cancelled():
            raise _aborted()
        ended.result()

    def _take_up(self, entry: Entry) -> None:
        """What an entry comes to that was running when the coordinator stopped."""
        if entry.run is None:
            self._queue.put_back(entry.number)
        elif self._is_finished(entry.run):
            if entry.run in unpublished(self._coordinator.paths):
                self._park(entry, _not_released())
            else:
                self._queue.ended(entry.number, DONE)
        elif entry.aborting:
            self._park(entry, _aborted(), state=ABORTED)
        elif order.is_open(self._coordinator.paths, entry.run):
            log().info("an interrupted run goes on", run=entry.run)
            self._queue.go_on(entry.number)
        else:
            self._again(entry)

    def _again(self, entry: Entry) -> None:
        """Its run is over for good: a new one takes its place, if one more may."""
        if entry.successors < 1:
            self._park(entry, _stopped_too_often())
        else:
            log().info("a successor of an interrupted run waits", run=entry.run)
            self._close(entry, "a new run takes its place")
            self._queue.again(entry.number)

    async def _keep(self) -> None:
        trouble = None
        while True:
            try:
                entry = None if self._coordinator.run else self._queue.take()
                if entry is not None:
                    await self._run(entry)
                trouble = None
            except Exception as error:  # noqa: BLE001 - or no study would run from then on
                what = type(error).__name__
                if trouble != what:
                    log().error("the queue could not go on", error=what)
                trouble = what
            await asyncio.sleep(_LOOK_SECONDS)

    async def _run(self, entry: Entry, *, tell: Tell | None = None) -> asyncio.Task[None]:
        async def noting(event: Event) -> None:
            if event["event"] == "opened":  # durable before Flower carries it to anyone
                self._queue.began(entry.number, RunId(event["run"]))
            if tell is not None:
                await tell(event)

        async def whole() -> None:
            folder, identity = self._coordinator.paths.folder, self._coordinator.identity
            study = await asyncio.to_thread(
                studies.load, folder, entry.study, identity=identity.public
            )
            if entry.run is not None and not order.can_go_on(
                self._coordinator.paths, entry.run, study
            ):
                raise _planned_anew()
            await run_study(
                self._coordinator,
                study,
                clock=self._clock,
                tell=noting,
                parent=entry.parent,
                interrupted=entry.run,
                goes_on=True,
                shard=entry.shard,
            )

        running = asyncio.create_task(whole())
        try:
            while not (await asyncio.wait([running], timeout=_LOOK_SECONDS))[0]:
                if self._queue.entry(entry.number).aborting and not self._all_signed():
                    if self._coordinator.run is not None:
                        self._coordinator.run.secure_sum.give_up()
                    running.cancel()
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await running
        self._note(entry, running, waits=tell is None)
        return running

    def _note(self, entry: Entry, running: asyncio.Task[None], *, waits: bool) -> None:
        if running.cancelled():
            self._park(entry, _aborted(), state=ABORTED)
            return
        error = running.exception()
        if error is None:
            self._queue.ended(entry.number, DONE)
        elif isinstance(error, TwinwardError) and error.code == _ANOTHER_RUN and waits:
            self._queue.put_back(entry.number)  # `server run` was quicker
        elif isinstance(error, TwinwardError):
            if entry.run is not None and error.code in _CANNOT_GO_ON:
                self._again(entry)
            else:
                self._park(entry, error)
        else:
            log().error("run failed", error=type(error).__name__)
            self._park(entry, _unexpected(error))

    def _park(self, entry: Entry, error: TwinwardError, *, state: str = PARKED) -> None:
        log().warning("a study of the queue ended", code=error.code, study=entry.study, state=state)
        self._close(entry, error.diagnostic.message)
        self._queue.ended(entry.number, state, code=error.code, cause=error.diagnostic.message)

    def _close(self, entry: Entry, cause: str) -> None:
        """Note that the run which this entry had waited to go on with is over, if it is open."""
        paths = self._coordinator.paths
        if entry.run is not None and order.is_open(paths, entry.run):
            with closing(Transcript.open(paths.transcript(entry.run))) as transcript:
                transcript.fail(cause)

    def _all_signed(self) -> bool:
        """Whether every member has signed the model: then it is too late to abort."""
        run = self._coordinator.run
        return run is not None and run.transcript.outcome == FINISHED

    def _is_finished(self, run: RunId) -> bool:
        path = self._coordinator.paths.transcript(run)
        if not path.exists():
            return False
        with closing(Transcript.open(path)) as transcript:
            return transcript.outcome == FINISHED


def _aborted() -> TrainingError:
    return TrainingError(
        "the coordinator's staff aborted it",
        code="TW6233",
        help="attempts made stay charged; add the study to the queue again if it is wanted",
    )


def _stopped_too_often() -> TrainingError:
    return TrainingError(
        "the coordinator stopped during each of its runs",
        code="TW6234",
        help="find out why it stops; every run costs patients its whole price, so no more follow",
    )


def _not_released() -> TrainingError:
    return TrainingError(
        "all hospitals signed the model, but its release failed",
        code="TW6236",
        help="read the coordinator's log; the release is tried again at each start",
    )


def _planned_anew() -> TrainingError:
    return TrainingError(
        "the study was planned anew while its run was interrupted",
        code="TW6242",
        help="nothing: attempts made stay charged, and a run of the new plan takes its place",
    )


def _unexpected(error: BaseException) -> TrainingError:
    return TrainingError(
        f"the run ended by an unexpected {type(error).__name__}",
        code="TW6235",
        help="report it with the coordinator's log; attempts made stay charged",
    )
