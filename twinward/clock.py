"""Time as an argument: UTC only, so that tests and expiry rules can hold it still."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where a component gets its time from."""

    def now(self) -> float:
        """Seconds since 1970-01-01 00:00 UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since 1970-01-01 00:00 UTC."""
        return time.time()


class FixedClock:
    """A clock that stands still until it is moved; for tests."""

    def __init__(self, at: float) -> None:
        self.at = at

    def now(self) -> float:
        """The moment it was set to."""
        return self.at


def iso(seconds: float) -> str:
    """ISO 8601 in UTC with seconds: ``2026-11-21T02:00:00Z``."""
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
