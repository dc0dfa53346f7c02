"""A coach's rule holds on the days it says, and on no other."""

import numpy as np
import pytest

from models.baseline.rules import FEWEST_DAYS, Rule, judge
from models.twin import Series

SHORT = Rule("short sleep", "sleep_hours", True, 10.0, None, 3, "sleep was short")


def history(values):
    minutes = np.arange(len(values)) * 1440.0 + 420
    return Series(minutes, {"sleep_hours": np.array(values, dtype=float)})


def held(values, rule=SHORT, until=19):
    return [minute / 1440 for minute in judge(rule, history(values), until=until * 1440 + 420).held]


USUAL = [7.0, 7.2, 6.8, 7.4, 6.9, 7.1, 7.3, 6.7, 7.0, 7.2] * 2


def test_three_days_below_the_own_tenth_percentile():
    assert held([*USUAL, 5, 5, 7, 5, 5, 5, 5, 7]) == [25, 26]
    assert held([*USUAL, 5, 5]) == []


def test_a_day_without_a_reading_breaks_the_row():
    assert held([*USUAL, 5, 5, np.nan, 5, 5]) == []


def test_days_of_the_baseline_are_the_measure_and_are_not_measured():
    assert held([5, 5, 5, 5, *USUAL[4:], 7]) == []


def test_too_few_days_of_ones_own_are_no_line():
    short = [7.0] * (FEWEST_DAYS - 1)
    outcome = judge(SHORT, history([*short, 1, 1, 1]), until=(len(short) - 1) * 1440 + 420)
    assert np.isnan(outcome.line)
    assert outcome.held == ()


@pytest.mark.parametrize(("below", "days"), [(True, [22]), (False, [20, 21, 23])])
def test_a_number_as_the_line(below, days):
    rule = Rule("r", "sleep_hours", below, None, 6.0, 1, "s")
    assert held([*USUAL, 6.5, 7, 5, 7], rule) == days


def test_several_readings_of_one_day_are_its_median():
    minutes = np.array([0, 100, 200, 1440, 1540.0])
    values = {"sleep_hours": np.array([5.0, 5.0, 9.0, 5.0, 9.0])}
    rule = Rule("r", "sleep_hours", True, None, 6.0, 1, "s")
    outcome = judge(rule, Series(minutes, values), until=-1440.0)
    assert outcome.held == (0.0,)
