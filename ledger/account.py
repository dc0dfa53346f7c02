"""Ledger accounts: a secp256k1 key and the address that Ethereum derives from it."""

from __future__ import annotations

from coincurve import PrivateKey
from eth_hash.auto import keccak


def new_key() -> bytes:
    """A fresh 32-byte private key from the operating system's generator."""
    return bytes(PrivateKey().secret)


def address_of(key: bytes) -> str:
    """The account's address, ``0x`` and 40 lower-case hex digits."""
    public = PrivateKey(key).public_key.format(compressed=False)
    return "0x" + bytes(keccak(public[1:])[-20:]).hex()
