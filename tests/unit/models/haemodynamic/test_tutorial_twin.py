"""The worked example of a twin: its page runs as printed, and it keeps what the page promises."""

import re
from pathlib import Path

import numpy as np
import pytest

from models import twins
from models.twin import AS_PLANNED, Scenario, Series
from twinward.errors import TwinModelError

PAGE = Path(__file__).parents[4] / "docs" / "tutorials" / "bring_your_own_twin.md"
TWIN = twins.get("haemodynamic/1")


def test_the_page_runs_as_it_is_printed():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)
    assert len(blocks) == 6
    names = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["known"].coverage == pytest.approx(0.9, abs=0.07)


def patient(pressures=(120.0, 80.0), rate=70.0, stroke=70.0):
    names = ("systolic", "diastolic", "heart_rate", "stroke_volume")
    values = (*pressures, rate, stroke)
    columns = {name: np.full(20, each) for name, each in zip(names, values, strict=True)}
    return Series(np.arange(20) * 5.0, columns)


def asked(history, *actions):
    own = TWIN.individualise(TWIN.population(), history, generator=np.random.default_rng(0))
    state = TWIN.begin(own, history)
    scenarios = [AS_PLANNED, Scenario("?", actions)]
    return TWIN.simulate(own, state, scenarios, horizon_minutes=30).samples


def test_as_planned_it_says_the_pressure_that_was_measured():
    planned = asked(patient(), (0, "resistance", 10.0))[0]
    np.testing.assert_allclose(planned.mean(axis=0), 120, rtol=0.02)


@pytest.mark.parametrize(
    ("name", "amount"), [("resistance", 30.0), ("stroke_volume", 15.0), ("heart_rate", 20.0)]
)
def test_every_copy_agrees_on_the_direction_of_a_change(name, amount):
    planned, more = asked(patient(), (5, name, amount))
    np.testing.assert_array_equal(planned[:, :5], more[:, :5])
    assert (more[:, 5:] > planned[:, 5:]).all()
    planned, less = asked(patient(), (5, name, -amount))
    assert (less[:, 5:] < planned[:, 5:]).all()


def test_what_is_particular_is_said():
    history = patient(pressures=(190.0, 90.0))
    own = TWIN.individualise(TWIN.population(), history, generator=np.random.default_rng(0))
    explained = TWIN.explain(own, TWIN.population())
    assert [row[0] for row in explained.rows] == ["resistance", "compliance"]
    assert any(word.startswith("compliance") for word in explained.words)


def test_a_history_without_a_complete_reading_makes_no_twin():
    history = Series(np.arange(3.0), {"systolic": np.full(3, 120.0)})
    with pytest.raises(TwinModelError) as refusal:
        TWIN.individualise(TWIN.population(), history, generator=np.random.default_rng(0))
    assert refusal.value.code == "TW7112"
