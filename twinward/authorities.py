"""Which certificate authorities members trust, as the coordinator states it; two in a roll-over.

TLS only says which wire leads to whom. Who is a member is signed by the hospitals.
"""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from twinward.errors import IdentityError
from twinward.founding import Founding
from twinward.signing import Document, Identity

KIND = "twinward/authorities/v1"

_RENEW_AT = 2 / 3
"""Of a certificate's life: sixty of ninety days, so that a month of silence does no harm."""


def statement(pem: bytes, *, network: str, identity: Identity) -> Document:
    """The authorities in this file, signed by the coordinator.

    Args:
        pem: One or more certificates, the one that signs first.
        network: The genesis hash in hex.
        identity: The coordinator's.
    """
    payload = {"network": network, "certificates": pem.decode()}
    return Document(KIND, payload).signed_by(identity)


def read(document: Document, founding: Founding) -> bytes:
    """The authorities as a PEM file, if this network's coordinator stated them.

    Raises:
        IdentityError: TW2002, TW2004 not signed by it; TW6030 of another network, or unreadable.
    """
    document.verify(founding.coordinator.identity)
    try:
        pem = str(document.payload["certificates"]).encode()
        certificates = x509.load_pem_x509_certificates(pem)
        network = document.payload["network"]
    except (KeyError, ValueError) as error:
        raise _unfit() from error
    if network != founding.chain["genesis_hash"] or not certificates:
        raise _unfit()
    return pem


def is_due(certificate: bytes, *, now: float) -> bool:
    """Whether two thirds of a certificate's life are over: time to renew it."""
    leaf = x509.load_pem_x509_certificate(certificate)
    begin, end = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    return now > begin + _RENEW_AT * (end - begin)


def digests(pem: bytes) -> list[bytes]:
    """SHA-256 of each certificate (DER) in a PEM file."""
    return [
        hashlib.sha256(one.public_bytes(serialization.Encoding.DER)).digest()
        for one in x509.load_pem_x509_certificates(pem)
    ]


def _unfit() -> IdentityError:
    return IdentityError(
        "the coordinator's statement of its certificate authorities does not fit this network",
        code="TW6030",
        help="nothing was changed; tell the coordinator",
    )
