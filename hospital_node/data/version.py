"""The version of a hospital's data: a Merkle root that names it and says nothing about it.

An RFC 9162 tree with one leaf per patient, in the order of record numbers. Each leaf begins with a
salt that only this hospital can make, HMAC(key, record number), so neither the root nor a proof
tells anything to whoever would guess records. The root alone leaves: it goes to the ledger, where
it stands before any run that trained on the data. The same data, the same root, wherever it was
kept; one changed number of one patient, another root.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator

import numpy as np

from hospital_node.data.table import Patients
from ledger.verify import leaf_hash, tree_root
from twinward.ids import RecordNumber

PURPOSE = "dataset-version"
"""What the key of the salts is derived for from the hospital's identity."""

SALT_BYTES = 32


def root(patients: Patients, *, key: bytes) -> bytes:
    """32 bytes that name exactly these patients with exactly these values."""
    leaves = sorted((record, leaf(record, content, key=key)) for record, content in _rows(patients))
    return tree_root([hashed for _, hashed in leaves])


def leaf(record: RecordNumber, content: bytes, *, key: bytes) -> bytes:
    """The hash of one patient's leaf."""
    salt = hmac.digest(key, record.encode(), hashlib.sha256)
    return leaf_hash(salt + len(record.encode()).to_bytes(2) + record.encode() + content)


def _rows(patients: Patients) -> Iterator[tuple[RecordNumber, bytes]]:
    """Record number and content of each patient: every column by name, as float64."""
    columns = sorted(patients.columns.items())
    for row, record in enumerate(patients.records):
        yield record, _joined((name, column[row]) for name, column in columns)


def _joined(values: Iterable[tuple[str, object]]) -> bytes:
    parts = []
    for name, value in values:
        numbers = np.ascontiguousarray(value, dtype="<f8")
        numbers = np.where(np.isnan(numbers), np.nan, numbers)  # one spelling of "not recorded"
        parts.append(f"{name}{list(numbers.shape)}".encode() + numbers.astype("<f8").tobytes())
    return b"".join(parts)
