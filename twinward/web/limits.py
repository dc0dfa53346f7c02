"""How often one visitor may ask: a token bucket for each, in memory that cannot grow."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_VISITORS = 10_000


class Limit:
    """At most ``burst`` at once and ``per_second`` in the long run, for each key. Thread-safe.

    When more than ten thousand keys are active the one that was idle longest is forgotten: it
    would start with a full bucket again.
    """

    def __init__(
        self,
        *,
        per_second: float,
        burst: float,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = per_second
        self._burst = burst
        self._seconds = seconds
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, key: str) -> float:
        """Take one; 0 if it may go on, otherwise after how many seconds to come back."""
        now = self._seconds()
        with self._lock:
            level, since = self._buckets.pop(key, (self._burst, now))
            level = min(self._burst, level + (now - since) * self._rate)
            allowed = level >= 1
            self._buckets[key] = (level - 1 if allowed else level, now)
            if len(self._buckets) > _MOST_VISITORS:
                self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - level) / self._rate
