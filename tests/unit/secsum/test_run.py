"""Whole runs with the real drivers on both sides, in one process."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from server.secure_sum_pace import Pace
from server.transcript import Transcript
from tests.simulators.secsum import leaping
from tests.simulators.secsum.driven import Net
from tests.simulators.secsum.liar import Liar
from tests.simulators.secsum.wire import DIMENSION, LIMIT, PLAN, Site
from twinward.errors import IdentityError, TrainingError
from twinward.rpc.messages_pb2 import Frame
from twinward.secsum.frames import sign_frame
from twinward.secsum.messages import Close, Kind, Masked, Reason, raw


def summed(net, attempt):
    return sum(site.contributed[attempt][0] for site in net.sites if attempt in site.contributed)


@pytest.mark.parametrize(("members", "word_bits"), [(3, 64), (4, 64), (4, 32), (16, 64)])
def test_every_member_applies_exactly_the_sum_of_all_contributions(tmp_path, members, word_bits):
    net = Net(tmp_path, members=members, word_bits=word_bits)
    outcome, results = asyncio.run(net.go())
    assert len(outcome.members) == members
    assert outcome.attempts == 3
    for step in (1, 2, 3):
        expected = summed(net, (1, step))
        assert np.array_equal(outcome.sums[step - 1], expected)
        for site in net.sites:
            assert site.applied[step - 1][0] == step
            assert np.array_equal(site.applied[step - 1][1], expected)
    assert {result.history for result in results} == {outcome.history}
    assert {result.attempts for result in results} == {3}


def test_the_transcript_can_be_added_again_by_anyone(tmp_path):
    net = Net(tmp_path)
    outcome, _ = asyncio.run(net.go())
    net.record.close()
    record = Transcript.open(tmp_path / "run.sqlite")
    assert record.outcome == "finished"
    assert [epoch.members for epoch in record.epochs()] == [
        tuple(sorted(raw(site.name) for site in net.sites))
    ]
    for attempt, expected in zip(record.attempts(), outcome.sums, strict=True):
        words = [np.frombuffer(one.vector, dtype="<u8") for one in attempt.masked]
        total = np.sum(words, axis=0)
        assert total.tobytes() == attempt.total
        assert np.array_equal(total[:DIMENSION].astype(np.int64), expected)
    for site in net.sites:
        close = record.closings()[raw(site.name)].opened(Close, site.identity.public)
        assert (close.history, close.attempts) == (outcome.history, 3)


def test_a_broken_stream_costs_one_attempt_and_the_rest_go_on_in_a_new_epoch(tmp_path):
    net = Net(tmp_path, steps=4)
    victim = net.sites[0]

    def fall(step, epoch):
        if step == 2:
            net.tasks[victim].cancel()
            raise asyncio.CancelledError

    victim.on_contribute = fall
    outcome, _ = asyncio.run(net.go())
    assert outcome.epoch == 2
    assert victim.name not in outcome.members
    assert outcome.attempts == 5
    survivor = net.sites[1]
    assert survivor.marks == [(1, 1), (1, 2), (2, 2), (2, 3), (2, 4)]
    first, second = survivor.contributed[1, 2][0], survivor.contributed[2, 2][0]
    assert not np.array_equal(first, second)
    lost = next(event for event in net.events if event.kind == "lost")
    assert lost.missing == (victim.name,)
    given_up = [one for one in net.record.attempts() if one.sum is None]
    assert [(one.epoch, one.step, one.missing) for one in given_up] == [(1, 2, (raw(victim.name),))]


def test_a_node_that_comes_back_is_told_the_sums_and_enters_the_next_epoch(tmp_path):
    net = Net(tmp_path, steps=12)
    victim = net.sites[0]

    def lose_the_connection(step, epoch):
        if (step, epoch) == (2, 1):
            net.pipes[victim][-1].end(broken=True)
            net.pipes[victim][-1].hang_up()

    async def scenario():
        victim.on_contribute = lose_the_connection
        for site in net.sites:
            net.start(site, slot_seconds=0.02)
        async with asyncio.timeout(20):
            outcome = await net.sum.drive(gather_seconds=2, patience_seconds=2)
            return outcome, await asyncio.gather(*net.tasks.values())

    outcome, results = asyncio.run(scenario())
    assert victim.name in outcome.members
    assert outcome.attempts == 13
    assert [event.kind for event in net.events].count("lost") == 1
    assert [len(event.members) for event in net.events if event.kind == "epoch"] == [4, 3, 4]
    assert {result.history for result in results} == {outcome.history}
    for site in net.sites:
        assert [step for step, _ in site.applied] == list(range(1, 13))
        assert all(len(vectors) == 1 for vectors in site.contributed.values())


def test_a_silent_member_ends_the_attempt_at_the_deadline(tmp_path):
    net = Net(tmp_path, deadline=0.2)

    async def scenario():
        sleeper = net.sites[0]
        for site in net.sites:
            net.start(site, slot_seconds=30.0 if site is sleeper else 0.0)
        outcome = await net.sum.drive(gather_seconds=2, patience_seconds=1)
        await net.stop()
        return outcome

    outcome = leaping.run(scenario())
    assert net.sites[0].name not in outcome.members
    assert outcome.epoch >= 2


def test_where_steps_are_slow_the_deadline_follows_them(tmp_path):
    """A vector that comes after the plan's deadline is no silence in a run whose steps are slow."""
    net = Net(tmp_path, deadline=0.4, steps=4)
    late = net.sites[0]

    def miss_a_slot(step, epoch):
        if step == 4:
            asyncio.get_running_loop().passes(0.4)  # its vector leaves at .6 s

    late.on_contribute = miss_a_slot

    async def scenario():
        for site in net.sites:
            net.start(site, slot_seconds=0.3)
        async with asyncio.timeout(20):
            return await net.sum.drive(gather_seconds=2, patience_seconds=1)

    outcome = leaping.run(scenario())
    assert (outcome.epoch, outcome.attempts) == (1, 4)
    first, *_, last = (one for one in net.events if one.kind in {"epoch", "step"})
    assert first.deadline_seconds == 0.4
    assert last.deadline_seconds == pytest.approx(0.9)  # three times what a step takes


