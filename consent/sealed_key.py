"""A patient's key under a passphrase, in the form that the patients' pages make and open too.

Argon2id (RFC 9106) over the passphrase, with a secret of the letter's code, gives the key that
seals under AES-256-GCM, bound to the key's own address. 0.1 to 0.3 s and 64 MiB for each key.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from consent import signature
from twinward.errors import IdentityError
from twinward.sealed_file import Passphrase

VERSION = 1
_PURPOSE = b"twinward/sealed-key/v1"
_COST = {"t": 3, "m": 65_536, "p": 1}  # passes, KiB, lanes: as the pages' script
_MOST_KIB, _MOST_PASSES, _MOST_LANES = 1 << 20, 16, 16


def seal(key: bytes, *, passphrase: Passphrase, secret: bytes) -> dict[str, Any]:
    """The key as it may lie anywhere: passphrase and secret together open it, neither alone."""
    kdf, iv = {**_COST, "salt": os.urandom(16).hex()}, os.urandom(12)
    subject = signature.address_of(key)
    box = AESGCM(_wrapping(kdf, passphrase, secret)).encrypt(iv, key, subject)
    return {"v": VERSION, "subject": subject.hex(), "kdf": kdf, "iv": iv.hex(), "box": box.hex()}


def opened(sealed: Mapping[str, Any], *, passphrase: Passphrase, secret: bytes) -> bytes:
    """The key that was sealed; what it asks of this machine is bounded.

    Raises:
        IdentityError: TW3183, the passphrase is another one, or the seal was changed.
    """
    try:
        iv, box, subject = (bytes.fromhex(sealed[name]) for name in ("iv", "box", "subject"))
        return AESGCM(_wrapping(sealed["kdf"], passphrase, secret)).decrypt(iv, box, subject)
    except (InvalidTag, KeyError, TypeError, ValueError) as error:
        raise IdentityError(
            "this passphrase does not open the patient's key",
            code="TW3183",
            help="give the one that it was sealed with, or withdraw at the hospital's desk",
        ) from error


def _wrapping(kdf: Mapping[str, Any], passphrase: Passphrase, secret: bytes) -> bytes:
    asked = ((kdf["m"], _MOST_KIB), (kdf["t"], _MOST_PASSES), (kdf["p"], _MOST_LANES))
    if not all(isinstance(cost, int) and 0 < cost <= most for cost, most in asked):
        raise ValueError("the seal asks for too much memory or time")
    words = unicodedata.normalize("NFKC", passphrase.words.decode(errors="surrogateescape"))
    return Argon2id(
        salt=bytes.fromhex(kdf["salt"]),
        length=32,
        iterations=kdf["t"],
        lanes=kdf["p"],
        memory_cost=kdf["m"],
        secret=secret,
        ad=_PURPOSE,
    ).derive(words.encode(errors="surrogateescape"))
