import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward import canonical
from twinward.errors import UsageError

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


def test_the_example_of_rfc_8785_comes_out_to_the_byte():
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": '€$\u000f\nA\'B"\\\\"/',
        "literals": [None, True, False],
    }
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical.encode(value) == expected.encode()


@given(json_values)
def test_what_was_encoded_decodes_to_the_same_value_and_encodes_to_the_same_bytes(value):
    data = canonical.encode(value)
    assert canonical.encode(canonical.decode(data)) == data


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":1.0}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":1}\n',
        b"[" * 5000,
        b"\xff",
        b"",
    ],
)
def test_any_other_spelling_is_refused(data):
    with pytest.raises(UsageError) as refused:
        canonical.decode(data)
    assert refused.value.code == "TW1011"


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53, {1: 2}, b"bytes", {"a": {1, 2}}])
def test_a_value_without_canonical_form_is_refused(value):
    with pytest.raises(UsageError) as refused:
        canonical.encode(value)
    assert refused.value.code == "TW1010"


def test_moving_a_byte_between_two_hashed_parts_changes_the_hash():
    assert canonical.tagged_hash("t", b"ab", b"c") != canonical.tagged_hash("t", b"a", b"bc")
    assert canonical.tagged_hash("t", b"") != canonical.tagged_hash("t")
    assert canonical.tagged_hash("t", b"a") != canonical.tagged_hash("u", b"a")