def test_a_deadline_is_never_below_the_plans_and_never_above_what_nodes_wait():
    pace = Pace(5.0)
    assert pace.deadline == 5.0
    for seconds, expected in ((0.1, 5.0), (3.0, 5.0), (3.0, 9.0), (60.0, 9.0), (60.0, 9.0)):
        pace.took(seconds)
        assert pace.deadline == expected
    pace.took(60.0)
    assert pace.deadline == 20.0


def test_a_vector_whose_slot_has_not_come_when_its_epoch_dies_is_dropped_at_once():
    """The next sum need not wait for it."""

    async def scenario():
        async with Liar() as liar:
            late, rest = liar.sites[0], liar.sites[1:]
            liar.tasks[late].cancel()
            await asyncio.gather(liar.tasks[late], return_exceptions=True)
            await liar.connect(late, slot_seconds=30.0)
            await liar.epoch()
            for site in rest:
                await liar.take(site, Kind.MASKED)
            liar.give(liar.state.abort(Reason.SILENT, (raw(late.name),)))
            frame, _ = liar.sum(await liar.vectors(await liar.epoch(rest), rest))
            liar.give(frame)
            for _ in range(500):
                if late.applied:
                    break
                await asyncio.sleep(0.01)
            assert [step for step, _ in late.applied] == [1]
            assert "masked" not in [kind for kind, _ in late.left]

    leaping.run(scenario())


@pytest.mark.parametrize("members", [1, 2])
def test_fewer_than_three_members_are_refused_before_anything_is_offered(tmp_path, members):
    net = Net(tmp_path, members=4)
    present = net.sites[:members]

    async def naming(there, error):
        assert sorted(there) == sorted(site.name for site in present)
        return TrainingError(f"{error}; missing: the others", code=error.code, help="call them")

    net.sum._without = naming
    with pytest.raises(TrainingError, match=r"is refused; missing: the others") as refused:
        asyncio.run(net.go(gather=0.1, patience=0.1, sites=present))
    assert refused.value.code == "TW6100"
    assert net.record.epochs() == ()
    assert net.record.outcome == "failed"
    assert all(site.marks == [] for site in net.sites)


