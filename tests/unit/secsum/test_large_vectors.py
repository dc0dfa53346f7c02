"""Vectors of several frames: exact, in any cut, with members that fall in the middle of one."""

from __future__ import annotations

import asyncio
import dataclasses

import numpy as np
import pytest

from server.transcript import Transcript
from tests.simulators.secsum.driven import Net
from tests.simulators.secsum.liar import Liar
from twinward.errors import TrainingError
from twinward.secsum.messages import Kind, Reason, raw
from twinward.secsum.profile import KEPT_DIMENSION
from twinward.secsum.words import PIECE_BYTES, WordFormat

SIZES = [
    (64, 65_534),  # guard words fill the only frame
    (64, 65_535),  # one guard word in a frame of its own
    (64, 65_536),
    (64, 200_001),
    (32, 131_068),
    (32, 131_070),  # guard words cut in two
    (32, 300_001),
]


def exact(net, outcome):
    for step, total in enumerate(outcome.sums, start=1):
        epoch = max(epoch for epoch, made in net.sites[-1].contributed if made == step)
        part = [site.contributed[epoch, step][0] for site in net.sites if site.name in
                outcome.members]  # fmt: skip
        assert np.array_equal(total, np.sum(part, axis=0))
        for site in net.sites:
            if site.name in outcome.members:
                assert np.array_equal(dict(site.applied)[step], total)


@pytest.mark.parametrize(("bits", "dimension"), SIZES)
def test_the_sum_is_exact_whatever_the_cut(tmp_path, bits, dimension):
    net = Net(tmp_path, members=3, steps=2, word_bits=bits, dimension=dimension)
    outcome, results = asyncio.run(net.go())
    assert len(outcome.sums) == 2
    exact(net, outcome)
    assert {result.history for result in results} == {outcome.history}
    frames = WordFormat(bits, dimension).pieces
    for site in net.sites:
        sent = [size for kind, size in site.left if kind in {"data", "masked"}]
        assert len(sent) == 2 * frames
        assert max(sent) < PIECE_BYTES + 1000


def test_a_vector_given_block_by_block_is_the_same_vector(tmp_path):
    net = Net(tmp_path, members=3, steps=2, dimension=150_000)
    words = WordFormat(64, 150_000)

    def in_blocks(site):
        work = site.work()

        def contribute(*place):
            whole = work.contribute(*place)
            return (whole[at : at + words.block] for at in range(0, whole.size, words.block))

        return dataclasses.replace(work, contribute=contribute)

    async def scenario():
        for site in net.sites:
            net.start(site, work=in_blocks(site))
        outcome = await net.sum.drive(gather_seconds=2, patience_seconds=2)
        await asyncio.gather(*net.tasks.values())
        return outcome

    exact(net, asyncio.run(scenario()))


@pytest.mark.parametrize("sizes", [[65_536, 65_536], [65_536, 65_535, 18_930], [150_001], []])
def test_blocks_of_another_size_are_refused(sizes):
    blocks = iter([np.zeros(size, dtype=np.int64) for size in sizes])
    with pytest.raises(TrainingError) as refused:
        list(WordFormat(64, 150_000).pieces_of(blocks))
    assert refused.value.code == "TW6103"


def test_large_vectors_are_recorded_by_their_digest_and_sums_in_files(tmp_path):
    net = Net(tmp_path, members=3, steps=2, dimension=KEPT_DIMENSION + 1)
    outcome, _ = asyncio.run(net.go())
    net.record.close()
    record = Transcript.open(tmp_path / "run.sqlite")
    attempts = list(record.attempts())
    assert [one.vector for attempt in attempts for one in attempt.masked] == [None] * 6
    for attempt, total in zip(attempts, outcome.sums, strict=True):
        assert memoryview(attempt.total)[: total.nbytes] == total.tobytes()
    assert (tmp_path / "run.sqlite").stat().st_size < 100_000
    assert len(list((tmp_path / "run.sqlite.sums").iterdir())) == 2
    record.close()


def test_vectors_up_to_the_limit_are_kept(tmp_path):
    net = Net(tmp_path, members=3, steps=1, dimension=KEPT_DIMENSION)
    asyncio.run(net.go())
    (attempt,) = net.record.attempts()
    words = [np.frombuffer(one.vector, dtype="<u8") for one in attempt.masked]
    assert np.sum(words, axis=0).tobytes() == bytes(attempt.total)


def test_a_sum_whose_file_is_gone_is_said_to_be_unreadable(tmp_path):
    net = Net(tmp_path, members=3, steps=1, dimension=100_000)
    asyncio.run(net.go())
    next((tmp_path / "run.sqlite.sums").iterdir()).unlink()
    with pytest.raises(TrainingError) as refused:
        list(net.record.attempts())
    assert refused.value.code == "TW6141"


