"""What all masked vectors together say: exactly their sum. Exhaustive over every mask, modulus 16.

Uniform marginals would prove nothing (broken protocols have them too), so the joint law of the
whole view is compared. Masks are added by the product's own code on bytes, read modulo 16.
"""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest

from twinward.secsum.masks import add_masks

MODULUS = 16
A, B, C = b"a" * 32, b"b" * 32, b"c" * 32
PAIRS = ((A, B), (A, C), (B, C))


def view(inputs, masks):
    """All three messages for one choice of the three pair masks."""
    stream = dict(zip(PAIRS, masks, strict=True))
    messages = []
    for own, value in zip((A, B, C), inputs, strict=True):
        mine = {
            (set(pair) - {own}).pop(): bytes([mask]) for pair, mask in stream.items() if own in pair
        }
        (word,) = add_masks(np.array([value], dtype=np.uint8), mine, own=own)
        messages.append(int(word) % MODULUS)
    return tuple(messages)


def law(inputs):
    """How often each view occurs over all 16^3 masks."""
    return Counter(view(inputs, masks) for masks in product(range(MODULUS), repeat=3))


@pytest.mark.parametrize("other", [(0, 0, 9), (9, 0, 0), (15, 15, 11), (4, 4, 1)])
def test_views_of_inputs_with_equal_sums_have_the_same_joint_law(other):
    assert law((1, 3, 5)) == law(other)


def test_views_of_inputs_with_different_sums_never_coincide():
    assert not law((1, 3, 5)).keys() & law((1, 3, 6)).keys()


def test_every_view_adds_up_to_the_sum_and_is_equally_likely():
    counts = law((1, 3, 5))
    assert {sum(messages) % MODULUS for messages in counts} == {9}
    assert set(counts.values()) == {MODULUS}
    assert len(counts) == MODULUS**2


def test_a_member_who_knows_its_own_masks_learns_only_the_sum_of_the_others():
    """The coordinator with one colluder: given C's two masks, A and B hide in one another."""

    def given(inputs, ac, bc):
        return Counter(view(inputs, (ab, ac, bc)) for ab in range(MODULUS))

    for ac, bc in product(range(0, MODULUS, 5), repeat=2):
        assert given((1, 3, 5), ac, bc) == given((2, 2, 5), ac, bc)
        assert not given((1, 3, 5), ac, bc).keys() & given((2, 3, 5), ac, bc).keys()
