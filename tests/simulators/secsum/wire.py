"""Streams without a network, and a site whose contributions a test can read."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager, suppress

import numpy as np

from hospital_node.secure_sum import Work, run_session
from twinward.rpc.messages_pb2 import Frame
from twinward.secsum.frames import StreamBroken, StreamEnded
from twinward.signing import Identity

DIMENSION = 5
LIMIT = 1 << 40
PLAN = b"P" * 32


class Pipe:
    """Both ends of one stream; the node's end is a ``FrameStream``."""

    def __init__(self):
        self._to_node = asyncio.Queue()
        self.from_node = asyncio.Queue()

    async def send(self, frame):
        self.from_node.put_nowait(Frame.FromString(frame.SerializeToString()))

    async def receive(self):
        frame = await self._to_node.get()
        if isinstance(frame, Exception):
            self._to_node.put_nowait(frame)
            raise frame
        return frame

    def give(self, frame):
        self._to_node.put_nowait(Frame.FromString(frame.SerializeToString()))

    def end(self, *, broken=False):
        self._to_node.put_nowait(StreamBroken("cut") if broken else StreamEnded())

    def hang_up(self):
        self.from_node.put_nowait(None)

    async def frames(self):
        while (frame := await self.from_node.get()) is not None:
            yield frame


class Site:
    """A hospital of a test: its key, what it contributed, marked and applied."""

    def __init__(self, *, word_bits=64, dimension=DIMENSION):
        self.identity = Identity.generate()
        self.name = self.identity.public.fingerprint
        self.word_bits = word_bits
        self.dimension = dimension
        self.contributed = {}
        self.marks = []
        self.applied = []
        self.left = []
        self.signal = -5
        self.on_contribute = lambda step, epoch: None
        self.attempts = 10_000

    def work(self):
        def contribute(step, epoch, members):
            self.on_contribute(step, epoch)
            noise = np.random.default_rng(secrets.randbits(128))
            vector = noise.integers(-1000, 1001, self.dimension) + self.signal
            self.contributed.setdefault((epoch, step), []).append(vector)
            return vector

        def mark(epoch, step):
            if len(self.marks) >= self.attempts:
                raise RuntimeError("no attempts left")
            self.marks.append((epoch, step))

        return Work(
            contribute=contribute,
            mark=mark,
            apply=lambda step, total: self.applied.append((step, total.copy())),
            consent_head=lambda: b"C" * 32,
            model_digest=lambda: np.sum(
                [t for _, t in self.applied], axis=0, dtype=np.int64
            ).tobytes()[:32],
            let_out=lambda kind, size: self.left.append((kind, size)),
        )

    async def join(self, open_stream, *, sites, coordinator, run, steps, **changed):
        given = {
            "work": self.work(),
            "identity": self.identity,
            "members": {site.name: site.identity.public for site in sites},
            "coordinator": coordinator.public,
            "run": run,
            "plan_digest": PLAN,
            "dimension": self.dimension,
            "word_bits": self.word_bits,
            "max_abs_sum": LIMIT if self.word_bits == 64 else 1 << 30,
            "steps": steps,
            "slot_seconds": 0.0,
            "deadline_seconds": 2.0,
            "patience_seconds": 5.0,
        }
        return await run_session(open_stream, **{**given, **changed})


def through(pipes):
    """``open_stream`` over prepared pipes, one per connection; hangs up when the node leaves."""
    waiting = list(pipes)

    @asynccontextmanager
    async def open_stream():
        if not waiting:
            raise StreamBroken("nobody answers")
        pipe = waiting.pop(0)
        try:
            yield pipe
        finally:
            pipe.hang_up()

    return open_stream


def attending(run, name, cut=None):
    """``open_stream`` to a real coordinator in the same process; ``cut`` gets every pipe."""

    @asynccontextmanager
    async def open_stream():
        pipe = Pipe()
        if cut is not None:
            cut.append(pipe)

        async def serve():
            async for frame in run.attend(name, pipe.frames()):
                pipe.give(frame)
            pipe.end()

        task = asyncio.create_task(serve())
        try:
            yield pipe
        finally:
            pipe.hang_up()
            await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    return open_stream
