"""The signed heads of secure sum profile A: frozen dataclasses and their exact bytes.

A head is 8 bytes of magic (``TWSUMA``, version 1, kind) and then its fields in the order in which
they are declared, little-endian, without padding; every kind has one length. Whoever sends a head
signs exactly these bytes (DSSE encoding, kind ``twinward/secsum-a/<kind>/v1``); a receiver checks
the signature first and parses afterwards, so nothing is ever encoded again to be verified.

    M1 OFFER  M2 ADVERTISE  M3 ROSTER   an epoch: a declared set of members with fresh keys
    M4 MASKED  M5 SUM                   one step, one round trip
    M6 CLOSE  ABORT  HELLO              end of the run, end of an attempt, (re)joining

Source: Twinward's own protocol; ``docs/secure_sum.md`` has the table of layouts.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import ClassVar, Self

from twinward.errors import TrainingError
from twinward.ids import Fingerprint
from twinward.signing import Identity, PublicIdentity

MAGIC = b"TWSUMA\x01"
SIGNATURE_BYTES = 64


class Kind(IntEnum):
    """What a frame says; also the eighth byte of its head."""

    HELLO = 1
    OFFER = 2
    ADVERTISE = 3
    ROSTER = 4
    MASKED = 5
    SUM = 6
    ABORT = 7
    CLOSE = 8

    @property
    def signed_as(self) -> str:
        """The document kind under which heads of this kind are signed."""
        return f"twinward/secsum-a/{self.name.lower()}/v1"


class Next(IntEnum):
    """What follows a sum."""

    STEP = 0
    """The next step, in the same epoch: the sum is its starting signal."""
    OFFER = 1
    """The epoch ends here, at no cost; a new one will be offered (a member came back)."""
    CLOSE = 2
    """That was the last step."""


class Reason(IntEnum):
    """Why an attempt was given up."""

    BROKEN = 1
    """A member's stream broke."""
    SILENT = 2
    """A member said nothing until the deadline."""
    FAILED = 3
    """The run ends here: too few members or no attempts left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What every head begins with: which run, under which plan, in which epoch (from 1)."""

    KIND: ClassVar[Kind]
    LAYOUT: ClassVar[str] = "32s32sI"

    run: bytes
    plan: bytes
    epoch: int

    def encode(self) -> bytes:
        """The exact bytes that are signed and sent."""
        values = [getattr(self, field.name) for field in fields(self)]
        if any(isinstance(value, bytes) and len(value) != 32 for value in values):
            raise ValueError("every byte field of a head is 32 bytes")
        return struct.pack("<7sB" + self._layout(), MAGIC, self.KIND, *values)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse bytes whose signature has been checked.

        Raises:
            TrainingError: TW6101, another kind, another version or another length.
        """
        layout = "<7sB" + cls._layout()
        if len(data) != struct.calcsize(layout) or data[:8] != MAGIC + bytes([cls.KIND]):
            raise TrainingError(
                f"a secure-sum message is not a well-formed {cls.KIND.name}",
                code="TW6101",
                help="check that every member runs the same version of Twinward",
            )
        return cls(*struct.unpack(layout, data)[2:]) if False else cls._of(layout, data)

    @classmethod
    def _of(cls, layout: str, data: bytes) -> Self:
        names = (field.name for field in fields(cls))
        return cls(**dict(zip(names, struct.unpack(layout, data)[2:], strict=True)))

    @classmethod
    def _layout(cls) -> str:
        own = [base.__dict__.get("LAYOUT", "") for base in reversed(cls.__mro__)]
        return "".join(own)
