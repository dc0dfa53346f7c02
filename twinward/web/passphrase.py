"""Passphrases of people: Argon2id (RFC 9106), one at a time so that memory stays bounded."""

from __future__ import annotations

import os
import threading

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

SHORTEST = 12
"""Characters. Length is what counts; no rules on kinds of characters (NIST SP 800-63B)."""

LONGEST = 256

_LANES, _ROUNDS, _KIB = 4, 3, 64 * 1024  # RFC 9106, section 4, second choice
_one_at_a_time = threading.Lock()


def sealed(passphrase: str) -> str:
    """What may be stored of a passphrase: salt and Argon2id in PHC form. 0.1 s, 64 MiB."""
    kdf = Argon2id(
        salt=os.urandom(16), length=32, iterations=_ROUNDS, lanes=_LANES, memory_cost=_KIB
    )
    with _one_at_a_time:
        return kdf.derive_phc_encoded(passphrase.encode())


def opens(passphrase: str, stored: str | None) -> bool:
    """Whether this is the passphrase; as slow for an account that does not exist (None)."""
    with _one_at_a_time:
        try:
            Argon2id.verify_phc_encoded(passphrase.encode(), stored or _nobody())
        except InvalidKey:
            return False
    return stored is not None


def _nobody() -> str:
    return f"$argon2id$v=19$m={_KIB},t={_ROUNDS},p={_LANES}$" + "A" * 22 + "$" + "A" * 43
