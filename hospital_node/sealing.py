"""Rows that say nothing without their key: named by HMAC, sealed with AES-256-GCM to their place.

The key lies apart from the file. A row that was changed, or put in the place of
another, does not open.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from twinward.errors import TwinwardError
from twinward.files import read_secret, write_secret

KEY_BYTES = 32
_NONCE = 12


class Seal:
    """Names and seals the rows of one file.

    Args:
        key: 32 bytes that are not in the file's folder.
        purpose: What the file is for; another purpose, other names and seals.
        entropy: Gives nonces.
    """

    def __init__(
        self, key: bytes, *, purpose: str, entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._names = hashlib.sha256(f"twinward/{purpose}/names/v1".encode() + key).digest()
        self._seal = AESGCM(hashlib.sha256(f"twinward/{purpose}/seal/v1".encode() + key).digest())
        self._entropy = entropy

    @property
    def check(self) -> bytes:
        """What the file keeps to know its key again."""
        return hmac.digest(self._names, b"", hashlib.sha256)

    def name(self, of: bytes) -> bytes:
        """16 bytes that stand for a patient, or for whatever else a row is about."""
        return hmac.digest(self._names, of, hashlib.sha256)[:16]

    def seal(self, body: bytes, name: bytes, *where: str) -> bytes:
        """A body, to be opened under this name and in this place only."""
        nonce = self._entropy(_NONCE)
        return nonce + self._seal.encrypt(nonce, body, name + "\0".join(where).encode())

    def open(self, body: bytes, name: bytes, *where: str) -> bytes | None:
        """What was sealed; None if it was changed or is of another place."""
        try:
            return self._seal.decrypt(
                body[:_NONCE], body[_NONCE:], name + "\0".join(where).encode()
            )
        except (InvalidTag, ValueError):  # the latter: shorter than a nonce
            return None


def site_key(path: Path, *, of: Path, lost: Callable[[Path], TwinwardError]) -> bytes:
    """The key in this file, made when there is no sealed file yet.

    The key is on disk before the sealed file is: dying in between leaves a key for the next call.

    Args:
        path: Where the key is kept.
        of: The sealed file.
        lost: What is raised when there is a sealed file and no key for it.

    Raises:
        IdentityError: TW2005, others can read the key.
    """
    if not path.exists():
        if of.exists():
            raise lost(of)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_secret(path, os.urandom(KEY_BYTES))
    return read_secret(path)