def test_members_with_too_few_of_the_patients_are_waited_for_and_then_refused(tmp_path):
    net = Net(tmp_path, members=4)
    large, *small = net.sites
    net.sum._enough = lambda there: large.name in there
    with pytest.raises(TrainingError) as refused:
        asyncio.run(net.go(gather=0.1, patience=0.2, sites=small))
    assert refused.value.code == "TW6239"
    assert net.record.epochs() == ()
    assert all(site.marks == [] for site in net.sites)


def test_the_large_hospital_that_comes_back_in_time_lets_the_run_go_on(tmp_path):
    net = Net(tmp_path, members=4)
    large, *small = net.sites
    net.sum._enough = lambda there: large.name in there

    async def scenario():
        for site in small:
            net.start(site)
        driving = asyncio.create_task(net.sum.drive(gather_seconds=0.1, patience_seconds=5))
        await asyncio.sleep(0.3)
        assert net.record.epochs() == ()
        net.start(large)
        async with asyncio.timeout(20):
            return await driving

    assert large.name in leaping.run(scenario()).members


def test_a_node_enters_no_epoch_with_too_few_of_the_patients():
    async def scenario():
        async with Liar() as liar:
            careful, rest = liar.sites[0], liar.sites[1:]
            liar.tasks[careful].cancel()
            await asyncio.gather(liar.tasks[careful], return_exceptions=True)
            await liar.connect(careful, enough=lambda there: rest[0].name in there)
            there = tuple(raw(one.name) for one in (careful, *rest[1:]))
            liar.give(liar.state.offer(there)[1], [careful])
            assert await liar.refusal(careful) == "TW6240"
            assert careful.marks == []

    asyncio.run(scenario())


def test_when_attempts_run_out_the_run_ends_with_a_clear_cause(tmp_path):
    net = Net(tmp_path, spare=0)
    victim = net.sites[0]

    def fall(step, epoch):
        if step == 2:
            net.tasks[victim].cancel()
            raise asyncio.CancelledError

    victim.on_contribute = fall
    with pytest.raises(TrainingError) as refused:
        asyncio.run(net.go())
    assert refused.value.code == "TW6132"
    assert net.record.outcome == "failed"


def test_a_node_without_attempts_left_sends_nothing_more(tmp_path):
    net = Net(tmp_path, steps=3)
    poor = net.sites[0]
    poor.attempts = 1
    _, results = asyncio.run(net.go())
    assert str(results[0]) == "no attempts left"
    assert [kind for kind, _ in poor.left].count("masked") == 1


def test_all_members_of_the_last_epoch_must_sign_the_same_model(tmp_path):
    net = Net(tmp_path)
    odd = net.sites[0]
    changed = odd.work()

    async def scenario():
        for site in net.sites[1:]:
            net.start(site)
        net.start(odd, work=dataclasses.replace(changed, model_digest=lambda: b"M" * 32))
        try:
            await net.sum.drive(gather_seconds=2, patience_seconds=1)
        finally:
            await net.stop()

    with pytest.raises(TrainingError) as refused:
        asyncio.run(scenario())
    assert refused.value.code == "TW6135"
    assert net.record.outcome == "failed"


def test_a_member_cut_off_after_the_last_step_comes_back_to_sign(tmp_path):
    net = Net(tmp_path)
    cut, work = net.sites[0], net.sites[0].work()

    def let_out(kind, size):
        if kind == "close" and len(net.pipes[cut]) == 1:
            net.pipes[cut][0].hang_up()
            net.pipes[cut][0].end(broken=True)

    async def scenario():
        for site in net.sites[1:]:
            net.start(site)
        net.start(cut, work=dataclasses.replace(work, let_out=let_out))
        outcome = await net.sum.drive(gather_seconds=2, patience_seconds=2)
        return outcome, await asyncio.gather(*net.tasks.values())

    outcome, results = asyncio.run(scenario())
    assert len(net.pipes[cut]) == 2
    assert len(outcome.closings) == 4
    assert {result.history for result in results} == {outcome.history}
    assert outcome.attempts == 3


def test_a_member_of_the_last_epoch_that_never_signs_prevents_the_release(tmp_path):
    net = Net(tmp_path)
    cut, work = net.sites[0], net.sites[0].work()

    def let_out(kind, size):
        if kind == "close":
            raise RuntimeError("the disk of the log is full")

    async def scenario():
        for site in net.sites[1:]:
            net.start(site)
        net.start(cut, work=dataclasses.replace(work, let_out=let_out))
        try:
            await net.sum.drive(gather_seconds=2, patience_seconds=0.2)
        finally:
            await net.stop()

    with pytest.raises(TrainingError) as refused:
        asyncio.run(scenario())
    assert refused.value.code == "TW6134"
    assert net.record.outcome == "failed"


