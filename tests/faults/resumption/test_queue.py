"""The queue of studies: a broken one does not block the next, a killed coordinator resumes it."""

import shutil

import pytest

from server.metrics import CoordinatorMetrics
from tests.simulators.network import COORDINATOR, SLACK, Run, eventually, twinward
from tests.simulators.resumption import (
    entry,
    is_proved,
    queue,
    require_no_spend_lost,
    wait_ended,
    wait_running,
)
from twinward.ids import RunId

pytestmark = pytest.mark.slow


def test_a_coordinator_killed_twice_finishes_the_study_and_a_broken_one_is_parked(network):
    studies = network.folder / COORDINATOR / "studies"
    shutil.copytree(studies / network.study, studies / "heart-network")
    queue(network, "pause")
    queue(network, "abort", str(queue(network, "add", "--study", network.study)["number"]))
    broken = add_then_lose(network, studies / "heart-network")
    words = ("--study", network.study, "--queue", "--successors", "3")
    following = Run(network.stage.events("server", "run", COORDINATOR, *words))
    number = following.until("queue", state="waiting")["number"]
    assert {entry(network, one)["state"] for one in (broken, number)} == {"waiting"}
    told = {one.name: one.samples[0].value for one in CoordinatorMetrics(studies.parent).collect()}
    assert (told["twinward_up"], told["twinward_run_active"]) == (1, 0)
    assert told["twinward_queue_waiting"] == 2
    assert 0 <= told["twinward_queue_oldest_waiting_seconds"] < 60
    queue(network, "resume")
    runs = []
    for step in (3, 9):
        runs.append(wait_running(network, number, step=step, seconds=2 * SLACK))
        network.kill(COORDINATOR)
        network.up(COORDINATOR)
    parked = entry(network, broken)
    assert (parked["state"], parked["code"]) == ("parked", "TW1039")
    done = wait_ended(network, number, seconds=3 * SLACK)
    assert done["state"] == "done", done
    # One run all along: each kill cost one of its spare attempts, and none a new price.
    assert {done["run"], *runs} == {done["run"]}
    assert (done["parent"], done["successors"]) == (None, 3)
    assert is_proved(network, done["run"])
    following.end()  # whoever followed it was told, over both kills
    assert following.last.get("event") == "done", following.last
    assert following.last["run"] == done["run"]
    assert following.of("coordinator-away")
    assert {one["run"] for one in following.of("queue")} >= {*runs, done["run"]}
    for name in network.hospitals:
        charged = network.book(name)[RunId(done["run"])]
        assert charged.closed, name
        assert charged.marked <= network.the_plan().attempts
    assert require_no_spend_lost(network) > 0


def add_then_lose(network, folder):
    """A study that was in order when it was added and is not when its turn comes."""
    (folder / "study.json").rename(folder / "kept")
    shutil.copy(folder / "kept", folder / "study.json")
    number = queue(network, "add", "--study", "heart-network")["number"]
    shutil.rmtree(folder)
    return number


def test_aborting_ends_the_run_and_draining_takes_no_more(network):
    network.kill(network.hospitals[-1])  # the others wait for it a while, in which the abort comes
    number = queue(network, "add", "--study", network.study)["number"]
    run = eventually(lambda: entry(network, number)["run"])
    queue(network, "abort", str(number))
    ended = wait_ended(network, number, seconds=SLACK)
    assert (ended["state"], ended["code"], ended["run"]) == ("aborted", "TW6233", run)
    queue(network, "drain")
    status, refused = twinward(
        network.folder, "server", "queue", "add", COORDINATOR, "--study", network.study
    )
    assert (status, refused["error"]["code"]) == (2, "TW6230")
    queue(network, "resume")
    status, refused = twinward(network.folder, "server", "queue", "abort", COORDINATOR, str(number))
    assert refused["error"]["code"] == "TW6232"
    status, refused = twinward(network.folder, "server", "queue", "abort", COORDINATOR, "999")
    assert refused["error"]["code"] == "TW6231"
    require_no_spend_lost(network)
