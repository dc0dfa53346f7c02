"""Masks cancel for exactly the declared members, step and history, and for nothing else."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from twinward.errors import TrainingError, UsageError
from twinward.secsum import masks
from twinward.secsum.words import WordFormat

SETUP, HISTORY = b"S" * 32, b"H" * 32


def members(count):
    keys = {hashlib.sha256(bytes([i])).digest(): X25519PrivateKey.generate() for i in range(count)}
    return {
        own: {
            peer: masks.pair_key(private, masks.public_key(other), setup=SETUP, own=own, peer=peer)
            for peer, other in keys.items()
            if peer != own
        }
        for own, private in keys.items()
    }


GROUPS = {count: members(count) for count in (3, 4, 7)}


def masked(form, own, keys, vector, *, epoch=1, step=1, history=HISTORY):
    streams = masks.Masks(keys, own=own, epoch=epoch, step=step, history=history)
    pieces = []
    for words in form.pieces_of(vector):
        streams.add_to(words)
        pieces.append(words)
    return np.concatenate(pieces)


def added(vectors):
    return np.sum(vectors, axis=0, dtype=vectors[0].dtype)


@settings(max_examples=60, deadline=None)
@given(
    count=st.sampled_from(sorted(GROUPS)),
    bits=st.sampled_from([32, 64]),
    dimension=st.integers(1, 40),
    data=st.data(),
)
def test_the_sum_of_masked_vectors_is_exactly_the_sum_of_vectors(count, bits, dimension, data):
    form, limit = WordFormat(bits, dimension), 1 << (bits - 1 - 4)
    values = st.lists(st.integers(-limit, limit), min_size=dimension, max_size=dimension)
    vectors = [np.array(data.draw(values), dtype=np.int64) for _ in range(count)]
    group = GROUPS[count]
    sent = [
        masked(form, own, keys, vector)
        for (own, keys), vector in zip(group.items(), vectors, strict=True)
    ]
    total = form.from_bytes(added(sent).tobytes())
    expected = np.sum(vectors, axis=0)
    assert np.array_equal(form.to_integers(total, limit=limit * count), expected)


@settings(max_examples=30, deadline=None)
@given(
    bits=st.sampled_from([32, 64]),
    wrong=st.sampled_from(["missing", "epoch", "step", "history", "single"]),
)
def test_any_other_set_step_or_history_leaves_guard_words_that_are_not_zero(bits, wrong):
    form = WordFormat(bits, 3)
    zero = np.zeros(3, dtype=np.int64)
    odd = {"epoch": {"epoch": 2}, "step": {"step": 2}, "history": {"history": b"h" * 32}}
    group = list(GROUPS[4].items())
    sent = [masked(form, own, keys, zero) for own, keys in group[1:]]
    if wrong in odd:
        sent.append(masked(form, *group[0], zero, **odd[wrong]))
    if wrong == "single":
        sent = sent[:1]
    with pytest.raises(TrainingError) as refused:
        form.to_integers(added(sent), limit=1 << (bits - 2))
    assert refused.value.code == "TW6105"


def test_both_members_of_a_pair_derive_one_key_and_other_pairs_another():
    group = GROUPS[4]
    for own, keys in group.items():
        for peer, key in keys.items():
            assert group[peer][own] == key
    assert len({key for keys in group.values() for key in keys.values()}) == 6


def test_the_key_of_a_pair_hangs_on_the_set_up():
    one, two = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    keys = {
        masks.pair_key(one, masks.public_key(two), setup=setup, own=b"a" * 32, peer=b"b" * 32)
        for setup in (b"1" * 32, b"2" * 32)
    }
    assert len(keys) == 2


@given(st.integers(-(2**63), 2**63 - 1))
def test_words_of_64_bits_carry_every_integer_of_64_bits(value):
    form = WordFormat(64, 1)
    (words,) = form.pieces_of(np.array([value], dtype=np.int64))
    if value != -(2**63):
        assert form.to_integers(words, limit=2**63 - 1)[0] == value


@given(st.integers(2**31, 2**62), st.sampled_from([1, -1]))
def test_integers_that_do_not_fit_are_refused_before_they_wrap(value, sign):
    with pytest.raises(TrainingError) as refused:
        list(WordFormat(32, 1).pieces_of(np.array([sign * value - (sign < 0)], dtype=np.int64)))
    assert refused.value.code == "TW6103"


@pytest.mark.parametrize(
    "vector", [np.zeros(2, dtype=np.int64), np.zeros(3), np.zeros((3, 1), dtype=np.int64)]
)
def test_a_contribution_of_another_shape_or_type_is_refused(vector):
    with pytest.raises(TrainingError) as refused:
        list(WordFormat(64, 3).pieces_of(vector))
    assert refused.value.code == "TW6103"


@pytest.mark.parametrize("size", [0, 39, 41, 48])
def test_bytes_of_another_length_are_refused(size):
    with pytest.raises(TrainingError) as refused:
        WordFormat(64, 3).from_bytes(bytes(size))
    assert refused.value.code == "TW6104"


@pytest.mark.parametrize(("bits", "dimension"), [(16, 3), (64, 0), (64, -1), (64, 2**27 + 1)])
def test_sizes_that_cannot_be_carried_are_refused(bits, dimension):
    with pytest.raises(UsageError) as refused:
        WordFormat(bits, dimension)
    assert refused.value.code == "TW6102"
