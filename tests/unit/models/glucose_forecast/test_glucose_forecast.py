"""The forecaster: what it knows and when, what may leave, when it refuses, how often it holds."""

import numpy as np
import pytest

from models import twins
from models.calibration import of_past
from models.glucose import virtual_diary
from models.glucose_forecast import layers, public
from models.glucose_forecast.rows import rows_of
from models.glucose_forecast.twin import GlucoseForecast
from models.twin import AS_PLANNED, Scenario, Series, require_may_be_asked
from twinward.errors import TwinModelError

TWIN = GlucoseForecast()
GENERATOR = np.random.default_rng(0)


@pytest.fixture(scope="module")
def diary():
    whole = virtual_diary.example(days=6, seed=5)
    return Series(whole.minutes, {"glucose": whole.values["glucose"]})


@pytest.fixture(scope="module")
def individual(diary):
    return TWIN.individualise(TWIN.population(), diary, generator=GENERATOR)


def cut(series, begin, end):
    return Series(series.minutes[begin:end], {"glucose": series.values["glucose"][begin:end]})


def waves(seed, *, days=4):
    """Readings that swing with a period of four hours, and noise."""
    generator = np.random.default_rng(seed)
    minutes = np.arange(days * 96) * 15.0
    swing = 140 + 50 * np.sin(2 * np.pi * minutes / 240 + seed)
    return Series(minutes, {"glucose": swing + generator.normal(0, 3, minutes.size)})


def test_a_row_does_not_change_with_what_comes_later(diary):
    whole = rows_of(diary)
    for end in (900, 1203, 1500):
        until = rows_of(cut(diary, end % 3, end))
        same = np.isin(whole.minutes, until.minutes)
        if not same.any():  # the grid ends with the last moment: only ends a quarter apart agree
            continue
        np.testing.assert_allclose(whole.features[same][-3:], until.features[-3:])
    later = diary.values["glucose"].copy()
    later[-36:] += 80
    changed = rows_of(Series(diary.minutes, {"glucose": later}))
    before = whole.minutes < diary.minutes[-40]
    np.testing.assert_array_equal(whole.features[before], changed.features[before])


def test_an_outcome_of_the_learning_part_is_never_in_the_tested_part(diary):
    before, after = layers.parted(rows_of(diary), 0.7)
    assert len(before) > 200
    assert len(after) > 100
    assert before.minutes[-1] + 60 <= after.minutes[0]


def test_the_shipped_start_is_what_the_virtual_people_give():
    shipped, made = public.start(), public.made()
    for name in ("weights", "moments", "unit"):
        np.testing.assert_allclose(getattr(shipped, name), getattr(made, name), atol=2e-5)


def test_no_patient_moves_the_sum_by_more_than_the_length():
    start = public.start()
    wild = waves(1)
    wild.values["glucose"][::7] = 600
    moved = layers.gradient(start, rows_of(wild))
    assert np.linalg.norm(moved) == pytest.approx(layers.LENGTH)
    nobody = Series(np.array([0.0, 15.0]), {"glucose": np.array([100.0, 101.0])})
    assert not layers.gradient(start, rows_of(nobody)).any()


def test_a_step_without_noise_comes_closer_and_noise_alone_moves_little():
    start = public.start()
    people = [rows_of(waves(seed)) for seed in range(30)]
    mean = np.mean([layers.gradient(start, rows) for rows in people], axis=0)
    unseen = rows_of(waves(99))
    nearer = layers.stepped(start, mean, noise_variance=0.0)
    assert layers.error(nearer.weights, unseen) < layers.error(start.weights, unseen)
    drowned = layers.stepped(start, mean, noise_variance=1e6)
    np.testing.assert_allclose(drowned.weights, start.weights, atol=1e-4)


def test_a_bad_private_step_is_thrown_away_and_a_good_one_kept():
    start = public.start()
    people = [rows_of(waves(seed)) for seed in range(6)]
    good = layers.of_centre(start, [rows_of(waves(seed)) for seed in range(50, 60)])
    bad = layers.Start(start.weights + 40, start.moments, start.unit)
    assert layers.gated(start, good, people) == (good, True)
    assert layers.gated(start, bad, people) == (start, False)


