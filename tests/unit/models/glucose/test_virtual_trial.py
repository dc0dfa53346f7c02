"""Virtual people under several arms: own controls, the same before the arms part."""

import numpy as np
import pytest

from models.glucose import virtual_trial
from models.glucose.virtual_trial import MEAL, Arm


@pytest.fixture(scope="module")
def lived():
    arms = [Arm("usual", 1.0, 0), Arm("none", 0.0, 0), Arm("early", 1.0, -30)]
    return virtual_trial.run(arms, people=30, grams=60, generator=np.random.default_rng(4))


def test_arms_are_the_same_until_they_part(lived):
    usual, none, early = lived.courses
    before_meal = lived.minutes <= 0
    np.testing.assert_array_equal(usual[:, before_meal], none[:, before_meal])
    before_dose = lived.minutes <= -30
    np.testing.assert_array_equal(usual[:, before_dose], early[:, before_dose])


def test_without_the_dose_everyone_ends_higher_and_earlier_is_lower_at_first(lived):
    usual, none, early = lived.courses
    assert (none[:, -1] > usual[:, -1]).all()
    hour = lived.minutes == 60
    assert (early[:, hour] < usual[:, hour]).all()


def test_all_three_groups_take_part(lived):
    assert {*lived.groups} == {"adolescent", "adult", "child"}
    assert lived.minutes[0] == 5 - MEAL
    assert np.isfinite(lived.courses).all()
