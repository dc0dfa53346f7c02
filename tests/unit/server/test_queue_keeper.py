"""What a study of the queue comes to that was running when the coordinator stopped."""

import asyncio
from contextlib import closing
from types import SimpleNamespace

import pytest

from server import order, studies
from server.daemon import close_interrupted_runs
from server.paths import ServerPaths
from server.queue_keeper import QueueKeeper
from server.release import PACK
from server.study_queue import StudyQueue
from server.transcript import Transcript
from tests.simulators.founding import NOW, Paper
from twinward.clock import FixedClock
from twinward.errors import TrainingError
from twinward.ids import RunId, StudyId
from twinward.signing import Document

RUN = RunId("cd" * 32)


@pytest.fixture
def paths(tmp_path):
    return ServerPaths(tmp_path)


@pytest.fixture
def queue(paths):
    with closing(StudyQueue(paths.queue)) as found:
        yield found


def interrupted(paths, queue, *, run=RUN, successors=2, outcome="failed"):
    """A study that was running, with the transcript that its run left; then a start."""
    number = queue.add("heart-risk", successors=successors).number
    queue.take()
    if run is not None:
        queue.began(number, run)
        record = Transcript.create(paths.transcript(run), run=bytes.fromhex(run), plan=bytes(32))
        with closing(record):
            if outcome == "finished":
                record.finish({})
            elif outcome == "failed":
                record.fail("too few hospitals")
    return number


def started(paths, queue):
    """The queue after a start of the coordinator in which another run is under way."""

    async def start():
        busy = SimpleNamespace(paths=paths, run=object())
        keeper = QueueKeeper(busy, queue, clock=FixedClock(0))
        keeper.start()
        await keeper.stop()

    asyncio.run(start())


def test_a_run_that_was_under_way_goes_on_and_is_not_closed_at_the_start(paths, queue):
    number = interrupted(paths, queue, outcome="open")
    close_interrupted_runs(paths)
    started(paths, queue)
    found = queue.entry(number)
    assert (found.state, found.run, found.parent, found.successors) == ("waiting", RUN, None, 2)
    with closing(Transcript.open(paths.transcript(RUN))) as record:
        assert record.outcome == "open"


def test_a_run_of_nobodys_queue_is_over(paths, queue):
    Transcript.create(paths.transcript(RUN), run=bytes.fromhex(RUN), plan=bytes(32)).close()
    close_interrupted_runs(paths)
    with closing(Transcript.open(paths.transcript(RUN))) as record:
        assert record.outcome == "failed"


def test_a_run_that_is_over_is_followed_by_a_successor_that_names_it(paths, queue):
    number = interrupted(paths, queue)
    started(paths, queue)
    found = queue.entry(number)
    assert (found.state, found.run, found.parent, found.successors) == ("waiting", None, RUN, 1)


def test_a_run_that_somebody_followed_goes_on_too_and_never_for_a_second_price(paths, queue):
    number = queue.begin("heart-risk").number
    queue.began(number, RUN)
    Transcript.create(paths.transcript(RUN), run=bytes.fromhex(RUN), plan=bytes(32)).close()
    close_interrupted_runs(paths)
    waiting = queue.add("lungs").number
    started(paths, queue)
    found = queue.entry(number)
    assert (found.state, found.run, found.successors) == ("waiting", RUN, 0)
    assert waiting > number


def test_a_second_run_at_once_is_refused_and_not_kept_for_later(paths, queue):
    async def ask():
        busy = SimpleNamespace(paths=paths, run=object())
        keeper = QueueKeeper(busy, queue, clock=FixedClock(0))
        task = keeper.run_at_once("heart-risk", tell=lambda _: asyncio.sleep(0))
        await asyncio.sleep(0.05)
        assert not task.done()  # what a stop interrupted is looked at first
        keeper.start()
        with pytest.raises(TrainingError) as refused:
            await task
        await keeper.stop()
        return refused.value.code

    assert asyncio.run(ask()) == "TW6010"
    assert queue.entries() == []


def test_a_run_of_which_no_hospital_can_have_heard_is_no_parent(paths, queue):
    number = interrupted(paths, queue, run=None)
    started(paths, queue)
    found = queue.entry(number)
    assert (found.state, found.parent, found.successors) == ("waiting", None, 2)


def test_patients_do_not_pay_for_ever_for_a_coordinator_that_stops(paths, queue):
    number = interrupted(paths, queue, successors=0)
    started(paths, queue)
    found = queue.entry(number)
    assert (found.state, found.code, found.run) == ("parked", "TW6234", RUN)


def planned(paper):
    """A study and its plan, signed, in the coordinator's folder."""
    study, plan = studies.make(
        studies.template("heart-risk"), name=StudyId("heart-risk"), founding=paper.found(),
        epsilon=1.0, slot_seconds=0.02, expected_patients=None, now=NOW,
    )  # fmt: skip
    studies.publish(paper.home.folder, study, plan, identity=paper.home.identity())


@pytest.mark.parametrize("study_is_there", [True, False])
def test_a_run_that_cannot_go_on_is_not_left_open(tmp_path, study_is_there):
    """Its study was planned anew while it was interrupted, or was taken away."""
    paper = Paper(tmp_path)
    if study_is_there:
        planned(paper)
    paths = ServerPaths(paper.home.folder)
    ordered = Document(order.KIND, {"plan": "00" * 32}).signed_by(paper.home.identity())
    paths.order(RUN).write_bytes(ordered.encode())
    home = SimpleNamespace(paths=paths, run=None, identity=paper.home.identity())

    async def until_it_ends(queue, number):
        keeper = QueueKeeper(home, queue, clock=FixedClock(0))
        keeper.start()
        async with asyncio.timeout(20):
            while (found := queue.entry(number)).parent is None and found.state != "parked":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await keeper.stop()
        return found

    with closing(StudyQueue(paths.queue)) as queue:
        number = interrupted(paths, queue, outcome="open")
        found = asyncio.run(until_it_ends(queue, number))
    if study_is_there:
        assert (found.state, found.run, found.parent) == ("waiting", None, RUN)
    else:
        assert (found.state, found.code) == ("parked", "TW1039")
    with closing(Transcript.open(paths.transcript(RUN))) as record:
        assert record.outcome == "failed"


def test_a_run_that_was_to_be_aborted_is_not_run_again(paths, queue):
    number = interrupted(paths, queue, outcome="open")
    queue.abort(number)
    started(paths, queue)
    assert (queue.entry(number).state, queue.entry(number).code) == ("aborted", "TW6233")


@pytest.mark.parametrize("released", [True, False])
def test_a_model_that_all_signed_is_released_and_never_trained_again(paths, queue, released):
    number = interrupted(paths, queue, outcome="finished")
    if released:
        pack = paths.releases / RUN[:16] / PACK
        pack.parent.mkdir()
        pack.write_bytes(b"a pack")
    started(paths, queue)
    found = queue.entry(number)
    expected = ("done", None) if released else ("parked", "TW6236")
    assert (found.state, found.code) == expected
