"""Record numbers and names as a vault keeps them: sealed, and still to be asked for.

AES-SIV (RFC 5297) gives one text one form under one key, so that a row is found by what it says
without saying it; a form that was changed does not open. The key lies apart from the database.
Whoever has the database alone sees which rows are about the same patient, and never who that is.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from twinward.errors import ConsentError

KEY_BYTES = 32
_PAD = 16
"""Texts are filled up to a multiple of it: the length of a record number says nothing."""


class Hidden:
    """Hides and shows texts under one key of 32 bytes that is not in the database."""

    def __init__(self, key: bytes) -> None:
        self._names = hashlib.sha256(b"twinward/vault/check/v1" + key).digest()
        self._cipher = AESSIV(hashlib.sha512(b"twinward/vault/siv/v1" + key).digest())

    @property
    def check(self) -> bytes:
        """What the database keeps to know its key again."""
        return hmac.digest(self._names, b"", hashlib.sha256)

    def hide(self, text: str, *where: bytes) -> bytes:
        """The one form of this text; with a place, the one that it has there and opens there."""
        data = text.encode()
        filled = data.ljust(-(-len(data) // _PAD) * _PAD or _PAD, b"\0")
        return self._cipher.encrypt(filled, list(where))

    def show(self, form: bytes, *where: bytes) -> str:
        """The text behind a form.

        Raises:
            ConsentError: TW8640, it was changed or moved, or hidden under another key.
        """
        try:
            return self._cipher.decrypt(form, list(where)).rstrip(b"\0").decode()
        except (InvalidTag, ValueError) as error:
            raise changed_outside() from error


def changed_outside() -> ConsentError:
    """The one error for a row that does not open."""
    return ConsentError(
        "a row of the consent database was changed from outside",
        code="TW8640",
        note="whom it is about does not open under this hospital's key",
        help="stop; restore the file from backup, then compare it with the ledger",
    )
