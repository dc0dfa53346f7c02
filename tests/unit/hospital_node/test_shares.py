"""What a patient left out is nowhere in what is read of them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.policy import Decision, Rule
from consent.study import OptionalCategory
from hospital_node.shares import ALL, NOTHING, Permitted, readable, share_of
from tests.simulators.consent.world import STUDY

TWO = replace(
    STUDY,
    categories=("age", "blood", "heart"),
    optional=(OptionalCategory("blood", ("chol", "fbs")), OptionalCategory("heart", ("thalach",))),
)
NAMES = ("age", "chol", "fbs", "thalach")


@given(st.lists(st.sampled_from([NOTHING, ALL, ALL + 1, ALL + 2, ALL + 3]), max_size=8))
def test_exactly_what_was_left_out_is_missing(shares):
    shares = np.array(shares, np.uint8)
    rows = np.arange(len(shares))[::-1].copy()
    columns = {name: 1.0 + np.arange(len(shares)) + 100 * n for n, name in enumerate(NAMES)}
    before = {name: values.copy() for name, values in columns.items()}
    found = readable(columns, TWO, rows=rows, shares=shares[rows])
    for name in NAMES:
        assert np.array_equal(columns[name], before[name])
        for place, row in enumerate(rows):
            bits = max(int(shares[row]) - ALL, 0)
            gone = name in {c for one in TWO.left_out(bits) for c in one.columns}
            assert np.isnan(found[name][place]) if gone else found[name][place] == before[name][row]


def test_a_share_is_what_was_decided():
    assert share_of(Decision(permit=False, rule=Rule.EXPIRED)) == NOTHING
    assert share_of(Decision(permit=True, rule=Rule.GRANTED)) == ALL
    assert share_of(Decision(permit=True, rule=Rule.GRANTED_IN_PART, withheld=3)) == ALL + 3


def test_shares_and_mask_are_of_one_moment_and_nobody_changes_them():
    before = Permitted.of(np.array([NOTHING, ALL, ALL + 3], np.uint8))
    after = before.changed({0: ALL + 1, 1: NOTHING, 2: ALL + 3})
    assert (before.mask.tolist(), before.shares.tolist()) == ([False, True, True], [0, 1, 4])
    assert (after.mask.tolist(), after.shares.tolist()) == ([True, False, True], [2, 0, 4])
    assert before.changed({0: NOTHING, 2: ALL + 3}) is before
    for array in (before.mask, before.shares, after.mask, after.shares):
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
