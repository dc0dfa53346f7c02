"""Kill -9 of the coordinator in a run that `server run` began: it goes on; its follower is told."""

from collections import Counter

import pytest

from ledger.questions.workspace import Workspace
from tests.simulators.network import COORDINATOR, command_lines, eventually
from tests.simulators.resumption import is_proved, require_no_spend_lost

pytestmark = pytest.mark.slow


def test_a_run_of_nobodys_queue_goes_on_from_its_last_sealed_step(network):
    run = network.run()
    number = run.until("opened")["number"]
    run.until("step", step=8)
    network.kill(COORDINATOR)
    run.until("coordinator-away")
    # Nothing that it started outlives it, so that it can be started again.
    own = {run.process.pid}
    left = lambda: command_lines(network.folder / COORDINATOR).keys() - own  # noqa: E731
    eventually(lambda: not left(), seconds=15)
    network.up(COORDINATOR)
    run.end()
    assert run.last.get("event") == "done", run.last
    assert (run.last["run"], run.last["number"]) == (run.id, number)
    assert is_proved(network, run.id)
    for name in network.hospitals:
        charged = network.book(name)[run.id]
        assert charged.reserved == 33
        assert 30 < charged.marked <= 33
    assert require_no_spend_lost(network) > 0


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
