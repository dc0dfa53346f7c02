"""A study's description: what is optional is well formed, or the description is refused."""

from dataclasses import replace

import pytest

from consent.study import MOST_OPTIONAL, OptionalCategory, Study
from tests.simulators.consent.world import HOSPITAL, STUDY
from twinward.errors import UsageError

BLOOD, HEART = OptionalCategory("blood", ("chol", "fbs")), OptionalCategory("heart", ("thal",))
TWO = replace(STUDY, categories=("age", "heart", "blood"), optional=(BLOOD, HEART))


def test_what_is_optional_survives_json_and_older_descriptions_have_none():
    assert Study.from_json(TWO.to_json()) == TWO
    plain = replace(STUDY, optional=())
    assert "optional" not in plain.to_json()
    assert Study.from_json(plain.to_json()) == plain


def test_each_choice_has_a_scope_of_its_own_and_all_of_it_has_the_one_it_always_had():
    scopes = TWO.scopes(HOSPITAL)
    assert sorted(scopes.values()) == [0, 1, 2, 3]
    assert TWO.scope(HOSPITAL) == replace(TWO, optional=()).scope(HOSPITAL)
    assert not scopes.keys() & TWO.scopes("hungary").keys()
    for names, bits in (((), 0), (("blood",), 1), (("heart",), 2), (("heart", "blood"), 3)):
        scope = TWO.scope(HOSPITAL, without=names)
        assert scopes[scope] == bits
        assert set(TWO.without(scope, HOSPITAL)) == set(names)
    assert TWO.without(bytes(32), HOSPITAL) == ()


@pytest.mark.parametrize("names", [("age",), ("blood", "age"), ("Blood",), ("",)])
def test_what_is_not_optional_cannot_be_left_out(names):
    with pytest.raises(UsageError) as refused:
        TWO.scope(HOSPITAL, without=names)
    assert refused.value.code == "TW3042"


LETTERS = tuple("abcdefgh")


@pytest.mark.parametrize(
    "changes",
    [
        {"optional": (HEART, BLOOD)},
        {"optional": (BLOOD, BLOOD)},
        {"optional": (OptionalCategory("genes", ("thal",)),)},
        {"optional": (OptionalCategory("blood", ()),)},
        {"optional": (BLOOD, OptionalCategory("heart", ("fbs",)))},
        {"categories": ("blood", "heart")},
        {
            "categories": LETTERS,
            "optional": tuple(
                OptionalCategory(name, (name,)) for name in LETTERS[: MOST_OPTIONAL + 1]
            ),
        },
    ],
    ids=["order", "twice", "unknown", "no-column", "column-in-two", "nothing-left", "too-many"],
)
def test_a_malformed_choice_is_refused(changes):
    with pytest.raises(UsageError) as refused:
        replace(TWO, **changes)
    assert refused.value.code == "TW3007"


@pytest.mark.parametrize("value", [[], {}, "blood", {"blood": "chol"}, {"blood": [1]}, None])
def test_a_malformed_choice_on_the_wire_is_refused(value):
    with pytest.raises(UsageError) as refused:
        Study.from_json(TWO.to_json() | {"optional": value})
    assert refused.value.code == "TW3007"
