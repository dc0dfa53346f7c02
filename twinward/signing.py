"""Ed25519 identities and signed documents.

One identity key per organisation signs everything else it uses: TLS key, Flower key, ledger
account, plans, closings. A signature covers the kind of the document as well as its bytes
(pre-authentication encoding of DSSE, https://github.com/secure-systems-lab/dsse), so a signature
over one kind can never be presented as another.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from twinward import canonical
from twinward.errors import IdentityError, UsageError
from twinward.files import read_secret, write_secret
from twinward.ids import Fingerprint, is_hex32


def pre_authentication_encoding(kind: str, message: bytes) -> bytes:
    """The exact bytes that are signed for a message of this kind (DSSE v1)."""
    tag = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(tag), tag, len(message), message)


@dataclass(frozen=True, slots=True)
class PublicIdentity:
    """Someone's Ed25519 public key, 32 raw bytes."""

    raw: bytes

    @classmethod
    def from_hex(cls, text: str) -> PublicIdentity:
        """Parse 64 lower-case hex digits."""
        if not is_hex32(text):
            raise IdentityError(
                "an identity key must be 64 lower-case hex digits",
                code="TW2001",
                help="take the key from the signed founding file",
            )
        return cls(bytes.fromhex(text))

    @property
    def fingerprint(self) -> Fingerprint:
        """SHA-256 of the raw key, in hex."""
        return Fingerprint(hashlib.sha256(self.raw).hexdigest())

    def verify(self, kind: str, message: bytes, signature: bytes) -> None:
        """Accept only this identity's signature over exactly this kind and message.

        Raises:
            IdentityError: TW2002.
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(
                signature, pre_authentication_encoding(kind, message)
            )
        except (InvalidSignature, ValueError) as error:
            raise IdentityError(
                f"the signature over this `{kind}` is not by {self.fingerprint[:16]}",
                code="TW2002",
                help="reject it; ask the sender to sign it again with the identity you pinned",
            ) from error


class Identity:
    """An organisation's own Ed25519 key. The private part never leaves the object's owner."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicIdentity(
            key.public_key().public_bytes(
                serialization.Encoding.Raw, serialization.PublicFormat.Raw
            )
        )

    @classmethod
    def generate(cls) -> Identity:
        """A fresh key from the operating system's generator."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> Identity:
        """Read a key file; refuses one that other users could read.

        Raises:
            IdentityError: TW2003, unreadable, readable by others, or not an Ed25519 key.
        """
        try:
            key = serialization.load_pem_private_key(read_secret(path), password=None)
        except ValueError as error:
            raise IdentityError(
                "the identity key file cannot be read as a key",
                code="TW2003",
                at=str(path),
                help="restore it from backup, or make a new identity and be endorsed again",
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise IdentityError(
                "the identity key is not an Ed25519 key",
                code="TW2003",
                at=str(path),
                help="restore the key that `init` made",
            )
        return cls(key)

    def save(self, path: Path) -> None:
        """Write the private key, readable by its owner only; never overwrites."""
        write_secret(
            path,
            self._key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )

    def sign(self, kind: str, message: bytes) -> bytes:
        """64 bytes of Ed25519 (RFC 8032) over kind and message."""
        return self._key.sign(pre_authentication_encoding(kind, message))

    def sign_note(self, text: bytes) -> bytes:
        """64 bytes of Ed25519 over a C2SP note's text as it is, for logs and their witnesses.

        Such a text begins with the name of a log or of the kind of signature, so it can never be
        taken for the encoding that ``sign`` covers, nor the other way round.

        Raises:
            UsageError: TW3606, it begins like that encoding.
        """
        if text.startswith(b"DSSEv1"):
            raise UsageError(
                "this is not the text of a note",
                code="TW3606",
                help="sign documents as documents",
            )
        return self._key.sign(text)

    def derive(self, purpose: str) -> bytes:
        """32 secret bytes for one purpose, the same as long as the identity is (RFC 5869)."""
        seed = self._key.private_bytes_raw()
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(seed)


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON payload of a stated kind with the signatures it carries.

    On disk and on the wire it is canonical JSON:
    ``{"kind": ..., "payload": {...}, "signatures": [{"by": fingerprint, "signature": hex}]}``.
    A signature is over the canonical bytes of ``payload`` under ``kind``.
    """

    kind: str
    payload: Mapping[str, Any]
    signatures: tuple[tuple[Fingerprint, bytes], ...] = field(default=())

    @property
    def message(self) -> bytes:
        """The canonical bytes of the payload: what every signature covers."""
        return canonical.encode(dict(self.payload))

    @property
    def digest(self) -> bytes:
        """32 bytes that name this document whatever signatures it carries."""
        return hashlib.sha256(pre_authentication_encoding(self.kind, self.message)).digest()

    def signed_by(self, identity: Identity) -> Document:
        """The same document with this identity's signature added (or renewed)."""
        others = tuple(s for s in self.signatures if s[0] != identity.public.fingerprint)
        added = (identity.public.fingerprint, identity.sign(self.kind, self.message))
        return Document(self.kind, self.payload, tuple(sorted((*others, added))))

    def verify(self, signer: PublicIdentity) -> None:
        """Require a valid signature by this signer.

        Raises:
            IdentityError: TW2002 invalid, TW2004 absent.
        """
        for by, signature in self.signatures:
            if by == signer.fingerprint:
                signer.verify(self.kind, self.message, signature)
                return
        raise IdentityError(
            f"this `{self.kind}` is not signed by {signer.fingerprint[:16]}",
            code="TW2004",
            help="ask that organisation for its signature",
        )

    def encode(self) -> bytes:
        """Canonical JSON of the document with its signatures."""
        return canonical.encode(
            {
                "kind": self.kind,
                "payload": dict(self.payload),
                "signatures": [{"by": by, "signature": s.hex()} for by, s in self.signatures],
            }
        )

    @classmethod
    def decode(cls, data: bytes, *, kind: str, at: str = "document") -> Document:
        """Parse a document of the expected kind; checks its form, not its signatures.

        Raises:
            UsageError: TW1011 not canonical JSON, TW1012 not a document of this kind.
        """
        value = canonical.decode(data, at=at)
        try:
            found, payload = value["kind"], value["payload"]
            signatures = tuple(
                (Fingerprint(s["by"]), bytes.fromhex(s["signature"])) for s in value["signatures"]
            )
            well_formed = (
                set(value) == {"kind", "payload", "signatures"}
                and isinstance(payload, dict)
                and all(is_hex32(by) and len(s) == 64 for by, s in signatures)
                and len({by for by, _ in signatures}) == len(signatures)
            )
        except (TypeError, KeyError, ValueError, AttributeError):
            well_formed, found, payload, signatures = False, None, {}, ()
        if not well_formed or found != kind:
            raise UsageError(
                f"expected a signed `{kind}`",
                code="TW1012",
                at=at,
                note=f"found `{found}`" if isinstance(found, str) else None,
                help="check that this is the right file, unedited",
            )
        return cls(kind, payload, signatures)


def random_hex32() -> str:
    """32 bytes from the operating system's generator, in hex: run ids, salts, nonces."""
    return os.urandom(32).hex()
