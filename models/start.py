"""First weights from public chance: the same numbers for everyone who knows their name."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def chance(name: str, count: int) -> NDArray[np.float64]:
    """Even on (-1, 1), from SHAKE-256 of a public name; never for noise."""
    stream = hashlib.shake_256(name.encode()).digest(8 * count)
    words = np.frombuffer(stream, dtype="<u8") >> np.uint64(11)
    return (words.astype(np.float64) + 0.5) * 2.0**-52 - 1.0
