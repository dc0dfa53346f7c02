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
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hospital_node.data.records import Records
from hospital_node.data.table import Patients
from hospital_node.egress import Egress
from ledger.chain import Chain
from ledger.provenance import Kind
from ledger.verify import leaf_hash, tree_root
from twinward.ids import RecordNumber

PURPOSE = "dataset-version"
"""What the key of the salts is derived for from the hospital's identity."""

SALT_BYTES = 32


def root(records: Records, *, key: bytes) -> bytes:
    """32 bytes that name exactly these patients with exactly these values."""
    leaves = sorted((record, leaf(record, content, key=key)) for record, content in _rows(records))
    return tree_root([hashed for _, hashed in leaves])


def put_on_ledger(records: Records, *, key: bytes, chain: Chain, egress: Egress) -> bytes:
    """Record the version of what this process will work on; safe to repeat. Returns it.

    Raises:
        LedgerError: TW5001 unreachable, TW5030 refused; nothing is trained then.
    """
    found = root(records, key=key)
    egress.let_out("ledger", "dataset", to="ledger", size=200)
    chain.record(found, Kind.DATASET)
    return found


def leaf(record: RecordNumber, content: bytes, *, key: bytes) -> bytes:
    """The hash of one patient's leaf."""
    salt = hmac.digest(key, record.encode(), hashlib.sha256)
    return leaf_hash(salt + len(record.encode()).to_bytes(2) + record.encode() + content)


def _rows(records: Records) -> Iterator[tuple[RecordNumber, bytes]]:
    """Record number and content of each patient: every column by name, as float64."""
    if isinstance(records, Patients):
        columns = [(name, _plain(column)) for name, column in sorted(records.columns.items())]
        for row, record in enumerate(records.records):
            yield record, b"".join(_said(name, column[row]) for name, column in columns)
    else:
        for record, history in zip(records.records, records.histories, strict=True):
            values = sorted({**history.values, "minutes": history.minutes}.items())
            yield record, b"".join(_said(name, _plain(value)) for name, value in values)


def _plain(values: NDArray[Any]) -> NDArray[np.float64]:
    """Little-endian float64 with one spelling of "not recorded"."""
    numbers = np.asarray(values, dtype="<f8")
    return np.ascontiguousarray(np.where(np.isnan(numbers), np.nan, numbers), dtype="<f8")


def _said(name: str, value: Any) -> bytes:
    """One column of one patient: its name and shape, then its numbers."""
    numbers: bytes = value.tobytes()
    return f"{name}{value.shape}".encode() + numbers
