"""What a form of the patients' site means: what it does not say is never read."""

from dataclasses import replace

import pytest

from consent.portal.choices import Picked
from consent.study import OptionalCategory
from tests.simulators.consent.world import STUDY
from twinward.errors import UsageError

TWO = replace(
    STUDY,
    categories=("age and sex", "blood pressure", "heart pictures"),
    optional=(
        OptionalCategory("blood pressure", ("trestbps",)),
        OptionalCategory("heart pictures", ("thal",)),
    ),
)
ALL = {"read-0": "blood pressure", "read-1": "heart pictures"}


def test_only_a_ticked_box_lets_a_category_in():
    assert Picked.of(ALL, TWO).without == ()
    assert Picked.of({"read-1": "heart pictures"}, TWO).without == ("blood pressure",)
    assert Picked.of({}, TWO).without == ("blood pressure", "heart pictures")
    assert Picked.of({}, replace(STUDY, optional=())).without == ()


@pytest.mark.parametrize(
    "form",
    [
        {"read-2": "age and sex"}, {"read-9": "blood pressure"}, {"read-": "blood pressure"},
        {"read-0": "heart pictures"}, {"read-0": "1"}, {"read-0": ""}, {"read-00": "age and sex"},
        ALL | {"read--1": "heart pictures"}, {"read-blood pressure": "blood pressure"},
    ],
    ids=str,
)  # fmt: skip
def test_a_box_that_the_page_does_not_have_is_refused(form):
    with pytest.raises(UsageError) as caught:
        Picked.of(form, TWO)
    assert caught.value.code == "TW8071"


def test_what_is_closed_to_a_visitor_is_not_let_in():
    with pytest.raises(UsageError):
        Picked.of(ALL, TWO, closed=["blood pressure"])
    kept_to = Picked.of({"read-1": "heart pictures"}, TWO, closed=["blood pressure"])
    assert kept_to.without == ("blood pressure",)


def test_the_form_shows_the_last_yes_again():
    everything = ("blood pressure", "heart pictures")
    assert Picked.again(None, TWO) == Picked("heart-research", (), 1, everything)
    said = {"purposes": ["health-research", "in-region", "by-staff"], "without": ["heart pictures"]}
    assert Picked.again(said, TWO) == Picked(
        "health-research", ("in-region",), 1, ("heart pictures",)
    )
