"""The queue of studies on disk: order, modes, aborting, successors; two processes at once."""

import subprocess
import sys
import threading
from contextlib import closing

import pytest

from server.study_queue import (
    ABORTED,
    DONE,
    DRAINING,
    OPEN,
    PAUSED,
    RUNNING,
    WAITING,
    StudyQueue,
)
from twinward.errors import UsageError
from twinward.ids import RunId

RUN = RunId("ab" * 32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "queue.sqlite"


@pytest.fixture
def queue(path):
    with closing(StudyQueue(path)) as found:
        yield found


def refused(code, call, *args):
    with pytest.raises(UsageError) as refusal:
        call(*args)
    assert refusal.value.code == code


def test_studies_are_taken_in_the_order_in_which_they_were_added(queue):
    for study in ("b", "a", "b"):
        queue.add(study)
    assert [queue.take().study for _ in range(3)] == ["b", "a", "b"]
    assert queue.take() is None


def test_a_pause_begins_nothing_and_a_drain_takes_nothing_but_finishes(queue):
    queue.add("a")
    queue.turn(PAUSED)
    assert queue.take() is None
    queue.add("b")
    queue.turn(DRAINING)
    refused("TW6230", queue.add, "c")
    assert (queue.take().study, queue.take().study) == ("a", "b")
    queue.turn(OPEN)
    assert queue.add("c").state == WAITING


def test_what_is_taken_and_dies_is_still_there_for_the_next_process(path, queue):
    number = queue.add("a", successors=1).number
    queue.take()
    queue.began(number, RUN)
    with closing(StudyQueue(path)) as other:  # a restart
        assert other.entry(number).state == RUNNING
        assert other.entry(number).run == RUN
        other.again(number)
        found = other.take()
    assert (found.run, found.parent, found.successors) == (None, RUN, 0)


def test_a_run_that_nobody_heard_of_is_no_parent(queue):
    number = queue.add("a").number
    queue.take()
    queue.put_back(number)
    found = queue.take()
    assert (found.number, found.parent, found.successors) == (number, None, 2)


def test_aborting_takes_out_what_waits_and_marks_what_runs(queue):
    running, waiting = queue.add("a").number, queue.add("b").number
    queue.take()
    assert queue.abort(waiting).state == ABORTED
    assert (queue.abort(running).state, queue.entry(running).aborting) == (RUNNING, True)
    queue.ended(running, DONE)
    refused("TW6232", queue.abort, running)
    refused("TW6231", queue.abort, 99)
    assert queue.take() is None


def test_two_processes_never_take_the_same_study(path, queue):
    for _ in range(40):
        queue.add("a")
    taken = []

    def take_all():
        with closing(StudyQueue(path)) as own:
            while (entry := own.take()) is not None:
                taken.append(entry.number)

    threads = [threading.Thread(target=take_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(1, 41))


def test_the_file_is_for_its_owner_only(path, queue):
    queue.add("a")
    assert path.stat().st_mode & 0o077 == 0


def test_opening_it_once_more_in_the_same_process_costs_no_lock(path, queue):
    """The daemon's own is open while a status opens another, and a command a third.

    Without the daemon's lock the command takes itself for the last user and removes the journal.
    """
    first = queue.add("heart-risk")
    StudyQueue(path).close()
    command = (
        "import sys; from pathlib import Path; from server.study_queue import StudyQueue;"
        "queue = StudyQueue(Path(sys.argv[1])); queue.add('heart-network'); queue.close()"
    )
    subprocess.run([sys.executable, "-c", command, str(path)], check=True)
    queue.ended(first.number, DONE)
    with closing(StudyQueue(path)) as again:
        assert [one.state for one in again.entries()] == [DONE, WAITING]
    assert [one.study for one in queue.entries()] == ["heart-risk", "heart-network"]


def test_for_how_long_the_first_one_waits_is_told(path, queue):
    assert queue.standing()["oldest_waiting_seconds"] == 0
    queue.add("a")
    queue.add("b")
    queue._db.execute("update added set at = at - 100 * number")
    assert 200 <= queue.standing()["oldest_waiting_seconds"] < 260
    queue.take()
    queue.take()
    assert queue.standing()["oldest_waiting_seconds"] == 0


def test_a_run_that_was_interrupted_comes_before_studies_that_were_added_earlier(queue):
    waiting = queue.add("lungs").number
    interrupted = queue.begin("heart-risk").number
    assert (interrupted > waiting, queue.entry(interrupted).state) == (True, "running")
    queue.began(interrupted, RUN)
    queue.go_on(interrupted)
    assert [queue.take().number, queue.take().number] == [interrupted, waiting]


def test_nothing_begins_at_once_while_the_queue_is_drained(queue):
    queue.turn("draining")
    with pytest.raises(UsageError) as refused:
        queue.begin("heart-risk")
    assert refused.value.code == "TW6230"
    assert queue.entries() == []
