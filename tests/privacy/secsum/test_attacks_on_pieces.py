"""Attacks on vectors of several frames: pieces are unsigned until the head comes."""

from __future__ import annotations

import asyncio
import dataclasses

import numpy as np
import pytest

from server.secure_sum_attempt import Attempt
from tests.simulators.secsum.adversary import attack
from tests.simulators.secsum.driven import Net
from twinward.errors import TwinwardError
from twinward.rpc.messages_pb2 import Frame
from twinward.secsum.frames import sign_frame
from twinward.secsum.messages import Kind, Masked, Next, Reason, Sum, raw
from twinward.secsum.vectors import data_frame
from twinward.secsum.words import PIECE_BYTES

LARGE = {"members": 4, "dimension": 150_000}  # three frames of 64-bit words


async def honest_frames(liar):
    """M5 of the first step, as its three frames."""
    attempt = await liar.vectors(await liar.epoch())
    liar.state.require_sum(attempt)
    return liar.frames(attempt)


def changed(frame, **fields):
    copy = Frame.FromString(frame.SerializeToString())
    for name, value in fields.items():
        setattr(copy, name, value)
    return copy


def altered(data):
    return data[:100] + bytes([data[100] ^ 1]) + data[101:]


@attack(**LARGE)
async def test_the_honest_sum_is_accepted(liar):
    for frame in await honest_frames(liar):
        liar.give(frame)
    for site in liar.sites:
        await liar.vector_frame(site)
        assert [step for step, _ in site.applied] == [1]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_piece_that_was_changed_on_the_way_is_refused(which):
    @attack(**LARGE)
    async def scenario(liar):
        frames = list(await honest_frames(liar))
        frames[which] = changed(frames[which], data=altered(frames[which].data))
        for frame in frames:
            liar.give(frame, liar.sites[:1])
        assert await liar.refusal(liar.sites[0]) == "TW6112"
        assert liar.sites[0].applied == []

    scenario()


@pytest.mark.parametrize(
    "order", [(1, 0, 2), (0, 2), (2,), (1, 2), (0, 1, 1, 2), (0, 1, 0, 2)], ids=str
)
def test_pieces_left_out_doubled_or_out_of_order_are_refused(order):
    @attack(**LARGE)
    async def scenario(liar):
        frames = list(await honest_frames(liar))
        for index in order:
            liar.give(frames[index], liar.sites[:1])
        assert await liar.refusal(liar.sites[0]) == "TW6104"
        assert liar.sites[0].applied == []

    scenario()


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 8, PIECE_BYTES + 8, 3 * PIECE_BYTES])
def test_a_piece_of_another_size_is_refused(size):
    @attack(**LARGE)
    async def scenario(liar):
        await liar.epoch()
        liar.give(data_frame(0, bytes(size)), liar.sites[:1])
        assert await liar.refusal(liar.sites[0]) == "TW6104"

    scenario()


@attack(**LARGE)
async def test_pieces_without_end_fill_no_memory(liar):
    await liar.epoch()
    for index in range(2):
        liar.give(data_frame(index, bytes(PIECE_BYTES)), liar.sites[:1])
    assert not liar.tasks[liar.sites[0]].done()
    liar.give(data_frame(2, bytes(PIECE_BYTES)), liar.sites[:1])
    assert await liar.refusal(liar.sites[0]) == "TW6104"


@attack(**LARGE)
async def test_pieces_of_a_dead_epoch_are_not_mixed_into_the_next_sum(liar):
    frames = list(await honest_frames(liar))
    liar.give(frames[0])
    liar.give(liar.state.abort(Reason.BROKEN, ()))
    attempt = await liar.vectors(await liar.epoch())
    liar.state.require_sum(attempt)
    for frame in liar.frames(attempt):
        liar.give(frame)
    for site in liar.sites:
        await liar.vector_frame(site)
        ((_, total),) = site.applied
        expected = np.sum([one.contributed[2, 1][0] for one in liar.sites], axis=0)
        assert np.array_equal(total, expected)


@attack(**LARGE)
async def test_pieces_of_some_members_only_say_nothing(liar):
    """The coordinator holds whole first pieces of three of four: their sum is masked."""
    await liar.epoch()
    pieces = [np.frombuffer((await liar.vector_frame(site)).data, "<u8") for site in liar.sites]
    for left_out in range(4):
        part = np.sum([p for i, p in enumerate(pieces) if i != left_out], axis=0, dtype=np.uint64)
        small = np.abs(part.view(np.int64)) < 1 << 40
        assert np.count_nonzero(small) < 20  # of 65,536; masked words are uniform
    every = np.sum(pieces, axis=0, dtype=np.uint64).view(np.int64)
    assert np.all(np.abs(every) < 1 << 40)  # all four: a part of the one release that was paid
    for site in liar.sites:
        assert site.marks == [(1, 1)]


@pytest.mark.parametrize(
    "lie", ["changed", "left_out", "doubled", "short", "long", "other_digest", "head_only"]
)
def test_a_member_that_lies_about_its_pieces_is_out_of_the_run(tmp_path, lie):
    net = Net(tmp_path, steps=2, dimension=150_000)
    odd = net.sites[0]
    seen = []

    def change(frame):
        if frame.kind not in {Kind.DATA, Kind.MASKED}:
            return [frame]
        seen.append(frame)
        first = frame.kind == Kind.DATA and frame.index == 0
        if lie == "changed" and first:
            return [changed(frame, data=altered(frame.data))]
        if lie == "left_out" and first:
            return []
        if lie == "doubled" and first:
            return [frame, frame]
        if lie == "short" and first:
            return [changed(frame, data=frame.data[:-8])]
        if lie == "long" and first:
            return [changed(frame, data=frame.data + bytes(8))]
        if lie == "other_digest" and frame.kind == Kind.MASKED:
            head = dataclasses.replace(Masked.decode(frame.head), vector=b"x" * 32)
            return [sign_frame(odd.identity, head, data=frame.data)]
        if lie == "head_only" and frame.kind == Kind.DATA:
            return []
        return [frame]

    outcome, results = asyncio.run(net.go_with_one_tampering(odd, change))
    assert odd.name not in outcome.members
    assert (outcome.epoch, outcome.attempts) == (2, 3)
    assert results[-1].code == "TW6120"
    for step in (1, 2):
        part = [site.contributed[2, step][0] for site in net.sites[1:]]
        assert np.array_equal(outcome.sums[step - 1], np.sum(part, axis=0))


@attack(**LARGE)
async def test_a_replayed_large_sum_changes_nothing(liar):
    frames = list(await honest_frames(liar))
    for frame in frames:
        liar.give(frame, liar.sites[:1])
    site = liar.sites[0]
    while (await liar.vector_frame(site)).kind == Kind.DATA:
        pass
    for frame in frames:
        liar.give(frame, [site])
    assert await liar.quiet(site)
    assert len(site.applied) == 1
    assert Sum.decode(frames[-1].head).then == Next.STEP
    assert raw(site.name) in {head[76:108] for head in frames[-1].heads}


def test_the_coordinator_takes_no_piece_after_a_vectors_end():
    @attack(**LARGE)
    async def scenario(liar):
        epoch = await liar.epoch()
        attempt: Attempt = liar.state.attempt(epoch)
        site = liar.sites[0]
        while not attempt.take(await liar.vector_frame(site), site.identity.public):
            pass
        with pytest.raises(TwinwardError) as refused:
            attempt.take(data_frame(0, bytes(PIECE_BYTES)), site.identity.public)
        assert refused.value.code == "TW6104"

    scenario()
