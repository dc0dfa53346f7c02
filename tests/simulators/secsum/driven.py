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
        self.sum = SecureSumRun(
            identity=self.coordinator,
            run=self.run,
            plan_digest=PLAN,
            members={site.name: site.identity.public for site in self.sites},
            dimension=dimension,
            word_bits=word_bits,
            max_abs_sum=LIMIT if word_bits == 64 else 1 << 30,
            steps=steps,
            spare_attempts=spare,
            deadline_seconds=deadline,
            record=self.record,
            progress=self._note,
        )

    async def _note(self, event):
        self.events.append(event)

    def start(self, site, **changed):
        pipes = self.pipes.setdefault(site, [])
        self.tasks[site] = asyncio.create_task(
            site.join(
                attending(self.sum, site.name, pipes),
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
