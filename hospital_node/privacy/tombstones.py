"""What a patient has spent outlives the patient's record: a name that only this site can compute.

Erasing a record and enrolling the same person again must not be a fresh budget. So spend is kept
under HMAC(site key, record number), which says nothing to whoever has not both, in a file of its
own that no backup puts back (``lifetime``). It stays after an erasure because without it the limit
that protects the person could not be kept (GDPR article 17(3)(b) and (e); the ADR says more).
A person who comes back under another record number is not recognised: that is the hospital's word.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from twinward.ids import RecordNumber

PURPOSE = "twinward/tombstone/v1"
"""What the site key is derived for."""

LENGTH = 16
"""Bytes of a name: two of a million patients share one with chance 2^-89, and then pay together."""


def names(key: bytes, records: Sequence[RecordNumber]) -> list[bytes]:
    """The name of each patient, in the order of the records."""
    return [hmac.digest(key, record.encode(), hashlib.sha256)[:LENGTH] for record in records]


def check_value(key: bytes) -> bytes:
    """Shows that a file was made with this key, without showing the key; no record is empty."""
    return hmac.digest(key, b"", hashlib.sha256)
