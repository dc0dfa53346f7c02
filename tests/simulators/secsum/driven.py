"""A whole run with the real drivers on both sides, in one process and without a network."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager

from server.secure_sum import SecureSumRun
from server.transcript import Transcript
from tests.simulators.secsum.wire import DIMENSION, LIMIT, PLAN, Site, attending
from twinward.errors import TrainingError
from twinward.signing import Identity


class Net:
    """A coordinator and its sites; ``go`` runs them all to the end."""

    def __init__(
        self, path, *, members=4, steps=3, spare=3, word_bits=64, deadline=2.0, dimension=DIMENSION
    ):
        self.coordinator, self.run = Identity.generate(), os.urandom(32)
        self.sites = [Site(word_bits=word_bits, dimension=dimension) for _ in range(members)]
        self.record = Transcript.create(path / "run.sqlite", run=self.run, plan=PLAN)
        self.events, self.steps, self.pipes, self.tasks = [], steps, {}, {}
        self._noted = asyncio.Event()
        self._path = path / "run.sqlite"
        self._terms = {
            "identity": self.coordinator,
            "run": self.run,
            "plan_digest": PLAN,
            "members": {site.name: site.identity.public for site in self.sites},
            "dimension": dimension,
            "word_bits": word_bits,
            "max_abs_sum": LIMIT if word_bits == 64 else 1 << 30,
            "steps": steps,
            "spare_attempts": spare,
            "deadline_seconds": deadline,
            "progress": self._note,
            "goes_on": True,
        }
        self.sum = SecureSumRun(record=self.record, **self._terms)

    def take_up(self):
        """Another coordinator's process, which has the record and nothing else of this one."""
        for pipes in self.pipes.values():
            pipes[-1].end(broken=True)
            pipes[-1].hang_up()
        self.record.close()
        self.record = Transcript.open(self._path)
        self.sum = SecureSumRun(record=self.record, taken_up=True, **self._terms)

    def attend(self, peer, frames):
        """The door of whichever coordinator is up."""
        return self.sum.attend(peer, frames)

    async def _note(self, event):
        self.events.append(event)
        self._noted.set()

    async def until(self, kind, *, count=1, after=0):
        """Wait until so many events of this kind came, not counting the first ``after`` of all."""
        while [event.kind for event in self.events[after:]].count(kind) < count:
            self._noted.clear()
            await self._noted.wait()

    def start(self, site, **changed):
        pipes = self.pipes.setdefault(site, [])
        self.tasks[site] = asyncio.create_task(
            site.join(
                attending(self, site.name, pipes),
                sites=self.sites,
                coordinator=self.coordinator,
                run=self.run,
                steps=self.steps,
                **changed,
            )
        )
        return self.tasks[site]

    async def go(self, *, gather=2.0, patience=1.0, sites=None):
        for site in self.sites if sites is None else sites:
            self.start(site)
        async with asyncio.timeout(20):
            try:
                outcome = await self.sum.drive(gather_seconds=gather, patience_seconds=patience)
            except TrainingError:
                await self.stop()
                raise
            results = await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        return outcome, results

    async def stop(self):
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    async def go_with_one_tampering(self, odd, change):
        """All join; what ``odd`` sends is what ``change`` makes of its honest frames."""
        for site in self.sites:
            if site is not odd:
                self.start(site)
        honest = attending(self.sum, odd.name, self.pipes.setdefault(odd, []))

        @asynccontextmanager
        async def open_stream():
            async with honest() as pipe:
                plain = pipe.send

                async def send(frame):
                    for each in change(frame):
                        await plain(each)

                pipe.send = send
                yield pipe

        self.tasks[odd] = asyncio.create_task(
            odd.join(
                open_stream,
                sites=self.sites,
                coordinator=self.coordinator,
                run=self.run,
                steps=self.steps,
            )
        )
        async with asyncio.timeout(20):
            outcome = await self.sum.drive(gather_seconds=2, patience_seconds=1)
            return outcome, await asyncio.gather(*self.tasks.values(), return_exceptions=True)