def test_a_member_whose_numbers_are_too_large_spoils_the_step_but_not_the_record(tmp_path):
    net = Net(tmp_path)
    net.sites[0].signal = LIMIT * 2
    with pytest.raises(TrainingError) as refused:
        asyncio.run(net.go())
    assert refused.value.code == "TW6131"
    (attempt,) = net.record.attempts()
    assert len(attempt.masked) == 4
    assert attempt.sum is None
    assert all(site.applied == [] for site in net.sites)


def run_with_one_tampering(net, change):
    return asyncio.run(net.go_with_one_tampering(net.sites[0], change))


@pytest.mark.parametrize("field", ["data", "history", "setup", "sender", "signature"])
def test_a_member_that_sends_a_false_vector_is_out_of_the_run(tmp_path, field):
    net = Net(tmp_path)
    odd = net.sites[0]

    def change(frame):
        if frame.kind == Kind.MASKED:
            head, data = Masked.decode(frame.head), frame.data
            if field == "data":
                data = bytes(len(data))
            elif field == "signature":
                yield Frame(kind=frame.kind, head=frame.head, signature=bytes(64), data=data)
                return
            else:
                head = dataclasses.replace(head, **{field: b"x" * 32})
            frame = sign_frame(odd.identity, head, data=data)
        yield frame

    outcome, results = run_with_one_tampering(net, change)
    assert odd.name not in outcome.members
    assert (outcome.epoch, outcome.attempts) == (2, 4)
    assert results[-1].code == "TW6120"


def test_late_double_and_replayed_frames_change_nothing(tmp_path):
    net = Net(tmp_path, steps=4)
    seen = []

    def change(frame):
        yield frame
        yield frame
        yield from seen
        seen.append(frame)

    outcome, results = run_with_one_tampering(net, change)
    assert outcome.attempts == 4
    assert {result.history for result in results} == {outcome.history}
    for step in range(1, 5):
        assert np.array_equal(outcome.sums[step - 1], summed(net, (1, step)))


def test_a_full_disk_ends_the_run_clearly_and_no_sum_is_sent(tmp_path):
    net = Net(tmp_path)

    def fill(step, epoch):
        if step == 2:
            net.record._sql.execute("PRAGMA query_only = ON")

    net.sites[0].on_contribute = fill
    with pytest.raises(TrainingError) as refused:
        asyncio.run(net.go())
    assert refused.value.code == "TW6142"
    assert all(len(site.applied) == 1 for site in net.sites)


def test_a_stranger_is_not_given_a_seat(tmp_path):
    net = Net(tmp_path)
    stranger = Site()

    async def scenario():
        async for _ in net.sum.attend(stranger.name, _nothing()):
            pass

    with pytest.raises(IdentityError) as refused:
        asyncio.run(scenario())
    assert refused.value.code == "TW6130"


def test_a_transcript_is_never_overwritten(tmp_path):
    Transcript.create(tmp_path / "run.sqlite", run=b"r" * 32, plan=PLAN).close()
    with pytest.raises(TrainingError) as refused:
        Transcript.create(tmp_path / "run.sqlite", run=b"r" * 32, plan=PLAN)
    assert refused.value.code == "TW6140"


@pytest.mark.parametrize("content", [None, b"", b"not a database at all" * 50])
def test_a_file_that_is_no_transcript_is_refused(tmp_path, content):
    path = tmp_path / "run.sqlite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TrainingError) as refused:
        Transcript.open(path)
    assert refused.value.code == "TW6141"


async def _nothing():
    return
    yield


