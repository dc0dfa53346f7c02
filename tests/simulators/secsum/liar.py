"""A coordinator that a test drives by hand, message by message, so that it can lie."""

from __future__ import annotations

import asyncio
import os

from server.secure_sum_attempt import RunTerms
from server.secure_sum_state import RunState, Summed
from tests.simulators.secsum.wire import DIMENSION, LIMIT, PLAN, Pipe, Site, through
from twinward.errors import TwinwardError
from twinward.secsum.messages import Hello, Kind, raw
from twinward.secsum.words import WordFormat
from twinward.signing import Identity


class Liar:
    """Honest building blocks of the coordinator's side; lies are made by changing what they give.

    ``RunState`` is the real coordinator's, so an attack differs from honesty only where it lies.
    """

    def __init__(self, members=4, *, steps=3, word_bits=64, dimension=DIMENSION):
        self.identity = Identity.generate()
        self.sites = sorted(
            (Site(word_bits=word_bits, dimension=dimension) for _ in range(members)), key=_order
        )
        self.steps = steps
        self.run = os.urandom(32)
        words = WordFormat(word_bits, self.sites[0].dimension)
        self.terms = RunTerms(self.run, PLAN, words, min(LIMIT, 1 << 30), steps, steps + 10)
        self.state = RunState(self.identity, self.terms)
        self.pipes = {}
        self.tasks = {}
        self.later = {}

    async def __aenter__(self):
        for site in self.sites:
            await self.connect(site)
        return self

    async def __aexit__(self, *_):
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    async def connect(self, site, *, pipes=1, **changed):
        pipe, *later = [Pipe() for _ in range(pipes)]
        self.pipes[site] = pipe
        self.later[site] = later[0] if later else None
        self.tasks[site] = asyncio.create_task(
            site.join(
                through([pipe, *later]),
                sites=self.sites,
                coordinator=self.identity,
                run=self.run,
                steps=self.steps,
                **changed,
            )
        )
        await self.take(site, Kind.HELLO)

    async def take(self, site, kind):
        async with asyncio.timeout(5):
            frame = await self.pipes[site].from_node.get()
        if frame is None:
            await self.tasks[site]
        assert frame.kind == kind, Kind(frame.kind)
        return frame

    def give(self, frame, sites=None):
        for site in self.sites if sites is None else sites:
            self.pipes[site].give(frame)

    async def offer(self, sites=None):
        sites = self.sites if sites is None else sites
        opened, frame = self.state.offer(tuple(raw(site.name) for site in sites))
        self.give(frame, sites)
        for site in sites:
            advert = await self.take(site, Kind.ADVERTISE)
            assert self.state.take_advert(opened, advert, site.identity.public)
        return opened

    async def epoch(self, sites=None):
        """M1 to M3, honestly."""
        opened = await self.offer(sites)
        record, frame = self.state.roster(opened)
        self.give(frame, self.sites if sites is None else sites)
        return record

    async def vectors(self, epoch, sites=None):
        """M4 of these sites: the attempt that they make."""
        attempt = self.state.attempt(epoch)
        for site in self.sites if sites is None else sites:
            while not attempt.take(await self.vector_frame(site), site.identity.public):
                pass
        return attempt

    async def vector_frame(self, site):
        """The next frame of this site's vector."""
        async with asyncio.timeout(5):
            frame = await self.pipes[site].from_node.get()
        if frame is None:
            await self.tasks[site]
        assert frame.kind in {Kind.DATA, Kind.MASKED}, Kind(frame.kind)
        return frame

    def sum(self, attempt, *, newcomers=False):
        """M5 of a complete attempt as one frame, and what makes it part of the history."""
        self.state.require_sum(attempt)
        signed, heads, history, _ = self.state.sign_sum(attempt, newcomers=newcomers)
        summed = Summed(signed, heads, attempt.total.tobytes())
        (frame,) = summed.frames()
        return frame, lambda: self.state.take_sum(summed, history)

    def frames(self, attempt):
        """M5 of a complete attempt of any size."""
        signed, heads, _, _ = self.state.sign_sum(attempt, newcomers=False)
        return Summed(signed, heads, attempt.total.tobytes()).frames()

    async def refusal(self, site):
        """The code with which this node's session ends."""
        try:
            async with asyncio.timeout(5):
                await self.tasks[site]
        except TwinwardError as error:
            return error.code
        return "accepted"

    async def quiet(self, site):
        """Whether the node sends nothing (and goes on waiting)."""
        await asyncio.sleep(0.05)
        return self.pipes[site].from_node.empty() and not self.tasks[site].done()


def _order(site):
    return site.name


def hello_of(frame):
    return Hello.decode(frame.head)
