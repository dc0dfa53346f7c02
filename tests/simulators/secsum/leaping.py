"""An event loop without luck: its clock stands still while there is work, then leaps to the next.

Drivers tell the time by their loop alone, so their slots, deadlines and patience can be held to
the millisecond however busy the machine is. Only for scenarios without threads and sockets.
"""

from __future__ import annotations

import asyncio
import selectors


class _Selector(selectors.DefaultSelector):
    """Where a loop waits: whatever it would wait for in vain has passed at once."""

    now = 1000.0

    def select(self, timeout=None):
        ready = super().select(timeout if timeout is None else 0)
        if not ready and timeout is not None:
            self.now += max(timeout, 0.0)
        return ready


class Loop(asyncio.SelectorEventLoop):
    """Its seconds pass when it waits, and when a scenario says that work took some."""

    def __init__(self):
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self):
        return self._clock.now

    def passes(self, seconds):
        """What ``time.sleep`` is to another loop."""
        self._clock.now += seconds


def run(scenario):
    """``asyncio.run`` on such a loop."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(scenario)
