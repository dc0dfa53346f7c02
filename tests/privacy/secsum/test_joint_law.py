"""What an adversary's whole view says: the sum of the honest members, nothing else. Exhaustive.

Uniform marginals would prove nothing (broken protocols have them too), so *joint* laws are
compared: how often each view occurs over all masks, for inputs with equal sums and for others.
Masks are added by the product's own code, which takes every choice of masks as one coordinate of
an array; words are bytes, read modulo 2^4 to 2^8. Two broken protocols at the end show that the
comparison can fail.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from twinward.secsum.masks import add_masks

NAMES = [bytes([i]) * 32 for i in range(5)]


def pairs(members):
    return list(combinations(range(members), 2))


def every(modulus, count):
    """All values of this many masks, each along an axis of its own."""
    values = np.arange(modulus, dtype=np.uint8)
    return [values.reshape([modulus if i == axis else 1 for i in range(count)])
            for axis in range(count)]  # fmt: skip


def messages(inputs, masks, modulus):
    """What every member sends, for all choices of the masks at once."""
    shape = np.broadcast_shapes(*(mask.shape for mask in masks.values()))
    sent = []
    for own, value in enumerate(inputs):
        words = np.full(shape, value, dtype=np.uint8)
        mine = [
            (NAMES[(set(pair) - {own}).pop()], mask) for pair, mask in masks.items() if own in pair
        ]
        add_masks(words, mine, own=NAMES[own])
        sent.append(words & np.uint8(modulus - 1))
    return sent


def law(parts, modulus):
    """How often each combination of these values occurs."""
    bits = modulus.bit_length() - 1
    index = np.zeros(np.broadcast_shapes(*(part.shape for part in parts)), dtype=np.int64)
    for part in parts:
        index <<= bits
        index |= part
    return np.bincount(index.reshape(-1), minlength=modulus ** len(parts))


def same(one, other):
    return np.array_equal(one, other)


def never_coincide(one, other):
    return not np.any((one > 0) & (other > 0))


def full_law(inputs, modulus, *, shown=None):
    """The law of all messages (or of those shown) over all masks of all pairs."""
    drawn = dict(zip(pairs(len(inputs)), every(modulus, len(pairs(len(inputs)))), strict=True))
    sent = messages(inputs, drawn, modulus)
    return law([sent[i] for i in (range(len(inputs)) if shown is None else shown)], modulus)


@pytest.mark.parametrize("modulus", [16, 32, 64, 128, 256])
def test_three_members_every_mask(modulus):
    ours = full_law((1, 3, 5), modulus)
    assert same(ours, full_law((modulus - 1, 0, 10), modulus))
    assert never_coincide(ours, full_law((1, 3, 6), modulus))
    assert set(np.unique(ours)) == {0, modulus}
    assert np.count_nonzero(ours) == modulus**2


def test_four_members_every_mask():
    ours = full_law((1, 3, 5, 7), 16)
    assert same(ours, full_law((15, 0, 4, 13), 16))
    assert never_coincide(ours, full_law((1, 3, 5, 8), 16))


@pytest.mark.parametrize(
    ("members", "modulus"), [(4, 32), (4, 64), (4, 128), (4, 256), (5, 16), (5, 32), (5, 64)]
)
def test_whatever_the_others_masks_are_those_with_one_member_hide_everything(members, modulus):
    """Enumerates all masks with the last member, for fixed masks between the others.

    The law given the others' masks never depends on them or on the inputs but through the sum;
    averaging over them gives the law of the whole view.
    """
    star = dict(
        zip(
            [(i, members - 1) for i in range(members - 1)], every(modulus, members - 1), strict=True
        )
    )
    rng = np.random.default_rng(members * modulus)
    inputs = rng.integers(0, modulus, members).tolist()
    moved = list(inputs)
    moved[0], moved[1] = (inputs[0] + 5) % modulus, (inputs[1] - 5) % modulus
    for values in (inputs, moved):
        fixed = {
            pair: rng.integers(0, modulus, 1).astype(np.uint8)
            for pair in pairs(members)
            if pair not in star
        }
        sent = messages(values, {**star, **fixed}, modulus)
        # All but the last message: every value exactly once. The last one follows from the sum.
        assert np.all(law(sent[:-1], modulus) == 1)
        total = np.sum(sent, axis=0, dtype=np.uint8) & (modulus - 1)
        assert np.all(total == sum(inputs) % modulus)


@pytest.mark.parametrize("modulus", [16, 32, 64, 128, 256])
def test_each_mask_is_a_bijection_of_words_so_five_members_hide_at_any_modulus(modulus):
    """The step that makes the law of K members the product of K - 1 uniform ones, for all values.

    For every word that a member holds so far, adding or subtracting a mask that runs over all
    values gives every word once, and what one side adds the other takes away.
    """
    words, mask = np.broadcast_arrays(*every(modulus, 2))
    up, down = words.copy(), words.copy()
    add_masks(up, [(NAMES[1], mask)], own=NAMES[0])
    add_masks(down, [(NAMES[0], mask)], own=NAMES[1])
    for result in (up & (modulus - 1), down & (modulus - 1)):
        assert np.all(law([words, result], modulus) == 1)
    assert np.all((up + down - 2 * words) & (modulus - 1) == 0)


@pytest.mark.parametrize("colluder", [0, 3])
def test_coordinator_with_a_colluder_of_four(colluder):
    """The view: every message, and every mask that the colluder shares."""

    def view(inputs):
        drawn = dict(zip(pairs(4), every(16, 6), strict=True))
        sent = messages(inputs, drawn, 16)
        honest = [sent[i] for i in range(4) if i != colluder]
        return law(honest + [mask for pair, mask in drawn.items() if colluder in pair], 16)

    inputs = [1, 3, 5, 7]
    one, two = [i for i in range(4) if i != colluder][:2]
    equal, unequal = list(inputs), list(inputs)
    equal[one], equal[two] = inputs[one] + 6, inputs[two] - 6 + 16
    unequal[one] += 1
    ours = view(inputs)
    assert same(ours, view(equal))
    assert never_coincide(ours, view(unequal))


@pytest.mark.parametrize("modulus", [16, 64, 256])
def test_coordinator_with_two_colluders_of_five(modulus):
    """Given all that the colluders know, the three honest members' masks are enumerated."""
    rng = np.random.default_rng(modulus)
    inner = dict(zip(pairs(3), every(modulus, 3), strict=True))

    def view(inputs, known):
        return law(messages(inputs, {**inner, **known}, modulus)[:3], modulus)

    for _ in range(1 if modulus == 256 else 3):
        known = {
            pair: rng.integers(0, modulus, 1).astype(np.uint8)
            for pair in pairs(5)
            if pair not in inner
        }
        ours = view((1, 3, 5, 7, 9), known)
        assert same(ours, view((0, 9, 0, 7, 9), known))
        assert never_coincide(ours, view((1, 3, 6, 7, 9), known))
        assert never_coincide(ours, view((1, 3, 5, 7, 9), {**known, (0, 3): known[0, 3] + 1}))


