"""How long a run waits for a silent member: by its own recent steps, never less than the plan says.

An attempt that is given up is charged all the same, so a slow network must not look like a dead
member. A node gives an epoch up after five of the plan's deadlines; this stays below that.
"""

from __future__ import annotations

from collections import deque
from statistics import median

FACTOR = 3.0
"""So many times the usual step is silence."""

_AT_MOST = 4.0  # deadlines of the plan; nodes wait five
_RECENT = 15


class Pace:
    """The steps of one run as they went.

    Args:
        floor: The plan's deadline in seconds.
    """

    def __init__(self, floor: float) -> None:
        self._floor = floor
        self._recent = deque[float](maxlen=_RECENT)

    def took(self, seconds: float) -> None:
        """A step took so long; one that was given up took at least its deadline."""
        self._recent.append(seconds)

    @property
    def deadline(self) -> float:
        """Seconds of silence that end the next attempt."""
        usual = median(self._recent) if self._recent else 0.0
        return min(_AT_MOST * self._floor, max(self._floor, FACTOR * usual))
