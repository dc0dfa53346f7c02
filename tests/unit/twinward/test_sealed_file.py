"""A sealed file opens with its passphrase or key alone, whole, and not after any change."""

import io

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from twinward import canonical, sealed_file
from twinward.errors import EvidenceError, IdentityError, UsageError
from twinward.sealed_file import Passphrase, PrivateKey, Recipient, Sealer, Unsealer

WORDS = Passphrase(b"correct horse battery staple")
ABOUT = {"what": "records", "org": "basel"}


KEY = X25519PrivateKey.generate()
MINE, FOR_ME = PrivateKey(KEY), Recipient(KEY.public_key())


def sealed(content, lock=WORDS):
    file = io.BytesIO()
    sealer = Sealer(file, about=ABOUT, lock=lock)
    for start in range(0, len(content), 100_000):
        sealer.write(content[start : start + 100_000])
    sealer.finish()
    return file.getvalue()


def opened(data, size, opener=WORDS):
    unsealer = Unsealer(io.BytesIO(data), opener=opener)
    content = unsealer.read(size)
    unsealer.finish()
    return content


@pytest.mark.parametrize("size", [0, 1, 1 << 18, (1 << 18) + 1, 700_001])
def test_what_was_sealed_comes_back(size):
    content = bytes(range(256)) * (size // 256 + 1)
    assert opened(sealed(content[:size]), size) == content[:size]


def test_only_the_recipient_opens_it():
    key = X25519PrivateKey.generate()
    data = sealed(b"of patients", Recipient(key.public_key()))
    assert opened(data, 11, PrivateKey(key)) == b"of patients"
    for other in (PrivateKey(X25519PrivateKey.generate()), WORDS):
        with pytest.raises(IdentityError) as refusal:
            opened(data, 11, other)
        assert refusal.value.code == "TW7403"


def test_another_passphrase_opens_nothing():
    with pytest.raises(IdentityError) as refusal:
        opened(sealed(b"x"), 1, Passphrase(b"correct horse battery stable"))
    assert refusal.value.code == "TW7403"


def test_every_changed_byte_and_every_cut_is_noticed():
    data = sealed(b"secret" * 10, FOR_ME)
    body = data.index(b"\n") + 1
    for place in range(body, len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(EvidenceError) as refusal:
            opened(changed, 60, MINE)
        assert refusal.value.code == "TW7402"
    for length in (body, body + 1, len(data) - 1):
        with pytest.raises(EvidenceError):
            opened(data[:length], 60, MINE)
    with pytest.raises(EvidenceError):
        opened(data + b"\0", 60, MINE)


def test_whole_chunks_cannot_be_cut_swapped_or_repeated():
    chunk = (1 << 18) + 16
    data = sealed(bytes(3 * (1 << 18)), FOR_ME)
    body = data.index(b"\n") + 1
    head, rest = data[:body], data[body:]
    parts = [rest[start : start + chunk] for start in range(0, len(rest), chunk)]
    for wrong in (parts[:-1], parts[::-1], [parts[0], *parts], parts[1:]):
        with pytest.raises(EvidenceError):
            opened(head + b"".join(wrong), 3 * (1 << 18), MINE)


def test_a_head_that_was_rewritten_opens_nothing():
    data = sealed(b"x")
    head, body = data.split(b"\n", 1)
    fields = canonical.decode(head)
    assert sealed_file.about(io.BytesIO(data)) == ABOUT
    fields["about"]["org"] = "bern"
    with pytest.raises(EvidenceError) as refusal:
        opened(canonical.encode(fields) + b"\n" + body, 1)
    assert refusal.value.code == "TW7402"


def test_a_lock_cannot_ask_for_all_memory():
    head, body = sealed(b"x").split(b"\n", 1)
    fields = canonical.decode(head)
    fields["lock"]["memory_kib"] = 1 << 30
    with pytest.raises(UsageError) as refusal:
        opened(canonical.encode(fields) + b"\n" + body, 1)
    assert refusal.value.code == "TW7401"


@pytest.mark.parametrize("data", [b"", b"PK\3\4", b"{}\n", b'{"format":"twinward/sealed/v2"}\n'])
def test_other_files_and_newer_forms_are_refused(data):
    with pytest.raises(UsageError) as refusal:
        opened(data, 1)
    assert refusal.value.code == "TW7401"


def test_short_passphrases_are_refused_and_none_is_ever_shown():
    with pytest.raises(UsageError) as refusal:
        Passphrase(b"hospital123")
    assert refusal.value.code == "TW7405"
    assert "horse" not in repr(WORDS)
