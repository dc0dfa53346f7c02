"""Virtual people live as the reference implementation says, and their lives can be branched."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.glucose import virtual_patient

FROZEN = json.loads((Path(__file__).parent / "simglucose_trajectories.json").read_text())
MINUTES = 900


@pytest.fixture(scope="module")
def day():
    """Nine people of the reference with the meals and doses of its frozen day."""
    everyone = virtual_patient.population()
    rows = np.array([everyone.names.index(name) for name in FROZEN["glucose"]])
    people = everyone.chosen(rows)
    weight = people.parameters["BW"] / 70
    carbs = np.zeros((MINUTES, len(people)))
    insulin = np.tile(people.basal, (MINUTES, 1))
    for minute, (grams, units) in FROZEN["plan"].items():
        carbs[int(minute)] += grams * weight
        insulin[int(minute)] += units * weight
    return people, carbs, insulin


def test_courses_are_those_of_the_reference_within_a_twentieth_of_a_milligram(day):
    people, carbs, insulin = day
    glucose, _ = virtual_patient.live(people, carbs=carbs, insulin=insulin)
    ours = glucose[FROZEN["every_minutes"] - 1 :: FROZEN["every_minutes"]]
    reference = np.array(list(FROZEN["glucose"].values())).T
    assert np.ptp(reference) > 200
    np.testing.assert_allclose(ours, reference[1:], atol=0.05)


def test_a_life_interrupted_goes_on_as_if_it_had_not_been(day):
    people, carbs, insulin = day
    whole, _ = virtual_patient.live(people, carbs=carbs, insulin=insulin)
    middle = 303  # while a meal is being eaten
    first, body = virtual_patient.live(people, carbs=carbs[:middle], insulin=insulin[:middle])
    rest, _ = virtual_patient.live(
        people, carbs=carbs[middle:], insulin=insulin[middle:], body=body
    )
    np.testing.assert_array_equal(np.concatenate([first, rest]), whole)


def test_one_person_twice_lives_the_same_life_twice(day):
    people, carbs, insulin = day
    rows = np.array([4, 4, 0])
    glucose, _ = virtual_patient.live(
        people.chosen(rows), carbs=carbs[:, rows], insulin=insulin[:, rows]
    )
    np.testing.assert_array_equal(glucose[:, 0], glucose[:, 1])
    assert np.abs(glucose[:, 0] - glucose[:, 2]).max() > 1


def test_nothing_happens_to_a_fasting_person_at_basal_insulin():
    people = virtual_patient.population()
    nothing = np.zeros((600, len(people)))
    glucose, _ = virtual_patient.live(people, carbs=nothing, insulin=nothing + people.basal)
    assert np.abs(glucose - glucose[0]).max() < 0.5
