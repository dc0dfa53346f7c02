"""The bytes on the wire, frozen: evidence packs of today must verify for years."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.errors import IdentityError, TrainingError
from twinward.secsum import messages, transcript
from twinward.secsum.messages import Head, Kind, Masked, Signed, Sum
from twinward.signing import Identity

HEADS = {kind: getattr(messages, kind.name.capitalize()) for kind in Kind if kind is not Kind.DATA}
SIZES = {
    Kind.HELLO: 144,
    Kind.OFFER: 164,
    Kind.ADVERTISE: 204,
    Kind.ROSTER: 140,
    Kind.MASKED: 240,
    Kind.SUM: 212,
    Kind.ABORT: 116,
    Kind.CLOSE: 212,
}


def example(kind, fill=1):
    """A head whose every field differs from the others."""
    values = {
        field.name: bytes([fill + i]) * 32 if field.type == "bytes" else fill + i
        for i, field in enumerate(fields(HEADS[kind]))
    }
    return HEADS[kind](**values)


@pytest.mark.parametrize("kind", HEADS)
def test_every_head_has_its_fixed_length_and_begins_with_magic_and_kind(kind):
    data = example(kind).encode()
    assert len(data) == SIZES[kind]
    assert data[:8] == b"TWSUMA\x01" + bytes([kind])
    assert HEADS[kind].decode(data) == example(kind)


def test_a_masked_head_is_these_bytes():
    head = example(Kind.MASKED)
    by_hand = struct.pack(
        "<7sB32s32sI32s32s32s32s32sI",
        b"TWSUMA\x01", 5, head.run, head.plan, head.epoch, head.sender, head.setup,
        head.history, head.consent, head.vector, head.step,
    )  # fmt: skip
    assert head.encode() == by_hand
    digest = hashlib.sha256(by_hand).hexdigest()
    assert digest == "92858c5ed512e4d7e862bbbf75b6a100713a52de5d0aa4acd219d01df1c4c2d4"


def test_a_sum_head_is_these_bytes():
    head = example(Kind.SUM)
    by_hand = struct.pack(
        "<7sB32s32sI32s32s32s32sII",
        b"TWSUMA\x01", 6, head.run, head.plan, head.epoch, head.setup, head.history,
        head.total, head.heads, head.step, head.then,
    )  # fmt: skip
    assert head.encode() == by_hand


def test_the_running_history_is_these_bytes():
    run, plan = b"r" * 32, b"p" * 32
    start = transcript.history_start(run, plan)
    one = transcript.history_next(
        start, epoch=2, step=1, members=[b"b" * 32, b"a" * 32], total=b"S" * 32
    )

    def tagged(tag, *parts):
        data = b""
        for part in (f"twinward/secsum-a/{tag}/v1".encode(), *parts):
            data += struct.pack("<Q", len(part)) + part
        return hashlib.sha256(data).digest()

    assert start == tagged("start", run, plan)
    members = b"a" * 32 + b"b" * 32
    parts = (struct.pack("<I", 2), struct.pack("<I", 1), members, b"S" * 32)
    assert one == tagged("step", start, *parts)


@pytest.mark.parametrize("kind", HEADS)
@given(data=st.data())
def test_bytes_of_any_other_length_or_kind_are_refused(kind, data):
    good = example(kind).encode()
    bad = data.draw(
        st.one_of(
            st.binary(max_size=300).filter(lambda b: b[:8] != good[:8]),
            st.integers(0, len(good) - 1).map(lambda n: good[:n]),
            st.binary(min_size=1, max_size=5).map(lambda b: good + b),
        )
    )
    with pytest.raises(TrainingError) as refused:
        HEADS[kind].decode(bad)
    assert refused.value.code == "TW6101"


@given(where=st.integers(0, 240 + 63), bit=st.integers(0, 7))
def test_no_bit_of_a_signed_head_can_be_changed(where, bit):
    blob = bytearray(SIGNED.blob)
    blob[where] ^= 1 << bit
    with pytest.raises(IdentityError):
        Signed.of_blob(bytes(blob)).opened(Masked, SIGNER.public)


def test_a_signature_for_one_kind_is_not_one_for_another():
    head = example(Kind.MASKED).encode()
    borrowed = Signed(head, SIGNER.sign(Kind.SUM.signed_as, head))
    with pytest.raises(IdentityError):
        borrowed.opened(Masked, SIGNER.public)
    with pytest.raises(TrainingError):
        Signed(head, SIGNER.sign(Kind.SUM.signed_as, head)).opened(Sum, SIGNER.public)


def test_a_field_of_another_length_is_not_padded_silently():
    with pytest.raises(ValueError, match="32 bytes"):
        Head.encode(
            example(Kind.ABORT).__class__(
                run=b"short", plan=b"p" * 32, epoch=1, missing=b"m" * 32, step=1, reason=1
            )
        )


SIGNER = Identity.generate()
SIGNED = Signed.by(SIGNER, example(Kind.MASKED))
