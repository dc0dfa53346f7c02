"""Flow *consent*: a withdrawal holds from its receipt on, whatever happens to whom."""

import time
from contextlib import contextmanager

import numpy as np
import pytest

from hospital_node.node import Node
from hospital_node.train import ActiveRun, read_opening
from tests.simulators.network import eventually
from twinward.clock import SystemClock

pytestmark = pytest.mark.slow


class Counting:
    """A clipped sum that also notes over how many patients it was asked to sum."""

    def __init__(self, summed, used):
        self.summed = summed
        self.used = used

    def __getattr__(self, name):
        return getattr(self.summed, name)

    def __call__(self, weights, mask):
        self.used.append(int(mask.sum()))
        return self.summed(weights, mask)


def test_during_a_run_the_cohort_shrinks_at_once_and_the_receipt_names_a_coming_step(network):
    name = network.hospitals[0]
    reference = network.granted(name)[0]
    before = network.cohort(name)
    run = network.run()
    at = run.until("step", step=8)["step"]
    receipt = network.withdraw(reference)
    assert network.cohort(name) == before - 1
    run.end()
    assert run.release, run.last
    last = run.release["attempts"]
    # The step under way when the withdrawal came, or one soon after: never one before.
    assert at < receipt["excluded_from_step"] <= last + 1
    eventually(lambda: network.waiting(name) == 0)
    network.wait_for_consents()
    again = network.withdraw(reference)
    assert again == receipt  # asked again: the same receipt, nothing withdrawn twice
    the_last_word(network, name, receipt, run=run.release["run"])


def the_last_word(network, name, receipt, *, run):
    """It names the model that has the patient, and again once that model is retired."""

    def asked():
        found = network.stage.command("node", "withdrawals", name, "--all")["withdrawals"]
        (one,) = [one for one in found if one["withdrawal"] == receipt["digest"]]
        return one

    eventually(lambda: asked()["stage"] == "complete", note=asked)
    (trained,) = [model for model in asked()["models"] if model["run"] == run]
    plan = network.the_plan()
    assert trained["becomes"] == "bounded"
    assert trained["epsilon"] > 0
    assert asked()["excluded_from_step"] == receipt["excluded_from_step"]
    assert plan.steps >= receipt["excluded_from_step"] - 1
    words = ("server", "retire", "coordinator", run, "--reason", "for a test", "--yes")
    assert network.stage.command(*words)["run"] == run
    network.stop(name)
    network.up(name)  # looks at once; a running node looks once a minute
    eventually(lambda: asked()["revision"] == 2, note=asked)
    (trained,) = [model for model in asked()["models"] if model["run"] == run]
    assert trained["becomes"] == "retired"


def test_the_patient_is_out_of_exactly_the_steps_that_the_receipt_says(network, monkeypatch):
    """The daemon's own objects in this process, over the live ledger, step by step."""
    name = network.hospitals[1]
    reference, later = network.granted(name)[:2]
    opening = network.opening()
    with opened(network, name) as node:
        order = read_opening(node, opening)
        everyone = np.ones(len(node.patients.records), dtype=bool)
        node.lifetime.begin(order.run, what="test", mu2=1e-9, wanted=everyone)
        work = ActiveRun(node, order, node.cohort(order.approved))
        used = []
        monkeypatch.setattr(work, "_sum", Counting(work._sum, used))
        # Whoever withdraws here may be one of those kept for measuring: count these as well.
        monkeypatch.setattr(work, "_trained", np.ones_like(work._trained))
        node.active = work
        with serving_desk(node):
            receipts = {}
            for step in range(1, 10):
                if step == 4:
                    receipts[4] = network.withdraw(reference)
                work.contribute(step, 1, 4)
                if step == 6:
                    receipts[7] = network.withdraw(later)
    for expected, receipt in receipts.items():
        assert receipt["excluded_from_step"] == expected
    first = used[0]
    assert used == [first] * 3 + [first - 1] * 3 + [first - 2] * 3
    network.up(name)
    network.wait_for_consents()


def test_with_the_ledger_silent_a_withdrawal_works_at_once_and_survives_a_kill(network):
    name, other = network.hospitals[:2]
    reference = network.granted(name)[0]
    before = network.cohort(name)
    with network.paused(network.ledger_process()):
        began = time.monotonic()
        receipt = network.withdraw(reference)
        took = time.monotonic() - began
        assert network.cohort(name) == before - 1
        assert network.waiting(name) >= 1
        network.kill(name)
    assert took < 5
    assert receipt["on_chain_by"] > receipt["received_at"]
    network.up(name)
    assert network.cohort(name) == before - 1
    eventually(lambda: network.waiting(name) == 0)
    # Every other hospital's copy of the ledger ends with the same hash: it is there for all.
    eventually(
        lambda: network.status(name)["ledger"]["head"] == network.status(other)["ledger"]["head"]
    )
    assert network.withdraw(reference) == receipt
    run = network.complete_run()
    assert len(run.release["members"]) == 4


def test_a_patient_who_withdrew_may_come_back_with_a_new_signature(network):
    name = network.hospitals[2]
    reference = network.granted(name)[0]
    before = network.cohort(name)
    network.withdraw(reference)
    assert network.cohort(name) == before - 1
    eventually(lambda: network.waiting(name) == 0)
    network.grant_again(reference)
    eventually(lambda: network.cohort(name) == before)


def test_a_patient_leaves_data_out_in_the_middle_of_a_run_and_lets_it_in_again(network):
    name = network.hospitals[2]
    reference = network.granted(name)[0]
    before = network.cohort(name)
    run = network.run()
    run.until("step", step=5)
    blood = "blood pressure and blood tests"
    network.grant_again(reference, without=(blood,))
    run.end()
    assert run.release, run.last
    network.evidence(run)
    eventually(lambda: network.on_record(reference)["rule"] == "granted-in-part")
    assert network.on_record(reference)["grant"]["without"] == [blood]
    assert network.cohort(name) == before
    network.grant_again(reference)
    eventually(lambda: network.on_record(reference)["rule"] == "granted")
    assert network.on_record(reference)["grant"]["without"] == []
    assert network.cohort(name) == before


@contextmanager
def opened(network, name):
    """The node of a hospital whose daemon is stopped, open in this process."""
    network.stop(name)
    node = Node.open(network.folder / name, clock=SystemClock())
    node.follower.start()
    try:
        eventually(lambda: node.follower.standing.confirmed)
        yield node
    finally:
        node.close()


@contextmanager
def serving_desk(node):
    """Its consent desk at its own port."""
    import asyncio
    import threading

    from hospital_node import desk
    from twinward.organisation import Organisation

    ready, ended = threading.Event(), threading.Event()

    async def serve():
        service = desk.DeskService(node.desk, node.egress, changed=node.follower.changed)
        server = desk.desk_server(
            service,
            tls=Organisation(node.folder).tls,
            address=f"{node.settings.host}:{node.settings.desk_port}",
        )
        await server.start()
        ready.set()
        await asyncio.to_thread(ended.wait)
        await server.stop(0.1)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield
    finally:
        ended.set()
        thread.join(10)
