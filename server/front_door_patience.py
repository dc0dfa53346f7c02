"""How often an address may come in vain: eight times a minute, then it has to wait."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from twinward.errors import TwinwardError

ALLOWED: Final = 8
WINDOW_SECONDS: Final = 60.0
_ADDRESSES = 1_000


class InVain:
    """Counts by address what came to nothing. Thread-safe.

    Of many addresses the longest known are forgotten first, so what it keeps has a bound.
    """

    def __init__(
        self,
        refusal: Callable[[], TwinwardError],
        *,
        allowed: int = ALLOWED,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nobody was counted yet.

        Args:
            refusal: What an address that has to wait is told.
            allowed: So often within a minute.
            now: Monotonic seconds.
        """
        self._refusal = refusal
        self._allowed = allowed
        self._now = now
        self._seen: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def require_patience(self, address: str) -> None:
        """Refuse an address that came too often, whatever it brings.

        Raises:
            TwinwardError: The refusal.
        """
        with self._lock:
            times = self._seen.get(address, deque())
            while times and self._now() - times[0] > WINDOW_SECONDS:
                times.popleft()
            if len(times) >= self._allowed:
                raise self._refusal()

    def note(self, address: str) -> None:
        """Once more in vain."""
        with self._lock:
            times = self._seen.pop(address, deque())
            times.append(self._now())
            self._seen[address] = times
            while len(self._seen) > _ADDRESSES:
                del self._seen[next(iter(self._seen))]
