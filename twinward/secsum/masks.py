"""Pairwise masks that cancel only if exactly the declared members send for the same step.

The mask of a pair is an AES-256-CTR stream whose seed hangs on the pair's fresh X25519 secret, the
set-up of the epoch (salt), the epoch, the step and the running history: another member set, another
step or another model gives another mask, and then nothing cancels. The lower fingerprint adds it,
the higher one subtracts it, modulo 2^word_bits.

Source: the pairwise masks of Bonawitz et al. 2017 (doi:10.1145/3133956.3133982), without its
recovery: profile A has nothing to recover, see docs/secure_sum.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from twinward.errors import IdentityError
from twinward.secsum.words import PIECE_BYTES, Words

_BLOCK_BYTES = 16
_ZEROS = bytes(PIECE_BYTES)


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


class Masks:
    """The masks of one member for one step of one history, each stream used once, in order.

    Args:
        keys: The member's pair key with each peer, by the peer's raw fingerprint.
        own: The member's raw fingerprint.
        epoch: From 1.
        step: From 1.
        history: The running hash before the step.
    """

    def __init__(
        self, keys: Mapping[bytes, bytes], *, own: bytes, epoch: int, step: int, history: bytes
    ) -> None:
        self._own = own
        place = epoch.to_bytes(4, "little") + step.to_bytes(4, "little") + history
        info = b"twinward/secsum-a/mask/v1" + place
        self._streams = {}
        for peer, key in keys.items():
            seed = HKDFExpand(algorithm=SHA256(), length=48, info=info).derive(key)
            # CTR of AES over zeros: the seed is used for this one stream only.
            self._streams[peer] = Cipher(AES256(seed[:32]), CTR(seed[32:])).encryptor()
        self._buffer = bytearray()

    def add_to(self, words: Words) -> None:
        """Mask the next words of the vector in place: at most 512 kB, 16-byte blocks before."""
        add_masks(words, self._next(words), own=self._own)

    def _next(self, words: Words) -> Iterable[tuple[bytes, Words]]:
        size = words.nbytes
        if len(self._buffer) < size:
            self._buffer = bytearray(size + _BLOCK_BYTES)  # update_into asks for a block more
        zeros = memoryview(_ZEROS)[:size]
        for peer, stream in self._streams.items():
            stream.update_into(zeros, self._buffer)
            yield peer, np.frombuffer(self._buffer, dtype=words.dtype, count=words.size)


def add_masks(words: Words, masks: Iterable[tuple[bytes, Words]], *, own: bytes) -> None:
    """Add each peer's mask (peer above us) or subtract it (peer below us), in place."""
    for peer, mask in masks:
        (np.add if own < peer else np.subtract)(words, mask, out=words)
