"""What goes on beside a stream: work whose failure ends the run, as if it were done in line."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from twinward.rpc.messages_pb2 import Frame
from twinward.secsum.frames import FrameStream


class Beside:
    """Tasks of one stream; what one of them raises comes out of the next wait."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Do this while the stream is read."""
        self._tasks.add(asyncio.create_task(work))

    async def receive(self, stream: FrameStream) -> Frame:
        """The next frame of the stream; raises ``StreamBroken``, or what a task raised."""
        if not self._tasks:
            return await stream.receive()
        receiving = asyncio.ensure_future(stream.receive())
        try:
            while not receiving.done():
                await asyncio.wait({receiving, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
                self._require_sound()
            return receiving.result()
        finally:
            receiving.cancel()

    async def settle(self) -> None:
        """Wait for all that was started."""
        while self._tasks:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
            self._require_sound()

    async def end(self) -> None:
        """Stop all that is still going on; nothing is raised."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def _require_sound(self) -> None:
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.discard(task)
            task.result()
