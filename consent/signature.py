"""Ethereum signatures by a patient's key: Keccak-256, secp256k1, 65 bytes ``r || s || v``.

Built on libsecp256k1 (coincurve) and eth-hash; signatures are deterministic (RFC 6979) and
byte-identical to those of eth-account. Nothing here is our own cryptography.
"""

from __future__ import annotations

from coincurve import PrivateKey, PublicKey
from eth_hash.auto import keccak as _keccak

from twinward.errors import ConsentError

ADDRESS_BYTES = 20
SIGNATURE_BYTES = 65
NO_ADDRESS = bytes(ADDRESS_BYTES)

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_HIGHEST_S = _ORDER // 2
_V_OFFSET = 27


def keccak(data: bytes) -> bytes:
    """Keccak-256 as Ethereum uses it (not SHA3-256): 32 bytes."""
    return bytes(_keccak(data))


def new_key() -> bytes:
    """A fresh secp256k1 private key, 32 bytes from the operating system's generator."""
    return bytes(PrivateKey().secret)


def address_of(key: bytes) -> bytes:
    """The 20-byte account that belongs to a private key."""
    return _address(PrivateKey(key).public_key)


def sign(key: bytes, digest: bytes) -> bytes:
    """65 bytes ``r || s || v`` over a 32-byte digest; ``s`` is low, ``v`` is 27 or 28."""
    raw = PrivateKey(key).sign_recoverable(digest, hasher=None)
    return bytes(raw[:64]) + bytes([raw[64] + _V_OFFSET])


def recover(digest: bytes, signature: bytes) -> bytes:
    """The 20-byte account whose key made this signature over this digest.

    Only one spelling of a signature is accepted, as by the contract: 65 bytes, ``v`` of 27 or 28,
    ``s`` in the lower half of the order (EIP-2).

    Raises:
        ConsentError: TW3002, not a signature in that form.
    """
    form = len(signature) == SIGNATURE_BYTES and signature[64] in (_V_OFFSET, _V_OFFSET + 1)
    if not form or not 0 < int.from_bytes(signature[32:64]) <= _HIGHEST_S:
        raise _not_a_signature()
    try:
        key = PublicKey.from_signature_and_message(
            signature[:64] + bytes([signature[64] - _V_OFFSET]), digest, hasher=None
        )
    except Exception as error:  # coincurve raises bare Exception for r or s out of range
        raise _not_a_signature() from error
    return _address(key)


def _address(key: PublicKey) -> bytes:
    return keccak(key.format(compressed=False)[1:])[-ADDRESS_BYTES:]


def _not_a_signature() -> ConsentError:
    return ConsentError(
        "the signature is malformed",
        code="TW3002",
        note="65 bytes with v of 27 or 28 and a low s are required",
        help="sign again with the patient's own device",
    )
