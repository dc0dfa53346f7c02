"""Names of things, each a type of its own so that they cannot be mixed up."""

from __future__ import annotations

import re
from typing import NewType

from twinward import canonical
from twinward.errors import UsageError

OrgName = NewType("OrgName", str)
"""Short name of an organisation on this network: ``cleveland``, ``coordinator``."""

Fingerprint = NewType("Fingerprint", str)
"""Lower-case hex SHA-256 of a raw Ed25519 public key: who signed."""

StudyId = NewType("StudyId", str)
"""Public name of a study: ``heart-risk``."""

RunId = NewType("RunId", str)
"""32 random bytes in lower-case hex: one run of a study."""

RecordNumber = NewType("RecordNumber", str)
"""A hospital's own number of a patient. Never leaves the hospital."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]")
_HEX32 = re.compile(r"[0-9a-f]{64}")


def org_name(text: str) -> OrgName:
    """Parse an organisation's name: 2 to 32 of ``a-z 0-9 -``, starting with a letter."""
    if not _NAME.fullmatch(text):
        raise UsageError(
            f"`{text}` is not a name for an organisation",
            code="TW1001",
            help="use 2 to 32 lower-case letters, digits and hyphens, starting with a letter",
        )
    return OrgName(text)


def study_id(text: str) -> StudyId:
    """Parse a study's name by the same rule as an organisation's."""
    if not _NAME.fullmatch(text):
        raise UsageError(
            f"`{text}` is not a name for a study",
            code="TW1002",
            help="use 2 to 32 lower-case letters, digits and hyphens, starting with a letter",
        )
    return StudyId(text)


def study_number(*, network: str, name: str, salt: str) -> bytes:
    """32 bytes that stand for a study on the ledger: a salted hash, the same for every hospital."""
    return canonical.tagged_hash(
        "study/v1", bytes.fromhex(network), name.encode(), bytes.fromhex(salt)
    )


def is_hex32(text: str) -> bool:
    """Whether the text is exactly 32 bytes in lower-case hex."""
    return _HEX32.fullmatch(text) is not None