def test_no_sum_is_sent_that_could_not_be_written(tmp_path):
    net = Net(tmp_path, members=3, steps=2, dimension=100_000)
    (tmp_path / "run.sqlite.sums").write_text("in the way of the folder")
    with pytest.raises(TrainingError) as refused:
        asyncio.run(net.go())
    assert refused.value.code == "TW6142"
    assert all(site.applied == [] for site in net.sites)


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_member_that_falls_in_the_middle_of_its_vector_costs_one_attempt(tmp_path, at):
    net = Net(tmp_path, members=4, steps=3, dimension=200_001)
    victim = net.sites[0]
    left = []

    def let_out(kind, size):
        if kind in {"data", "masked"}:
            left.append(kind)
            if len(left) == 4 + at:  # of the second step
                net.tasks[victim].cancel()

    async def scenario():
        for site in net.sites[1:]:
            net.start(site)
        net.start(victim, work=dataclasses.replace(victim.work(), let_out=let_out))
        async with asyncio.timeout(20):
            outcome = await net.sum.drive(gather_seconds=2, patience_seconds=2)
            await asyncio.gather(*net.tasks.values(), return_exceptions=True)
        return outcome

    outcome = asyncio.run(scenario())
    assert (outcome.epoch, outcome.attempts) == (2, 4)
    for step in (2, 3):
        part = [site.contributed[2, step][0] for site in net.sites[1:]]
        assert np.array_equal(outcome.sums[step - 1], np.sum(part, axis=0))


def test_a_node_that_comes_back_is_told_large_sums_too(tmp_path):
    net = Net(tmp_path, steps=6, dimension=140_001)
    victim = net.sites[0]

    def lose_the_connection(step, epoch):
        if (step, epoch) == (2, 1):
            net.pipes[victim][-1].end(broken=True)
            net.pipes[victim][-1].hang_up()

    victim.on_contribute = lose_the_connection

    async def scenario():
        for site in net.sites:
            net.start(site, slot_seconds=0.05)
        async with asyncio.timeout(20):
            outcome = await net.sum.drive(gather_seconds=2, patience_seconds=2)
            return outcome, await asyncio.gather(*net.tasks.values())

    outcome, results = asyncio.run(scenario())
    assert victim.name in outcome.members
    assert {result.history for result in results} == {outcome.history}
    assert [step for step, _ in victim.applied] == list(range(1, 7))
    for step, total in victim.applied:
        assert np.array_equal(total, outcome.sums[step - 1])


def test_an_abort_is_heard_while_a_vector_leaves_and_stops_it():
    async def scenario():
        async with Liar(3, dimension=400_001) as liar:
            await liar.epoch()
            for site in liar.sites:
                assert (await liar.vector_frame(site)).index == 0
            liar.give(liar.state.abort(Reason.BROKEN, ()))
            await asyncio.sleep(0.2)
            for site in liar.sites:
                assert liar.pipes[site].from_node.qsize() < 4  # of seven
                while not liar.pipes[site].from_node.empty():
                    liar.pipes[site].from_node.get_nowait()
            again = await liar.vectors(await liar.epoch())
            total = liar.state.require_sum(again)
            assert np.array_equal(
                total, np.sum([site.contributed[2, 1][0] for site in liar.sites], axis=0)
            )

    asyncio.run(scenario())


def test_a_run_ends_well_when_one_member_reads_slowly(tmp_path):
    """Members get frames at their own pace; the coordinator makes them anew where needed."""
    net = Net(tmp_path, members=3, steps=2, dimension=1_000_001)
    slow = net.sites[0]

    async def scenario():
        for site in net.sites:
            net.start(site)
        plain = net.sum.attend

        async def dawdling(name, frames):
            async for frame in plain(name, frames):
                if name == slow.name and frame.kind == Kind.DATA:
                    await asyncio.sleep(0.005)
                yield frame

        net.sum.attend = dawdling
        async with asyncio.timeout(30):
            outcome = await net.sum.drive(gather_seconds=2, patience_seconds=5)
            await asyncio.gather(*net.tasks.values())
        return outcome

    exact(net, asyncio.run(scenario()))


def test_a_transcript_of_a_lost_large_attempt_says_who_was_missing(tmp_path):
    net = Net(tmp_path, members=4, steps=2, spare=9, dimension=140_001, deadline=1.0)
    silent = net.sites[0]

    async def scenario():
        for site in net.sites:
            net.start(site, slot_seconds=30.0 if site is silent else 0.0)
        async with asyncio.timeout(20):
            outcome = await net.sum.drive(gather_seconds=2, patience_seconds=2)
        await net.stop()
        return outcome

    asyncio.run(scenario())
    lost = [attempt for attempt in net.record.attempts() if attempt.sum is None]
    assert {attempt.missing for attempt in lost} == {(raw(silent.name),)}  # it may come back
    assert len(lost[0].masked) == 3
