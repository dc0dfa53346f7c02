"""What a patient left out is nowhere in what is read of them."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from consent.policy import Decision, Rule
from consent.study import OptionalCategory
from hospital_node.shares import ALL, NOTHING, mask_of, readable, share_of
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
    mask = mask_of(np.array([NOTHING, ALL, ALL + 3], np.uint8))
    assert mask.tolist() == [False, True, True]
    assert not mask.flags.writeable
