"""A coordinator that is there and says nothing: how long a node waits, and what it holds then."""

from __future__ import annotations

import asyncio
import json
import signal
import time

import pytest

from tests.simulators.secsum import leaping
from tests.simulators.secsum.liar import Liar
from tests.simulators.secsum.network import Network, answer
from tests.simulators.secsum.wire import through
from twinward.errors import TwinwardError
from twinward.secsum.frames import StreamBroken
from twinward.secsum.messages import Kind

DEADLINE = 0.04  # five of them: 0.2 s


def now():
    return asyncio.get_running_loop().time()


async def joined(liar, pipes, **changed):
    """The first site, on these pipes one after the other."""
    site = liar.sites[0]
    liar.tasks[site].cancel()
    await asyncio.gather(liar.tasks[site], return_exceptions=True)
    await liar.connect(site, pipes=pipes, deadline_seconds=DEADLINE, **changed)
    return site


@pytest.mark.parametrize("after", ["offer", "vector"])
def test_inside_an_epoch_it_is_given_up_and_the_node_connects_again(after):
    async def scenario():
        async with Liar() as liar:
            site = await joined(liar, 2)
            if after == "offer":
                await liar.offer()
            else:
                await liar.vectors(await liar.epoch())
            began = now()
            async with asyncio.timeout(5):
                while (frame := await liar.pipes[site].from_node.get()) is not None:
                    assert frame.kind != Kind.MASKED
                hello = await liar.later[site].from_node.get()
            assert 0.2 <= now() - began < 0.3  # and a moment before it tries again
            assert hello.kind == Kind.HELLO
            assert len(site.marks) == (after == "vector")

    leaping.run(scenario())


def test_between_epochs_the_node_ends_with_a_reason():
    async def scenario():
        async with Liar() as liar:
            site = await joined(liar, 1, silence_seconds=0.2)
            began = now()
            assert await liar.refusal(site) == "TW6122"
            assert now() - began == pytest.approx(0.2)
            assert site.marks == []

    leaping.run(scenario())


def test_a_long_computation_of_its_own_is_not_held_against_the_coordinator():
    async def scenario():
        async with Liar() as liar:
            site = await joined(liar, 1)
            passes = asyncio.get_running_loop().passes
            site.on_contribute = lambda *_: passes(0.4)  # twice the silence allowed
            attempt = await liar.vectors(await liar.epoch())
            frame, _ = liar.sum(attempt)
            liar.give(frame)
            await liar.take(site, Kind.MASKED)

    leaping.run(scenario())


def test_a_write_that_is_never_taken_is_silence_too():
    """The other side reads nothing: the greeting itself hangs."""

    async def scenario():
        async with Liar() as liar:
            site = liar.sites[0]

            class Wall:
                async def send(self, frame):
                    await asyncio.Event().wait()

                async def receive(self):
                    await asyncio.Event().wait()

                def hang_up(self):
                    pass

            liar.tasks[site].cancel()
            with pytest.raises((TwinwardError, StreamBroken)) as ended:
                await site.join(
                    through([Wall()]),
                    sites=liar.sites,
                    coordinator=liar.identity,
                    run=liar.run,
                    steps=3,
                    silence_seconds=0.2,
                )
            assert ended.value.code == "TW6122"

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_a_stopped_coordinator_process_does_not_hold_its_nodes(tmp_path):
    """SIGSTOP: connections stay open, nothing comes. Keys are gone, what was marked stays."""
    plan = {"steps": 500, "averaged_steps": 4, "slot_seconds": 0.01, "deadline_seconds": 0.6}
    with Network(tmp_path, patience=1.0, **plan) as network:
        coordinator = network.start_coordinator()
        assert json.loads(coordinator.stdout.readline()) == {"kind": "listening"}
        nodes = [network.start_node(index, silence=1.0) for index in range(4)]
        for line in coordinator.stdout:
            if json.loads(line) == {"kind": "step", "step": 5}:
                break
        coordinator.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        answers = [answer(process, timeout=40) for process in nodes]
        took = time.monotonic() - began
        coordinator.send_signal(signal.SIGCONT)
    assert answers == [(1, {"refused": "TW6122"})] * 4
    assert took < 30