def test_each_layer_forecasts_its_own_people_better_than_the_one_before():
    start = public.start()
    everyone = [layers.parted(rows_of(waves(seed, days=8)), 0.7) for seed in range(4)]
    centre = layers.of_centre(start, [before for before, _ in everyone])
    for before, after in everyone:
        known = after.chosen(np.isfinite(after.change).all(axis=1))
        own = layers.of_person(centre, before)
        errors = [
            layers.error(start.weights, after),
            layers.error(centre.weights, after),
            float(np.mean((own.change(known) - known.change) ** 2)),
        ]
        assert errors == sorted(errors, reverse=True)


def test_it_is_refused_where_staying_as_it_is_forecasts_better():
    generator = np.random.default_rng(3)
    minutes = np.arange(5 * 96) * 15.0
    # Swings by day, and on the last days nothing but a jitter around one level.
    swing = np.where(minutes < 3.5 * 1440, 70 * np.sin(2 * np.pi * minutes / 180), 0)
    glucose = 150 + swing + generator.normal(0, 0.3, minutes.size)
    with pytest.raises(TwinModelError) as refusal:
        TWIN.individualise(
            TWIN.population(), Series(minutes, {"glucose": glucose}), generator=generator
        )
    assert refusal.value.code == "TW7171"


def test_half_a_morning_is_too_little(diary):
    with pytest.raises(TwinModelError) as refusal:
        TWIN.individualise(TWIN.population(), cut(diary, 0, 60), generator=GENERATOR)
    assert refusal.value.code == "TW7170"


def test_a_state_kept_up_to_date_is_the_state_made_anew(diary, individual):
    state = TWIN.begin(individual, cut(diary, 0, 1000))
    for begin in range(1000, 1040, 4):
        state = TWIN.assimilate(individual, state, cut(diary, begin, begin + 4))
        state = TWIN.assimilate(individual, state, cut(diary, begin, begin + 4))
    anew = TWIN.begin(individual, cut(diary, 0, 1040))
    for name in anew:
        np.testing.assert_array_equal(state[name], anew[name])


def test_live_and_replayed_it_says_the_same_of_what_it_has_not_learnt_from(diary):
    individual = TWIN.individualise(TWIN.population(), cut(diary, 0, 1200), generator=GENERATOR)
    state = TWIN.begin(individual, cut(diary, 0, 1401))
    told = TWIN.simulate(individual, state, [AS_PLANNED], horizon_minutes=60)
    assert told.minutes.tolist() == [30.0, 60.0]
    for column, horizon in enumerate((30, 60)):
        past = TWIN.replay(individual, cut(diary, 0, 1401), horizon_minutes=horizon)
        assert past.said[-1] == pytest.approx(told.samples[0, 0, column])


def test_after_hours_without_a_sensor_it_says_so(diary, individual):
    state = TWIN.begin(individual, cut(diary, 0, 1000))
    later = Series(diary.minutes[1060:1062], {"glucose": diary.values["glucose"][1060:1062]})
    state = TWIN.assimilate(individual, state, later)
    with pytest.raises(TwinModelError) as refusal:
        TWIN.simulate(individual, state, [AS_PLANNED], horizon_minutes=60)
    assert refusal.value.code == "TW7172"


@pytest.mark.parametrize("horizon", [30, 60])
def test_its_intervals_hold_and_it_beats_staying_as_it_is(diary, individual, horizon):
    past = TWIN.replay(individual, diary, horizon_minutes=horizon)
    assert 0.86 < of_past(past).coverage < 0.94
    known = np.isfinite(past.seen)
    errors = [np.mean((said - past.seen)[known] ** 2) for said in (past.said, past.last)]
    assert errors[0] < errors[1]


def test_asked_what_another_dose_would_do_it_is_refused():
    spec = twins.get("glucose-forecast/1").spec
    dose = Scenario("half", actions=((0.0, "bolus", -2.0),))
    with pytest.raises(TwinModelError) as refusal:
        require_may_be_asked(spec, [dose], horizon_minutes=60)
    assert refusal.value.code == "TW7110"


def test_it_explains_itself_in_words_with_numbers(individual):
    found = TWIN.explain(individual, TWIN.population())
    assert any("time of day" in words for words in found.words)
