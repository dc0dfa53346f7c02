"""Whether a forecast of beds is worth showing: against "it stays as it is", on the last weeks.

A forecast that lost to persistence lately is withheld, with the reason: an honest "as today" serves
better than a model in a time that it does not fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.twin import Replay

RECENT = 28
"""Days that are looked at."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a forecast did lately at one horizon.

    Attributes:
        days: Ahead.
        error: Mean absolute error, beds.
        stays: That of "it stays as it is".
        of: How many days were compared.
    """

    days: int
    error: float
    stays: float
    of: int

    @property
    def withheld(self) -> str | None:
        """Why there is no forecast so far ahead; None if there is one."""
        if self.of < RECENT:
            return f"only {self.of} of {RECENT} past days can be compared"
        if not self.error < self.stays:
            return (
                f"over the last {self.of} days its error was {self.error:.1f} beds, and that of "
                f"`it stays as it is` {self.stays:.1f}"
            )
        return None


def lately(past: Replay, *, days: int, until: int | None = None) -> Standing:
    """How a forecast did on the last days of a past.

    Args:
        past: Replayed so far ahead.
        days: How far that is.
        until: Only what was seen before this row was asked; all of it if None.
    """
    known = np.flatnonzero(np.isfinite(past.seen) & np.isfinite(past.said))
    if until is not None:
        known = known[past.minutes[known] + days * 1440.0 <= past.minutes[until]]
    rows = known[-RECENT:]
    if not rows.size:
        return Standing(days, np.nan, np.nan, 0)
    error = np.abs(past.said[rows] - past.seen[rows]).mean()
    stays = np.abs(past.last[rows] - past.seen[rows]).mean()
    return Standing(days, float(error), float(stays), int(rows.size))
