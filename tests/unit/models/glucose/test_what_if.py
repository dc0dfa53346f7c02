"""The personal model follows its own rules, and its copies find a person they have not seen."""

from dataclasses import replace

import numpy as np
import pytest

from models.glucose import personal, what_if
from models.glucose import prior as priors
from models.glucose.fit import individualise
from models.glucose.personal import CENTRE, Diary
from models.glucose.what_if import Change

DAY = personal.steps_of(1440)


def eventless(steps):
    return Diary(
        glucose=np.full(steps, 130.0),
        carbs=np.zeros(steps),
        bolus=np.zeros(steps),
        daily_insulin=np.array(40.0),
    )


def diary_of(parameters, *, days, generator):
    """Days of a person who is exactly the personal model, read by a sensor with errors."""
    steps = days * DAY
    carbs, bolus = np.zeros((2, steps))
    for day in range(days):
        for clock, grams in ((90, 40.0), (150, 70.0), (228, 60.0)):
            at = day * DAY + clock + int(generator.integers(-12, 13))
            carbs[at] = grams
            bolus[at] = grams / 12 * generator.choice([0.5, 1.0, 1.5])
    pushed = personal.forces(parameters, carbs=carbs, bolus=bolus, daily_insulin=np.array(40.0))
    glucose = personal.follow(parameters, pushed, start=np.array(130.0))
    errors = 5 * generator.standard_normal(steps)
    return Diary((glucose + errors)[None], carbs[None], bolus[None], np.array([40.0]))


def test_without_food_and_insulin_glucose_returns_to_its_rest():
    pushed = personal.forces(
        CENTRE, carbs=np.zeros(DAY), bolus=np.zeros(DAY), daily_insulin=np.array(40.0)
    )
    course = personal.follow(CENTRE, pushed, start=np.array(250.0))
    assert np.all(np.diff(course) <= 0)
    assert course[-1] == pytest.approx(130.0, abs=0.1)


def test_all_of_a_dose_and_all_of_a_meal_arrive():
    carbs, bolus = np.zeros((2, 3 * DAY))
    carbs[0], bolus[0] = 50.0, 2.0
    pushed = personal.forces(CENTRE, carbs=carbs, bolus=bolus, daily_insulin=np.array(36.0))
    assert pushed.raises.sum() == pytest.approx(50 * 3.6)
    assert pushed.lowers.sum() == pytest.approx(2 * 50 / 140)


def test_more_insulin_lowers_and_more_food_raises_every_copy():
    generator = np.random.default_rng(3)
    copies = priors.WIDE.draw(generator, people=1, copies=50)[0]
    change = what_if.effects(
        copies,
        eventless(200),
        [Change(step=100, bolus=2.0), Change(step=100, carbs=30.0)],
        now=100,
        steps=48,
    )
    assert np.all(change[0, :, 2:] < 0)
    assert np.all(change[1, :, 2:] > 0)


def test_an_answer_does_not_depend_on_what_the_sensor_shows_later():
    diary = eventless(200)
    later = diary.glucose.copy()
    later[100:] = 400.0
    copies = priors.WIDE.draw(np.random.default_rng(3), people=1, copies=5)[0]
    change = [Change(step=100, bolus=1.0)]
    first = what_if.effects(copies, diary, change, now=100, steps=24)
    second = what_if.effects(copies, replace(diary, glucose=later), change, now=100, steps=24)
    np.testing.assert_array_equal(first, second)


def test_copies_come_closer_to_a_person_with_each_day():
    generator = np.random.default_rng(11)
    person = CENTRE + np.array([0.5, -0.5, 0.1, 0.2, 0.3, -0.3, -0.4])
    diary = diary_of(person, days=6, generator=generator)
    scale = personal.SCALE

    def distance(days):
        copies = individualise(priors.WIDE, diary.until(days * DAY), generator=generator)
        return np.linalg.norm((copies.mean(axis=1)[0] - person) / scale)

    before = np.linalg.norm((CENTRE - person) / scale)
    assert distance(6) < 0.6 * before
    assert distance(1) < before


def test_hours_without_a_sensor_are_left_out_and_not_filled_in():
    generator = np.random.default_rng(5)
    diary = diary_of(CENTRE, days=3, generator=generator)
    gap = diary.glucose.copy()
    gap[:, 200:330] = np.nan
    copies = individualise(priors.WIDE, replace(diary, glucose=gap), generator=generator)
    assert np.isfinite(copies).all()


def test_a_diary_without_any_reading_leaves_the_prior():
    generator = np.random.default_rng(5)
    diary = diary_of(CENTRE, days=1, generator=generator)
    blind = replace(diary, glucose=np.full_like(diary.glucose, np.nan))
    copies = individualise(priors.WIDE, blind, generator=generator)
    np.testing.assert_allclose(copies.mean(axis=1)[0], CENTRE, atol=0.15)


def test_no_patient_is_longer_than_the_bound_and_short_ones_are_not_touched():
    near, far = CENTRE + 0.1 * personal.SCALE, CENTRE + 9 * personal.SCALE
    copies = np.stack([near, far])[:, None, :]
    cut = priors.summary(copies)
    np.testing.assert_allclose(cut[0], 0.1)
    assert np.linalg.norm(cut[1]) == pytest.approx(priors.LENGTH)
