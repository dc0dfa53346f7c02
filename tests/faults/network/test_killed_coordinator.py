"""Kill -9 of the coordinator in a run: a clear error, nothing given back, a new run works."""

import time
from collections import Counter
from contextlib import closing

import pytest

from ledger.questions.workspace import Workspace
from server.transcript import Transcript
from tests.simulators.network import COORDINATOR, command_lines, eventually

pytestmark = pytest.mark.slow


def test_the_run_ends_with_a_clear_error_and_after_a_restart_another_run_works(network):
    run = network.run()
    run.until("step", step=8)
    began = time.monotonic()
    network.kill(COORDINATOR)
    run.end()
    assert run.error["code"] == "TW6013"
    assert run.status == 5
    # Nothing that it started outlives it, so that it can be started again.
    eventually(lambda: not command_lines(network.folder / COORDINATOR), seconds=15)
    network.up(COORDINATOR)
    path = network.folder / COORDINATOR / "state" / "transcripts" / f"{run.id}.sqlite"
    with closing(Transcript.open(path)) as transcript:
        assert transcript.outcome == "failed"
    for name in network.hospitals:
        # The nodes noticed, ended their attempt, and kept the whole charge.
        eventually(lambda name=name: network.status(name)["running"] is None)
        charged = network.book(name)[run.id]
        assert charged.reserved == 33
        assert charged.marked >= 7
        assert not charged.closed
        assert network.stage.running[name].poll() is None
    network.heal()
    assert time.monotonic() - began < 90
    assert len(network.complete_run().release["members"]) == 4
    for name in network.hospitals:
        assert not network.book(name)[run.id].closed


def test_a_coordinator_that_is_killed_again_and_again_keeps_every_released_model(network):
    release = network.complete_run().release
    for _ in range(2):
        network.kill(COORDINATOR)
        network.up(COORDINATOR)
    assert (network.folder / release["pack"]).is_file()
    # Flower's SuperNodes look for the SuperLink again at pauses of up to 20 s.
    assert len(network.complete_run().release["members"]) >= 3
    # What it did stands in an audit log of its own, which outlived each death.
    answer, _ = Workspace(network.folder / COORDINATOR).ask_log(
        "admin-acts", {}, copy=None, patients=False
    )
    acts = Counter(row.cells[2] for row in answer.rows)
    assert acts["coordinator-started"] >= 3
    assert acts["run-ordered"] >= 2
    assert acts["model-released"] >= 2
