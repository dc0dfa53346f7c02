"""One virtual patient's twin: made, kept up to date, asked, its intervals held to their word."""

import numpy as np
import pytest

from models.calibration import of_past
from models.glucose import virtual_diary, virtual_patient
from models.glucose.twin import MEMORY, GlucoseTwin
from models.twin import AS_PLANNED, Scenario, Series
from twinward.errors import TwinModelError

TWIN = GlucoseTwin()
STEP = 5.0
DAY = 288


@pytest.fixture(scope="module")
def patient():
    """Seven days of an adult that no prior was made from."""
    generator = np.random.default_rng(20)
    everyone = virtual_patient.population()
    rows = np.array([14])
    people, ratio = virtual_diary.siblings(
        everyone.chosen(rows),
        everyone.parameters["carbohydrate_ratio"][rows],
        generator=generator,
    )
    ratio = virtual_diary.titrated(people, ratio, generator=generator)
    diary, _ = virtual_diary.diaries(people, ratio, days=8, event_days=0, generator=generator)
    basal = people.basal[0] * 60

    def series(begin, end):
        span = slice(begin, end)
        return Series(
            np.arange(begin, end) * STEP,
            {
                "glucose": diary.glucose[0, span],
                "carbs": diary.carbs[0, span],
                "bolus": diary.bolus[0, span],
                "basal": np.full(end - begin, basal),
            },
        )

    return series


@pytest.fixture(scope="module")
def individual(patient):
    return TWIN.individualise(
        TWIN.population(), patient(0, 5 * DAY), generator=np.random.default_rng(1)
    )


def test_a_state_kept_up_to_date_is_the_state_made_anew(patient, individual):
    state = TWIN.begin(individual, patient(0, 5 * DAY))
    for begin in range(5 * DAY, 5 * DAY + 40, 4):
        state = TWIN.assimilate(individual, state, patient(begin, begin + 4))
    anew = TWIN.begin(individual, patient(0, 5 * DAY + 40))
    for name in anew:
        np.testing.assert_array_equal(state[name], anew[name])


def test_the_same_observation_twice_counts_once(patient, individual):
    state = TWIN.begin(individual, patient(0, 5 * DAY))
    seen = patient(5 * DAY, 5 * DAY + 2)
    once = TWIN.assimilate(individual, state, seen)
    twice = TWIN.assimilate(individual, once, seen)
    for name in once:
        np.testing.assert_array_equal(once[name], twice[name])


def test_hours_without_news_leave_a_hole_and_the_twin_says_so(patient, individual):
    state = TWIN.begin(individual, patient(0, 5 * DAY))
    later = Series(np.array([(5 * DAY + 30) * STEP]), {"carbs": np.array([20.0])})
    state = TWIN.assimilate(individual, state, later)
    assert state["glucose"].size == MEMORY
    with pytest.raises(TwinModelError) as refusal:
        TWIN.simulate(individual, state, [AS_PLANNED], horizon_minutes=60)
    assert refusal.value.code == "TW7114"


def test_every_copy_agrees_on_the_direction_of_a_dose_and_of_a_meal(patient, individual):
    state = TWIN.begin(individual, patient(0, 5 * DAY + 60))
    asked = [
        AS_PLANNED,
        Scenario("two units", ((0, "bolus", 2.0),)),
        Scenario("thirty grams", ((0, "carbs", 30.0),)),
    ]
    samples = TWIN.simulate(individual, state, asked, horizon_minutes=240).samples
    two_hours = 23
    assert (samples[1, :, two_hours] < samples[0, :, two_hours]).all()
    assert (samples[2, :, two_hours] > samples[0, :, two_hours]).all()


def test_an_action_later_changes_nothing_before_it(patient, individual):
    state = TWIN.begin(individual, patient(0, 5 * DAY + 60))
    asked = [AS_PLANNED, Scenario("later", ((120, "bolus", 2.0),))]
    samples = TWIN.simulate(individual, state, asked, horizon_minutes=240).samples
    np.testing.assert_array_equal(samples[0, :, :24], samples[1, :, :24])
    assert (samples[1, :, -1] < samples[0, :, -1]).all()


def test_a_replay_says_what_the_twin_would_have_said_then(patient, individual):
    history = patient(5 * DAY, 7 * DAY)
    past = TWIN.replay(individual, history, horizon_minutes=60)
    for number in (0, 100):
        asked_after = round(past.minutes[number] / STEP)
        state = TWIN.begin(individual, patient(5 * DAY, asked_after))
        few = {**individual, "copies": individual["copies"][:40]}
        told = TWIN.simulate(few, state, [AS_PLANNED], horizon_minutes=60)
        assert past.said[number] == pytest.approx(told.samples[0, :, -1].mean())
        assert past.seen[number] == patient(0, 7 * DAY).values["glucose"][asked_after + 11]


def test_intervals_hold_on_days_that_the_twin_was_not_made_from(patient, individual):
    past = of_past(TWIN.replay(individual, patient(0, 7 * DAY), horizon_minutes=60))
    assert past.seen > 400
    assert past.coverage == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"carbs": np.zeros(DAY), "bolus": np.ones(DAY)}, "TW7112"),
        ({"glucose": np.full(DAY, 120.0)}, "TW7112"),
        ({"glucose": np.full(DAY, np.nan), "bolus": np.ones(DAY)}, "TW7112"),
    ],
)
def test_a_diary_without_glucose_or_insulin_makes_no_twin(values, code):
    series = Series(np.arange(DAY) * STEP, values)
    with pytest.raises(TwinModelError) as refusal:
        TWIN.individualise(TWIN.population(), series, generator=np.random.default_rng(0))
    assert refusal.value.code == code


def test_an_hour_is_too_short_for_a_twin():
    series = Series(np.arange(12) * STEP, {"glucose": np.full(12, 120.0), "bolus": np.ones(12)})
    with pytest.raises(TwinModelError) as refusal:
        TWIN.individualise(TWIN.population(), series, generator=np.random.default_rng(0))
    assert refusal.value.code == "TW7113"


def test_what_is_particular_about_a_patient_is_said_in_words(individual):
    explanation = TWIN.explain(individual, TWIN.population())
    assert len(explanation.rows) == 7
    assert all(0 <= row[3] <= 100 for row in explanation.rows)
    assert all("times what is usual" in each for each in explanation.words)
