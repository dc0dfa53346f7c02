"""Why forecasters are not asked what another dose would do: what they say, measured."""

import json

import numpy as np
from click.testing import CliRunner

from hospital_node.twins import diary, doses
from hospital_node.twins.cli import twin as commands
from models.glucose import virtual_diary
from models.glucose.twin import GlucoseTwin
from models.twin import Scenario, Series

MINUTES = np.arange(6 * 288) * 5.0


def person(*, confounded, seed=0):
    """Glucose that each unit lowers by 20 within two hours; confounded: doses come with meals."""
    generator = np.random.default_rng(seed)
    size = MINUTES.size
    bolus, carbs, glucose = np.zeros(size), np.zeros(size), np.full(size, 140.0)
    for now in range(30, size - 24, 60):
        at = now + int(generator.integers(0, 20))
        bolus[at] = generator.uniform(1, 4)
        course = np.minimum(np.arange(size - at) / 24, 1.0)
        fade = np.exp(-np.maximum(np.arange(size - at) - 24, 0) / 20)
        effect = -20.0 * bolus[at]
        if confounded:
            carbs[at] = 0.0  # eaten and not written down
            effect += 45.0 * bolus[at]
        glucose[at:] += effect * course * fade
    glucose += generator.normal(0, 1, size)
    return Series(MINUTES, {"glucose": glucose, "bolus": bolus, "carbs": carbs})


def test_where_doses_come_without_meals_they_point_the_right_way():
    for said in doses.ask(person(confounded=False), (-1.0, 1.0)):
        assert not said.wrong_way
        assert said.change[0] > 0 > said.change[1]
        assert said.error_over_persistence < 1


def test_where_doses_come_with_meals_they_point_the_wrong_way_and_still_forecast_well():
    for said in doses.ask(person(confounded=True), (-1.0, 1.0)):
        assert said.wrong_way
        assert said.change[0] < 0 < said.change[1]
        assert said.error_over_persistence < 1


def test_on_one_diary_the_twin_is_right_where_the_forecaster_is_wrong(tmp_path):
    whole = virtual_diary.example(days=6, seed=8, until_dose=True)
    assert whole.values["bolus"][-1] > 0
    file = tmp_path / "diary.csv"
    file.write_text(diary.write(whole))
    asked = CliRunner().invoke(
        commands, ["forecaster", str(file), "--bolus=-1", "--bolus=1", "--json"]
    )
    found = json.loads(asked.stdout)
    assert found["forecasters"][0]["wrong_way"] is True
    twin = GlucoseTwin()
    individual = twin.individualise(twin.population(), whole, generator=np.random.default_rng(0))
    plans = [Scenario(f"{amount}", ((0.0, "bolus", amount),)) for amount in (-1.0, 1.0)]
    told = twin.simulate(individual, twin.begin(individual, whole), plans, horizon_minutes=60)
    less, more = told.samples.mean(axis=1)[:, -1]
    assert less > more