@pytest.mark.parametrize(("members", "modulus"), [(3, 256), (4, 16)])
def test_an_attempt_that_died_says_nothing_at_all(members, modulus):
    """One message is missing: the others have the same law whatever anybody's input was."""
    for missing in (0, members - 1):
        shown = [i for i in range(members) if i != missing]
        laws = [
            full_law(inputs, modulus, shown=shown)
            for inputs in ([1, 3, 5, 7][:members], [9, 9, 2, 4][:members])
        ]
        assert same(*laws)
        assert len(np.unique(laws[0])) == 1


def two_attempts(first, second, *, reuse):
    """The view of an attempt that lost member 2 after it was asked, and of the next one."""
    drawn = every(16, 3 if reuse else 6)
    before = messages(first, dict(zip(pairs(3), drawn[:3], strict=True)), 16)
    after = messages(second, dict(zip(pairs(3), drawn[-3:], strict=True)), 16)
    return law([*before[:2], *after], 16)


def test_two_attempts_say_the_sum_of_the_one_that_was_completed():
    ours = two_attempts((1, 3, 5), (2, 6, 4), reuse=False)
    assert same(ours, two_attempts((8, 8, 8), (6, 2, 4), reuse=False))
    assert never_coincide(ours, two_attempts((1, 3, 5), (2, 6, 5), reuse=False))


def test_the_comparison_catches_masks_that_serve_twice():
    """Broken on purpose: keys set up once, the same masks in the next attempt."""
    ours = two_attempts((1, 3, 5), (2, 6, 4), reuse=True)
    assert never_coincide(ours, two_attempts((8, 8, 8), (6, 2, 4), reuse=True))


def test_the_comparison_catches_recovery_that_opens_the_past():
    """Broken on purpose: a dropped member's masks are rebuilt for the coordinator afterwards."""

    def view(inputs):
        drawn = dict(zip(pairs(3), every(16, 3), strict=True))
        opened = [drawn[0, 2], drawn[1, 2]]
        return law([*messages(inputs, drawn, 16), *opened], 16)

    assert never_coincide(view((1, 3, 5)), view((1, 4, 4)))
    assert same(view((1, 3, 5)), view((2, 2, 5)))  # the other two still hide in one another
