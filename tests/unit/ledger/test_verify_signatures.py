"""The verifier's own Ed25519 against published vectors, OpenSSL and the known ways to cheat."""

import hashlib
import os

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.verify import ed25519_verify

# RFC 8032, section 7.1: public key, message, signature.
PUBLISHED = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        b"",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e397"  # noqa: ISC004 - one signature
        "01cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        bytes.fromhex("72"),
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f361"  # noqa: ISC004 - one signature
        "3d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        bytes.fromhex("af82"),
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f76"  # noqa: ISC004 - one signature
        "0984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").digest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c"  # noqa: ISC004 - one signature
        "66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]
ORDER = 2**252 + 27742317777372353535851937790883648493
PRIME = 2**255 - 19


@pytest.mark.parametrize(("key", "message", "signature"), PUBLISHED)
def test_the_published_vectors_verify(key, message, signature):
    assert ed25519_verify(bytes.fromhex(key), message, bytes.fromhex(signature))


def test_it_agrees_with_openssl_on_fresh_keys_and_refuses_every_flipped_bit():
    for size in (0, 1, 64, 300):
        private = Ed25519PrivateKey.generate()
        key, message = private.public_key().public_bytes_raw(), os.urandom(size)
        signature = private.sign(message)
        assert ed25519_verify(key, message, signature)
        for bit in range(0, 512, 3):
            changed = bytearray(signature)
            changed[bit // 8] ^= 1 << bit % 8
            assert not ed25519_verify(key, message, bytes(changed))
        assert not ed25519_verify(key, message + b"x", signature)


def test_a_malleated_signature_is_refused():
    private = Ed25519PrivateKey.generate()
    signature = private.sign(b"one signature")
    scalar = int.from_bytes(signature[32:], "little") + ORDER
    malleated = signature[:32] + scalar.to_bytes(32, "little")
    assert not ed25519_verify(private.public_key().public_bytes_raw(), b"one signature", malleated)


@pytest.mark.parametrize(
    "key",
    [
        (1).to_bytes(32, "little"),  # the neutral element
        (PRIME - 1).to_bytes(32, "little"),  # order 2
        bytes(32),  # order 4
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),  # 8
    ],
)
def test_a_key_of_small_order_signs_nothing(key):
    # With the neutral element as key, R = neutral and S = 0 satisfy the bare equation always.
    neutral = (1).to_bytes(32, "little")
    assert not ed25519_verify(key, b"anything", neutral + bytes(32))


@pytest.mark.parametrize(
    "key",
    [
        (PRIME + 1).to_bytes(32, "little"),  # another spelling of the neutral element
        (PRIME + 4).to_bytes(32, "little"),
        b"\xff" * 32,
        (2).to_bytes(32, "little"),  # not on the curve
        (1 | 1 << 255).to_bytes(32, "little"),  # minus zero
        b"short",
    ],
)
def test_a_key_that_is_no_canonical_point_is_refused(key):
    assert not ed25519_verify(key, b"m", bytes(64))


def test_signatures_of_the_wrong_length_are_refused():
    private = Ed25519PrivateKey.generate()
    key, signature = private.public_key().public_bytes_raw(), private.sign(b"m")
    assert not ed25519_verify(key, b"m", signature[:-1])
    assert not ed25519_verify(key, b"m", signature + b"\0")
