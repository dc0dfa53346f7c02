"""Nobody drops out silently: a hospital that stops training is named with its cause everywhere."""

import json
from contextlib import closing

import pytest

from hospital_node import kill_switch
from ledger.questions.workspace import Workspace
from server.transcript import Transcript
from tests.simulators.network import COORDINATOR, eventually
from twinward.clock import SystemClock

pytestmark = pytest.mark.slow


def test_a_hospital_that_stops_training_is_out_at_the_next_step_and_is_named(network):
    stopped, offline, *rest = network.hospitals
    run = network.run()
    run.until("step", step=5)
    # A process of its own takes longer than all steps that are left.
    with network.paused(network.pid(offline)):  # and no step is made while this one writes it
        kill_switch.stop(network.folder / stopped, reason="our own affair", clock=SystemClock())
    lost = run.until("lost")
    assert lost["missing"] == [stopped]
    assert lost["step"] < 30
    told = run.until("absent", hospitals=[cause(stopped, "TW6222", "its staff stopped training")])
    assert told
    run.end()
    assert run.release, run.last
    assert sorted(run.release["members"]) == sorted([offline, *rest])
    assert run.release["absent"] == [cause(stopped, "TW6222", "its staff stopped training")]
    folder = network.folder / COORDINATOR / "releases" / run.id[:16]
    card = json.loads((folder / "card.json").read_bytes())
    assert card["absent"] == run.release["absent"]
    assert f"{stopped} (its staff stopped training)" in (folder / "card.md").read_text()
    assert "our own affair" not in (folder / "card.md").read_text()
    answer, _ = Workspace(network.folder / COORDINATOR).ask_log(
        "admin-acts", {}, copy=None, patients=False
    )
    assert "hospital-missing" in {row.cells[2] for row in answer.rows}
    assert "our own affair" not in network.log(COORDINATOR)
    charged = network.book(stopped)[run.id]
    assert not charged.closed  # what was reserved stays spent

    # Over a restart of its node, and with another one that is not there at all.
    network.kill(stopped)
    network.up(stopped)
    assert network.status(stopped)["training_stopped"]["reason"] == "our own affair"
    network.stage.command("node", "resume-training", stopped)
    eventually(lambda: network.status(stopped)["training_stopped"] is None)
    network.kill(offline)
    third = network.run().end()
    assert stopped in third.release["members"]
    (missing,) = third.release["absent"]
    assert missing["org"] == offline
    assert missing["cause"] in {"offline", "untold"}  # Flower believes in it for a while
    path = network.folder / COORDINATOR / "state" / "transcripts" / f"{third.id}.sqlite"
    with closing(Transcript.open(path)) as transcript:
        assert transcript.absences() == [(offline, missing["cause"])]


def cause(org, code, words):
    return {"org": org, "cause": code, "words": words}
