"""An invitation as text: where to go, whom to believe there, and a secret that works once.

``twj1/HOST:PORT/FINGERPRINT/SECRET``: SHA-256 of the network's CA certificate (DER) and 32 random
bytes, both in URL-safe base64. The secret is shown once; the coordinator keeps its hash.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from dataclasses import dataclass, field

from twinward.canonical import tagged_hash
from twinward.errors import UsageError

_FORM = "twj1"


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A token; ``repr`` does not show the secret."""

    address: str
    authority: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def fresh(cls, *, address: str, certificate_der: bytes) -> JoinToken:
        """A new secret for this coordinator's CA."""
        return cls(address, hashlib.sha256(certificate_der).digest(), os.urandom(32))

    @classmethod
    def parse(cls, text: str) -> JoinToken:
        """Read what ``text`` wrote, with the white space of a letter around it.

        Raises:
            UsageError: TW6015; the token is not repeated in the message.
        """
        parts = text.strip().split("/")
        try:
            form, address, authority, secret = parts
            token = cls(address, _bytes(authority), _bytes(secret))
        except (ValueError, binascii.Error):
            raise _malformed() from None
        host, colon, port = address.rpartition(":")
        if form != _FORM or not (host and colon and port.isdigit() and token.text == text.strip()):
            raise _malformed()
        return token

    @property
    def text(self) -> str:
        """The token as it is handed over."""
        return f"{_FORM}/{self.address}/{_text(self.authority)}/{_text(self.secret)}"

    @property
    def hash(self) -> bytes:
        """What the coordinator keeps of the secret."""
        return hash_of(self.secret)


def hash_of(secret: bytes) -> bytes:
    """32 bytes from which the secret cannot be found."""
    return tagged_hash("join-token/v1", secret)


def spelled(fingerprint: bytes) -> str:
    """A fingerprint as people compare it by phone: hex in groups of four."""
    digits = fingerprint.hex()
    return " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def _bytes(text: str) -> bytes:
    value = base64.urlsafe_b64decode(text + "=")
    if len(value) != 32:
        raise ValueError(len(value))
    return value


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _malformed() -> UsageError:
    return UsageError(
        "this is not a join token, or a part of it is missing",
        code="TW6015",
        help="copy the whole line that `twinward server invite` printed, from `twj1/` to its end",
    )
