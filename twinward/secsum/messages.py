"""The signed heads of secure sum profile A: frozen dataclasses and their exact bytes.

A head is 8 bytes of magic (``TWSUMA``, version 1, kind) and then its fields in the order in which
they are declared, little-endian, without padding; every kind has one length. Whoever sends a head
signs exactly these bytes (DSSE encoding, kind ``twinward/secsum-a/<kind>/v1``); a receiver checks
the signature first and parses afterwards, so nothing is ever encoded again to be verified.

    M1 OFFER  M2 ADVERTISE  M3 ROSTER   an epoch: a declared set of members with fresh keys
    M4 MASKED  M5 SUM                   one step, one round trip
    M6 CLOSE  ABORT  HELLO              end of the run, end of an attempt, (re)joining
    DATA (no head)                      the pieces of a large vector before its M4 or M5

Source: Twinward's own protocol; ``docs/secure_sum.md`` has the table of layouts.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import ClassVar, Self, TypeVar

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
    DATA = 9
    """A piece of a large vector; has no head, the frame that ends the vector speaks for it."""

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
        return self._struct().pack(MAGIC, self.KIND, *values)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse bytes whose signature has been checked.

        Raises:
            TrainingError: TW6101, another kind, another version or another length.
        """
        layout = cls._struct()
        if len(data) != layout.size or data[:8] != MAGIC + bytes([cls.KIND]):
            raise TrainingError(
                f"a secure-sum message is not a well-formed {cls.KIND.name}",
                code="TW6101",
                help="check that every member runs the same version of Twinward",
            )
        names = (field.name for field in fields(cls))
        return cls(**dict(zip(names, layout.unpack(data)[2:], strict=True)))

    @classmethod
    def _struct(cls) -> struct.Struct:
        own = (base.__dict__.get("LAYOUT", "") for base in reversed(cls.__mro__))
        return struct.Struct("<7sB" + "".join(own))


@dataclass(frozen=True, slots=True, kw_only=True)
class FromMember(Head):
    """What a node says: ``sender`` is its raw fingerprint, signed like the rest."""

    LAYOUT: ClassVar[str] = "32s"

    sender: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello(FromMember):
    """Node to coordinator, first on every stream: who I am and how far I have come.

    ``epoch`` is the last epoch the sender took part in (0: none), ``history`` the running hash
    after ``steps`` sums. A node that is behind is sent the sums it missed before the next offer.
    """

    KIND: ClassVar[Kind] = Kind.HELLO
    LAYOUT: ClassVar[str] = "32sI"

    history: bytes
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer(Head):
    """M1, coordinator to nodes: an epoch with exactly these members, starting at this step.

    The frame's data is the members' fingerprints, 32 bytes each, ascending; ``roster`` is their
    digest. ``history`` is the running hash before ``step``.
    """

    KIND: ClassVar[Kind] = Kind.OFFER
    LAYOUT: ClassVar[str] = "32s32sIIIIII"

    roster: bytes
    history: bytes
    step: int
    steps: int
    members: int
    attempts_left: int
    dimension: int
    word_bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Advertise(FromMember):
    """M2, node to coordinator: my fresh X25519 key for this epoch."""

    KIND: ClassVar[Kind] = Kind.ADVERTISE
    LAYOUT: ClassVar[str] = "32s32s32s"

    roster: bytes
    key: bytes
    nonce: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster(Head):
    """M3, coordinator to nodes: everyone's M2; the frame's heads are those, by sender."""

    KIND: ClassVar[Kind] = Kind.ROSTER
    LAYOUT: ClassVar[str] = "32s32s"

    roster: bytes
    setup: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked(FromMember):
    """M4, node to coordinator: what I contribute to this step of this history.

    The frame's data is the last piece of the masked vector (words with guard words), DATA frames
    brought the others; ``vector`` is the digest of the whole.
    ``consent`` is the consent head under which the sender chose its cohort.
    """

    KIND: ClassVar[Kind] = Kind.MASKED
    LAYOUT: ClassVar[str] = "32s32s32s32sI"

    setup: bytes
    history: bytes
    consent: bytes
    vector: bytes
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum(Head):
    """M5, coordinator to nodes: the sum of the step, starting signal of the next one.

    The frame's data is the last piece of the sum (words with guard words), ``total`` the digest of
    the whole; the frame's heads are all M4 heads with signatures, by sender, ``heads`` their
    digest. ``history`` is the hash *before* this step. ``then`` is a value of ``Next``.
    """

    KIND: ClassVar[Kind] = Kind.SUM
    LAYOUT: ClassVar[str] = "32s32s32s32sII"

    setup: bytes
    history: bytes
    total: bytes
    heads: bytes
    step: int
    then: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Abort(Head):
    """Coordinator to nodes: this attempt is dead, erase the keys of this epoch.

    The frame's data is the missing members' fingerprints, ``missing`` their digest; ``reason`` is
    a value of ``Reason``. After ``Reason.FAILED`` no further epoch will be offered.
    """

    KIND: ClassVar[Kind] = Kind.ABORT
    LAYOUT: ClassVar[str] = "32sII"

    missing: bytes
    step: int
    reason: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Close(FromMember):
    """M6, node to coordinator: what I hold at the end; a release needs everyone's.

    ``history`` is the running hash after ``steps`` sums, ``model`` the SHA-256 of the released
    weights (little-endian float64), ``attempts`` how many attempts the sender has been charged.
    """

    KIND: ClassVar[Kind] = Kind.CLOSE
    LAYOUT: ClassVar[str] = "32s32s32sII"

    setup: bytes
    history: bytes
    model: bytes
    steps: int
    attempts: int


_H = TypeVar("_H", bound=Head)


@dataclass(frozen=True, slots=True)
class Signed:
    """The bytes of a head as they were sent, with the sender's 64-byte signature."""

    head: bytes
    signature: bytes

    @property
    def blob(self) -> bytes:
        """Head and signature in one string: the form in ``Frame.heads`` and in evidence."""
        return self.head + self.signature

    @classmethod
    def of_blob(cls, blob: bytes) -> Signed:
        """Split head and signature again; the result is unverified."""
        return cls(blob[:-SIGNATURE_BYTES], blob[-SIGNATURE_BYTES:])

    @classmethod
    def by(cls, identity: Identity, head: Head) -> Signed:
        """Sign a head."""
        data = head.encode()
        return cls(data, identity.sign(head.KIND.signed_as, data))

    def opened(self, kind: type[_H], signer: PublicIdentity) -> _H:
        """The head, if this signer signed exactly these bytes as this kind.

        Raises:
            IdentityError: TW2002, not this signer's signature.
            TrainingError: TW6101, signed, but malformed.
        """
        signer.verify(kind.KIND.signed_as, self.head, self.signature)
        return kind.decode(self.head)


def raw(fingerprint: Fingerprint) -> bytes:
    """A fingerprint as it stands in a head: 32 bytes."""
    return bytes.fromhex(fingerprint)


def fingerprint(raw_bytes: bytes) -> Fingerprint:
    """The reverse of ``raw``."""
    return Fingerprint(raw_bytes.hex())
