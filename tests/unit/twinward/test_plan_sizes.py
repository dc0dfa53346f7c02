"""A quorum by share of patients: declared in coarse classes, in the plan, never counted."""

import dataclasses

import pytest

from server import studies
from tests.simulators.finished_run import HOSPITALS, found
from tests.unit.twinward.test_plan import payload, read, the_plan
from twinward.errors import UsageError
from twinward.plan import Plan
from twinward.quorum import Sizes
from twinward.signing import Identity

SIZED = Sizes(classes=(4, 1, 1), least_percent=60)


def test_a_plan_without_sizes_is_spelled_as_before_there_were_any():
    assert "sizes" not in the_plan().to_document().payload
    with pytest.raises(UsageError):
        read(payload(sizes=None))  # one plan, one digest


def test_sizes_are_under_the_digest_and_survive_the_document():
    plan = the_plan(sizes=SIZED)
    assert Plan.from_document(plan.to_document()) == plan
    others = (the_plan(), the_plan(sizes=dataclasses.replace(SIZED, least_percent=59)))
    assert len({plan.digest, *(one.digest for one in others)}) == 3


@pytest.mark.parametrize(
    "sizes",
    [
        {"classes": [4, 1], "least_percent": 60}, {"classes": [4, 1, 1, 1], "least_percent": 60},
        {"classes": [3, 1, 1], "least_percent": 60}, {"classes": [0, 1, 1], "least_percent": 60},
        {"classes": [32, 1, 1], "least_percent": 60}, {"classes": [4, 1, 1], "least_percent": 0},
        {"classes": [True, 1, 1], "least_percent": 60}, {"classes": [4, 1, 1]},
        {"classes": [4, 1, 1], "least_percent": 101}, {"classes": [400, 1, 1], "least_percent": 50},
        {"classes": [4, 1, 1], "least_percent": 60, "exact": [412, 96, 80]},
    ],
    ids=str,
)  # fmt: skip
def test_sizes_that_are_none_are_refused(sizes):
    with pytest.raises(UsageError) as refused:
        read(payload(sizes=sizes))
    assert refused.value.code == "TW1020"


@pytest.mark.parametrize(
    ("present", "least", "enough"),
    [
        (("harbour",), 60, True), (("harbour",), 67, False), (("meadow", "station"), 34, False),
        (("meadow", "station"), 33, True), (("harbour", "meadow", "station"), 100, True),
        (("harbour", "stranger"), 67, False), ((), 1, False),
    ],
)  # fmt: skip
def test_the_part_that_is_there_is_compared_exactly(present, least, enough):
    plan = the_plan(sizes=dataclasses.replace(SIZED, least_percent=least))
    assert plan.enough(present) is enough
    assert the_plan().enough(present)


def test_a_study_is_made_with_the_sizes_of_exactly_its_hospitals():
    founding = found({org: Identity.generate() for org in ("coordinator", *HOSPITALS)})

    def made(sizes):
        _, plan = studies.make(
            studies.template("heart-risk"), name="heart-risk", founding=founding, epsilon=1.0,
            slot_seconds=0.1, expected_patients=None, now=0.0, sizes=sizes, least_percent=70,
        )  # fmt: skip
        return plan

    declared = dict.fromkeys(HOSPITALS, 1) | {HOSPITALS[0]: 8}
    plan = made(declared)
    assert dict(zip(plan.sites, plan.sizes.classes, strict=True)) == declared
    assert plan.sizes.least_percent == 70
    assert made({}).sizes is None
    for other in ({HOSPITALS[0]: 1}, {**declared, "stranger": 1}):
        with pytest.raises(UsageError) as refused:
            made(other)
        assert refused.value.code == "TW6241"
