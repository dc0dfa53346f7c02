"""Pairwise masks that cancel only if exactly the declared members send for the same step.

The mask of a pair is an AES-256-CTR stream whose seed hangs on the pair's fresh X25519 secret, the
set-up of the epoch (salt), the epoch, the step and the running history: another member set, another
step or another model gives another mask, and then nothing cancels. The lower fingerprint adds it,
the higher one subtracts it, modulo 2^word_bits. 128 bits of zero *guard words* follow every vector:
if masks failed to cancel, they come out zero with probability 2^-128.

Source: the pairwise masks of Bonawitz et al. 2017 (doi:10.1145/3133956.3133982), without its
recovery: profile A has nothing to recover, see docs/secure_sum.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from numpy.typing import NDArray

from twinward.errors import IdentityError, TrainingError, UsageError

GUARD_BITS = 128
MAX_DATA_BYTES = 512 * 1024

Words = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, slots=True)
class WordFormat:
    """How integers travel: words of 32 or 64 bits, little-endian, then the guard words.

    Args:
        bits: 32 or 64. Sums must stay within +-2^(bits-1).
        dimension: Coordinates of a vector. A vector travels in one message of at most 512 kB.

    Raises:
        UsageError: TW6102.
    """

    bits: int
    dimension: int

    def __post_init__(self) -> None:
        if self.bits not in {32, 64} or not (
            self.dimension > 0 and self.data_bytes <= MAX_DATA_BYTES
        ):
            raise UsageError(
                f"secure sum cannot carry {self.dimension} words of {self.bits} bits",
                code="TW6102",
                help="use words of 32 or 64 bits and vectors of at most 512 kB",
            )

    @property
    def dtype(self) -> np.dtype[Any]:
        """The unsigned little-endian word."""
        return np.dtype("<u4" if self.bits == 32 else "<u8")

    @property
    def guards(self) -> int:
        """How many guard words follow the vector."""
        return GUARD_BITS // self.bits

    @property
    def data_bytes(self) -> int:
        """Length of a vector on the wire."""
        return (self.dimension + self.guards) * self.bits // 8

    def from_integers(self, vector: NDArray[np.int64]) -> Words:
        """Words of an integer vector, guard words zero.

        Raises:
            TrainingError: TW6103, another shape or integers that do not fit.
        """
        limit = 1 << (self.bits - 1)
        if vector.dtype != np.int64 or vector.shape != (self.dimension,):
            raise TrainingError(
                f"a contribution must be {self.dimension} integers of 64 bits",
                code="TW6103",
                help="this is a fault of the mechanism that made it; nothing was sent",
            )
        if self.bits < 64 and bool(np.any((vector < -limit) | (vector >= limit))):
            raise TrainingError(
                f"a contribution does not fit into words of {self.bits} bits",
                code="TW6103",
                help="the plan's grid or word size is wrong; nothing was sent",
            )
        words = np.zeros(self.dimension + self.guards, dtype=self.dtype)
        words[: self.dimension] = vector.astype(self.dtype)  # modulo 2^bits
        return words

    def from_bytes(self, data: bytes) -> Words:
        """Words as they travelled.

        Raises:
            TrainingError: TW6104, another length.
        """
        if len(data) != self.data_bytes:
            raise TrainingError(
                f"a secure-sum vector has {len(data)} bytes instead of {self.data_bytes}",
                code="TW6104",
                help="check that every member runs the same version of Twinward",
            )
        return np.frombuffer(data, dtype=self.dtype)

    def to_integers(self, words: Words, *, limit: int) -> NDArray[np.int64]:
        """The integers of a sum whose masks have cancelled and which is within +-limit.

        Raises:
            TrainingError: TW6105, guard words are not zero; TW6106, out of range.
        """
        if bool(np.any(words[self.dimension :])):
            raise TrainingError(
                "a sum was refused: its guard words are not zero, so the masks did not cancel",
                code="TW6105",
                note="a vector is missing, was altered, or belongs to another step or model",
                help="nothing was applied; ask the coordinator for the transcript of this step",
            )
        signed = words[: self.dimension].astype(f"<i{self.bits // 8}").astype(np.int64)
        if bool(np.any((signed > limit) | (signed < -limit))):
            raise TrainingError(
                "a sum was refused: it is outside the public range of the plan",
                code="TW6106",
                note="with the members' vectors as evidence an auditor can add them again",
                help="nothing was applied; ask the coordinator for the transcript of this step",
            )
        return signed


def public_key(private: X25519PrivateKey) -> bytes:
    """The 32 raw bytes that an advert carries."""
    return private.public_key().public_bytes_raw()


def pair_key(
    private: X25519PrivateKey, peer_key: bytes, *, setup: bytes, own: bytes, peer: bytes
) -> bytes:
    """The 32-byte key of a pair for one epoch (X25519, RFC 7748; HKDF-SHA256, RFC 5869).

    Raises:
        IdentityError: TW6107, the peer's key gives a zero secret (a point of small order).
    """
    try:
        secret = private.exchange(X25519PublicKey.from_public_bytes(peer_key))
    except ValueError as error:
        raise IdentityError(
            "a member's key was refused: it would make a secret that everyone knows",
            code="TW6107",
            help="nothing was sent; that member or the coordinator does not follow the protocol",
        ) from error
    info = b"twinward/secsum-a/pair/v1" + min(own, peer) + max(own, peer)
    return HKDF(algorithm=SHA256(), length=32, salt=setup, info=info).derive(secret)


def mask_stream(key: bytes, size: int, *, epoch: int, step: int, history: bytes) -> bytes:
    """``size`` bytes of the pair's mask for one step of one history."""
    place = epoch.to_bytes(4, "little") + step.to_bytes(4, "little") + history
    info = b"twinward/secsum-a/mask/v1" + place
    seed = HKDFExpand(algorithm=SHA256(), length=48, info=info).derive(key)
    # CTR of AES over zeros: the published seed is used for this one stream only.
    return Cipher(AES256(seed[:32]), CTR(seed[32:])).encryptor().update(bytes(size))


def add_masks(words: Words, streams: Mapping[bytes, bytes], *, own: bytes) -> Words:
    """The words with each peer's stream added (peer above us) or subtracted (peer below)."""
    masked = words.copy()
    for peer, stream in streams.items():
        mask = np.frombuffer(stream, dtype=words.dtype)
        (np.add if own < peer else np.subtract)(masked, mask, out=masked)
    return masked


def add_up(vectors: list[Words]) -> Words:
    """Sum of masked vectors modulo the word size: all that a coordinator or auditor computes."""
    total = vectors[0].copy()
    for vector in vectors[1:]:
        np.add(total, vector, out=total)
    return total
