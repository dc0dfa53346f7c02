"""A twin answers what it can know and refuses the rest."""

import numpy as np
import pytest

from models import twins
from models.twin import (
    AS_PLANNED,
    Kind,
    Quantity,
    Reasoning,
    Scenario,
    Series,
    TwinSpec,
    require_may_be_asked,
)
from twinward.errors import TwinModelError

DOSE = Scenario("two units now", actions=((0, "bolus", 2.0),))


def spec(reasoning):
    return TwinSpec(
        name="example/1",
        title="Example",
        kind=Kind.DYNAMIC,
        reasoning=reasoning,
        inputs=(Quantity("bolus", "Insulin", "local:bolus", "[iU]", 0, 50),),
        actions=("bolus",),
        outputs=(Quantity("glucose", "Glucose", "99504-3", "mg/dL", 20, 600),),
        step_minutes=5,
        horizon_minutes=240,
        intended_use="tests",
        limits=(),
        sources=(),
    )


def ask(reasoning, *scenarios, horizon=240):
    require_may_be_asked(spec(reasoning), scenarios, horizon_minutes=horizon)


def test_a_forecast_model_is_not_asked_what_another_dose_would_do():
    ask(Reasoning.ASSOCIATIONAL, AS_PLANNED)
    with pytest.raises(TwinModelError) as refusal:
        ask(Reasoning.ASSOCIATIONAL, AS_PLANNED, DOSE)
    assert refusal.value.code == "TW7110"


def test_a_mechanistic_twin_is():
    ask(Reasoning.MECHANISTIC, AS_PLANNED, DOSE)


@pytest.mark.parametrize(
    "action",
    [
        (0, "aspirin", 1.0),
        (0, "glucose", 9.0),
        (-5, "bolus", 1.0),
        (300, "bolus", 1.0),
        (0, "bolus", float("nan")),
    ],
)
def test_unknown_inputs_other_times_and_amounts_that_are_no_numbers_are_refused(action):
    with pytest.raises(TwinModelError) as refusal:
        ask(Reasoning.MECHANISTIC, Scenario("?", actions=(action,)))
    assert refusal.value.code == "TW7111"


@pytest.mark.parametrize("horizon", [0, -10, 241, float("nan")])
def test_it_does_not_look_further_than_it_can(horizon):
    with pytest.raises(TwinModelError) as refusal:
        ask(Reasoning.MECHANISTIC, AS_PLANNED, horizon=horizon)
    assert refusal.value.code == "TW7111"


@pytest.mark.parametrize(
    "minutes", [[0.0, 5.0, 5.0], [0.0, 5.0, 3.0], [0.0, float("nan"), 3.0], [0.0, 1.0]]
)
def test_a_series_out_of_order_or_of_uneven_length_is_refused(minutes):
    with pytest.raises(TwinModelError) as refusal:
        Series(np.array(minutes), {"glucose": np.zeros(3)})
    assert refusal.value.code == "TW7112"


def test_every_installed_twin_says_what_it_is_for_and_what_it_is_not():
    for name in twins.names():
        known = twins.get(name).spec
        assert known.name == name
        assert known.intended_use
        assert known.limits
        assert set(known.actions) <= {each.name for each in known.inputs}
        assert known.kind is not Kind.RISK
        assert (known.reasoning is Reasoning.MECHANISTIC) or not known.actions


def test_a_twin_that_is_not_installed_is_named():
    with pytest.raises(TwinModelError) as refusal:
        twins.get("liver/1")
    assert refusal.value.code == "TW7115"
