"""Who is kept out of training, or trained on in which shard: decided by a keyed hash, by nobody.

Kept out, so that the finished model can be measured on someone it never saw.

Every patient has a place on [0, 1): a keyed hash of the record number, so it is nobody's choice,
says nothing about the patient, and is the same in every run. A plan that holds out a share keeps
out the patients below it; a larger share keeps out these and more. The key comes from the
hospital's own identity, so outside it no place can be computed, not even from a record number.
Nothing of it leaves. A plan with shards trains in each run on an equal part of the places, so a
patient is in one shard of it, always the same (``twinward.shards``).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from twinward.ids import RecordNumber

PURPOSE = "twinward/holdout/v1"
NEVER = (0.5, 1.0)
"""Places that no plan can keep out of training: a hold-out is at most half of the patients."""
PERHAPS = (0.0, 0.5)
"""Places that some plan may keep out."""


def places(key: bytes, records: Sequence[RecordNumber]) -> NDArray[np.float64]:
    """Each patient's place on [0, 1), in the order of the records."""
    digests = (hmac.new(key, record.encode(), hashlib.sha256).digest() for record in records)
    return np.array([(int.from_bytes(d[:8]) >> 11) * 2.0**-53 for d in digests], dtype=np.float64)


def trained(share: float) -> tuple[float, float]:
    """The places that a plan with this hold-out share trains on."""
    return (share, 1.0)


def held_out(share: float) -> tuple[float, float]:
    """The places that it keeps out."""
    return (0.0, share)


def within(places: NDArray[np.float64], part: tuple[float, float]) -> NDArray[np.bool_]:
    """Who of these patients has a place in this part."""
    low, high = part
    return (places >= low) & (places < high)