@pytest.mark.parametrize(
    ("kind", "count"), [("epoch", 1), ("step", 1), ("step", 3), ("step", 5), ("lost", 1)]
)
def test_a_coordinator_that_stops_at_any_moment_goes_on_from_its_record(tmp_path, kind, count):
    """Its next process makes what is missing, under fresh keys; nothing is added twice."""
    net = Net(tmp_path, steps=5, spare=4)
    victim = net.sites[0]

    def fall(step, epoch):
        if (kind, epoch) == ("lost", 1):
            net.pipes[victim][-1].end(broken=True)
            net.pipes[victim][-1].hang_up()

    async def scenario():
        victim.on_contribute = fall
        for site in net.sites:
            net.start(site)
        async with asyncio.timeout(20):
            driving = asyncio.create_task(net.sum.drive(gather_seconds=2, patience_seconds=2))
            await net.until(kind, count=count)
            driving.cancel()
            await asyncio.wait([driving])
            assert net.record.outcome == "open"
            made = len([one for one in net.record.attempts() if one.sum is not None])
            net.take_up()
            assert net.sum.steps_made == made
            outcome = await net.sum.drive(gather_seconds=2, patience_seconds=2)
            return outcome, await asyncio.gather(*net.tasks.values())

    outcome, results = asyncio.run(scenario())
    assert len(outcome.members) == 4
    assert {result.history for result in results} == {outcome.history}
    for site in net.sites:
        assert [step for step, _ in site.applied] == [1, 2, 3, 4, 5]
        assert all(len(vectors) == 1 for vectors in site.contributed.values())
        assert len(site.marks) <= outcome.attempts <= 9
    for attempt in net.record.attempts():
        if attempt.sum is not None:
            words = [np.frombuffer(one.vector, dtype="<u8") for one in attempt.masked]
            assert np.sum(words, axis=0).tobytes() == attempt.total


def test_a_run_that_was_given_up_is_over(tmp_path):
    net = Net(tmp_path, steps=50)

    async def scenario():
        for site in net.sites:
            net.start(site, slot_seconds=0.01)
        async with asyncio.timeout(20):
            driving = asyncio.create_task(net.sum.drive(gather_seconds=2, patience_seconds=2))
            await net.until("step")
            net.sum.give_up()
            driving.cancel()
            await asyncio.wait([driving])
            return await asyncio.gather(*net.tasks.values(), return_exceptions=True)

    results = asyncio.run(scenario())
    assert net.record.outcome == "failed"
    assert {getattr(one, "code", None) for one in results} == {"TW6120"}


def test_a_record_put_back_from_the_middle_of_the_run_ends_it_and_no_step_is_made_twice(tmp_path):
    net = Net(tmp_path, steps=30)
    record, older = tmp_path / "run.sqlite", tmp_path / "backup.sqlite"

    async def scenario():
        for site in net.sites:
            net.start(site)
        async with asyncio.timeout(20):
            driving = asyncio.create_task(net.sum.drive(gather_seconds=2, patience_seconds=1))
            await net.until("step", count=2)
            with closing(sqlite3.connect(record)) as now, closing(sqlite3.connect(older)) as copy:
                now.backup(copy)
            await net.until("step", count=5)
            driving.cancel()
            await asyncio.wait([driving])
            net.record.close()
            older.rename(record)
            for left in tmp_path.glob("run.sqlite-*"):
                left.unlink()
            net.take_up()
            made = [list(site.marks) for site in net.sites]
            try:
                await net.sum.drive(gather_seconds=1, patience_seconds=1)
            finally:
                assert made == [site.marks for site in net.sites]
                told = await asyncio.gather(*net.tasks.values(), return_exceptions=True)
                assert {getattr(one, "code", None) for one in told} == {"TW6120"}

    with pytest.raises(TrainingError) as refused:
        asyncio.run(scenario())
    assert refused.value.code == "TW6248"
    assert net.record.outcome == "failed"


def test_stops_that_use_up_the_attempts_end_the_run(tmp_path):
    net = Net(tmp_path, steps=3, spare=1)

    async def scenario():
        for site in net.sites:
            net.start(site)
        async with asyncio.timeout(20):
            for _ in range(2):
                driving = asyncio.create_task(net.sum.drive(gather_seconds=2, patience_seconds=2))
                await net.until("epoch", after=len(net.events))
                driving.cancel()
                await asyncio.wait([driving])
                net.take_up()
            try:
                await net.sum.drive(gather_seconds=2, patience_seconds=2)
            finally:
                await net.stop()

    with pytest.raises(TrainingError) as refused:
        asyncio.run(scenario())
    assert refused.value.code == "TW6132"
    assert net.record.outcome == "failed"
