"""Random words from AES-256 in counter mode, the one generator of this node."""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

KEY_BYTES = 32


class Keystream:
    """Uniform 64-bit words that nobody without the key can tell from random (NIST SP 800-38A)."""

    def __init__(self, key: bytes) -> None:
        self._encryptor = Cipher(AES256(key), CTR(bytes(16))).encryptor()

    def words(self, count: int) -> NDArray[np.uint64]:
        """The next ``count`` words, uniform on 0 to 2^64 - 1."""
        return np.frombuffer(self._encryptor.update(bytes(8 * count)), dtype="<u8")

    def uniforms(self, count: int) -> NDArray[np.float64]:
        """The next ``count`` numbers on [0, 1), each a multiple of 2^-53."""
        return (self.words(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
