"""kill -9 of real processes in the middle of a run, over gRPC with mutual TLS."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3

import numpy as np
import pytest

from server.transcript import Transcript
from tests.simulators.secsum.coordinator import secure_run, serving
from tests.simulators.secsum.network import Network, answer

STEPS = 8


def marks(network, index):
    """The attempts for which a node has charged its book."""
    book = sqlite3.connect(network.book(index))
    rows = book.execute("SELECT epoch, step FROM marks ORDER BY epoch, step").fetchall()
    book.close()
    return rows


def coordinate(network, *, gather=10.0, patience=3.0):
    """Run the coordinator in this process until the run is closed."""
    events = []

    async def progress(event):
        events.append(event)

    async def inside():
        record, run = secure_run(network.server, progress=progress)
        async with serving({network.run: run}, config=network.server):
            outcome = await run.drive(gather_seconds=gather, patience_seconds=patience)
        return outcome, record

    return (*asyncio.run(inside()), events)


def plan_of(**changed):
    """Its deadline is long: only a broken stream ends an attempt, not a disk that is busy."""
    plan = {"steps": STEPS, "averaged_steps": 4, "slot_seconds": 0.002, "deadline_seconds": 10.0}
    return {**plan, **changed}


@pytest.mark.parametrize("where", ["before_mark", "marked", "sent"])
def test_a_node_killed_at_any_point_of_a_step_leaves_a_run_that_completes(tmp_path, where):
    with Network(tmp_path, **plan_of()) as network:
        victim = network.start_node(0, crash={"where": where, "step": 4})
        rest = [network.start_node(index) for index in (1, 2, 3)]
        outcome, record, events = coordinate(network)
        answers = [answer(process) for process in rest]
        assert victim.wait(5) == -signal.SIGKILL
    gone = network.identities[0].public.fingerprint
    # The vector of a node killed after sending may have completed the step before the break.
    lost_step = next(event.step for event in events if event.kind == "lost")
    assert lost_step in ({4, 5} if where == "sent" else {4})
    assert gone not in outcome.members
    assert (outcome.epoch, outcome.attempts) == (2, STEPS + 1)
    assert {code for code, _ in answers} == {0}
    assert {one["history"] for _, one in answers} == {outcome.history.hex()}
    assert {one["model"] for _, one in answers} == {outcome.model.hex()}
    expected = [(1, step) for step in range(1, lost_step + 1)]
    expected += [(2, step) for step in range(lost_step, STEPS + 1)]
    for index in (1, 2, 3):
        assert marks(network, index) == expected  # the lost attempt is charged on the survivors
    own = [(1, step) for step in range(1, 4 if where == "before_mark" else 5)]
    assert marks(network, 0)[: len(own)] == own  # and on the victim, if its vector may have left
    left = (tmp_path / "node-0.log").read_text().count("masked")
    assert left <= len(marks(network, 0))
    given_up = [attempt for attempt in record.attempts() if attempt.sum is None]
    assert [(one.epoch, one.step) for one in given_up] == [(1, lost_step)]


def test_a_killed_node_that_is_started_again_enters_the_next_epoch(tmp_path):
    with Network(tmp_path, **plan_of(steps=60, slot_seconds=0.04, spare_attempts=6)) as network:
        victim = network.start_node(0, crash={"where": "marked", "step": 3})
        rest = [network.start_node(index) for index in (1, 2, 3)]

        async def scenario():
            events = []

            async def progress(event):
                events.append(event)
                if event.kind == "lost":
                    network.start_node(0)

            record, run = secure_run(network.server, progress=progress)
            async with serving({network.run: run}, config=network.server):
                outcome = await run.drive(gather_seconds=10, patience_seconds=5)
            record.close()
            return outcome, events

        outcome, events = asyncio.run(scenario())
        assert victim.wait(5) == -signal.SIGKILL
        answers = [answer(process) for process in (*rest, network.processes[-1])]
    assert [len(event.members) for event in events if event.kind == "epoch"] == [4, 3, 4]
    assert len(outcome.members) == 4
    assert {one["history"] for _, one in answers} == {outcome.history.hex()}
    assert {one["model"] for _, one in answers} == {outcome.model.hex()}
    assert outcome.attempts == 61  # coming back cost nothing, the crash one attempt


def test_a_killed_coordinator_leaves_an_intact_transcript_and_a_clear_error(tmp_path):
    with Network(tmp_path, patience=1.0, **plan_of(steps=200, spare_attempts=3)) as network:
        coordinator = network.start_coordinator()
        assert json.loads(coordinator.stdout.readline()) == {"kind": "listening"}
        nodes = [network.start_node(index) for index in range(3)]
        nodes.append(network.start_node(3, patience=20.0))
        for line in coordinator.stdout:
            if json.loads(line) == {"kind": "step", "step": 5}:
                break
        coordinator.kill()
        refusals = [answer(process) for process in nodes[:3]]
        assert refusals == [(1, {"refused": "TW6122"})] * 3
        record = Transcript.open(tmp_path / "transcript.sqlite")
        assert record.outcome == "open"
        summed = [attempt for attempt in record.attempts() if attempt.sum is not None]
        for attempt in summed:
            words = [np.frombuffer(one.vector, dtype="<u8") for one in attempt.masked]
            assert np.sum(words, axis=0).tobytes() == attempt.total
        # Whatever a node has applied is in the transcript; whatever it sent is charged.
        for index in range(4):
            assert 5 <= len(marks(network, index)) <= len(summed) + 1
        record.fail("the coordinator was restarted")
        assert (record.outcome, record.cause) == ("failed", "the coordinator was restarted")
        record.close()

        async def restarted():
            async with serving({}, config=network.server):
                return await asyncio.to_thread(answer, nodes[3])

        assert asyncio.run(restarted()) == (1, {"refused": "TW6123"})


def test_a_coordinator_killed_between_a_sum_and_its_broadcast_keeps_a_sum_that_nobody_applied(
    tmp_path,
):
    with Network(tmp_path, patience=1.0, **plan_of()) as network:
        coordinator = network.start_coordinator(crash={"step": 4})
        assert json.loads(coordinator.stdout.readline()) == {"kind": "listening"}
        nodes = [network.start_node(index) for index in range(3)]
        assert [answer(process) for process in nodes] == [(1, {"refused": "TW6122"})] * 3
        assert coordinator.wait(5) == -signal.SIGKILL
        said = [json.loads(line) for line in coordinator.stdout]
        record = Transcript.open(tmp_path / "transcript.sqlite")
        attempts = list(record.attempts())
        # The sum of step 4 is durable and whole, and nobody was told of it.
        assert [attempt.step for attempt in attempts] == [1, 2, 3, 4]
        assert {"kind": "step", "step": 3} in said
        assert {"kind": "step", "step": 4} not in said
        words = [np.frombuffer(one.vector, dtype="<u8") for one in attempts[-1].masked]
        assert np.sum(words, axis=0).tobytes() == attempts[-1].total
        # Each hospital paid for the vector that it sent, and nothing is given back.
        assert all(marks(network, index) == [(1, n) for n in (1, 2, 3, 4)] for index in range(3))
        assert record.outcome == "open"
        record.fail("the coordinator was restarted")
        assert record.outcome == "failed"
        record.close()


@pytest.mark.parametrize(
    "crash", [{"step": 4}, None], ids=["between-sum-and-broadcast", "anywhere"]
)
def test_a_coordinator_killed_twice_goes_on_where_its_transcript_ends(tmp_path, crash):
    with Network(tmp_path, patience=20.0, **plan_of(steps=40)) as network:
        coordinator = network.start_coordinator(crash=crash)
        assert json.loads(coordinator.stdout.readline()) == {"kind": "listening"}
        nodes = [network.start_node(index) for index in range(4)]
        for until in (4, 9):
            if crash is None or until == 9:
                step_of(coordinator, until)
                coordinator.kill()
            assert coordinator.wait(20) == -signal.SIGKILL
            coordinator = network.start_coordinator()
        answers = [answer(process) for process in nodes]
        assert coordinator.wait(20) == 0
    assert {code for code, _ in answers} == {0}
    assert len({one["history"] for _, one in answers}) == 1
    assert len({one["model"] for _, one in answers}) == 1
    record = Transcript.open(tmp_path / "transcript.sqlite")
    assert record.outcome == "finished"
    attempts = list(record.attempts())
    assert [one.step for one in attempts if one.sum is not None] == list(range(1, 41))
    for one in attempts:
        if one.sum is not None:
            words = [np.frombuffer(vector.vector, dtype="<u8") for vector in one.masked]
            assert np.sum(words, axis=0).tobytes() == one.total
    # No hospital sent a vector for an attempt that the transcript does not have.
    made = [(one.epoch, one.step) for one in attempts]
    for index in range(4):
        assert set(marks(network, index)) <= set(made)
    assert len(made) == len(set(made)) <= 40 + 3
    record.close()


def step_of(coordinator, step):
    """Read what it says until it made this step."""
    for line in coordinator.stdout:
        said = json.loads(line)
        if said["kind"] == "step" and said["step"] >= step:
            return
