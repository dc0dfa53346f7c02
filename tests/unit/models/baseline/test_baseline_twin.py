"""A baseline is the patient's own, alerts keep their rate, the burden tells what they cannot."""

import os
from pathlib import Path

import numpy as np
import pytest

from hospital_node.data import wfdb
from models import twins
from models.baseline import engine, heartbeat
from models.baseline.alerts import TARGET
from models.calibration import FEWEST
from models.twin import AS_PLANNED, Scenario, Series, require_may_be_asked
from twinward.errors import TwinModelError

VITALS = twins.get("vitals/1")
RECORDS = ("100", "102", "104", "106", "114", "116", "121", "123")


def readings(count, *, seed=1, level=62.0, spread=4.0):
    """Heart rate, and now and then a pressure, every ten minutes of a calm adult."""
    generator = np.random.default_rng(seed)
    pressure = generator.normal(118, 6, count)
    pressure[generator.random(count) < 0.6] = np.nan
    return Series(
        10.0 * np.arange(count),
        {"heart_rate": generator.normal(level, spread, count), "systolic": pressure},
    )


def made(history):
    return VITALS.individualise(VITALS.population(), history, generator=np.random.default_rng(1))


def after(series, other):
    """The second in the time after the first."""
    return Series(
        np.concatenate([series.minutes, series.minutes[-1] + 10 + other.minutes]),
        {name: np.concatenate([series.values[name], other.values[name]]) for name in series.values},
    )


def test_what_is_usual_is_the_patients_own_and_nothing_is_made_of_what_was_not_read():
    own, people = made(readings(400)), VITALS.population()
    assert abs(own["mean"][0] - 62) < 2
    assert abs(own["within"][0] - 4) < 0.6
    assert own["mean"][5] == people["mean"][5]
    assert own["within"][5] == people["within"][5]
    explained = VITALS.explain(own, people)
    assert explained.rows[0][0] == "heart_rate"
    assert 10 < explained.rows[0][3] < 20
    assert VITALS.explain(made(readings(400, level=50)), people).words


def test_a_few_wild_readings_change_neither_level_nor_spread_much():
    calm = readings(400)
    wild = Series(calm.minutes, {name: column.copy() for name, column in calm.values.items()})
    wild.values["heart_rate"][50:400:40] = 200
    for name in ("mean", "within"):
        assert made(wild)[name][0] == pytest.approx(made(calm)[name][0], rel=0.1)


def test_too_little_is_refused_and_a_question_of_another_course_is_too():
    with pytest.raises(TwinModelError) as refused:
        made(readings(FEWEST - 1))
    assert refused.value.code == "TW7159"
    for name in ("vitals/1", "wellness/1", "heartbeat/1"):
        with pytest.raises(TwinModelError) as refused:
            require_may_be_asked(
                twins.get(name).spec,
                [Scenario("more", ((0, "heart_rate", 10),))],
                horizon_minutes=1,
            )
        assert refused.value.code == "TW7110"


def test_alerts_keep_their_rate_when_everything_changes_and_the_burden_rises():
    calm = readings(400)
    own = made(calm)
    as_ever = VITALS.judged(own, after(calm, readings(3000, seed=2)))
    worse = VITALS.judged(own, after(calm, readings(3000, seed=3, level=75, spread=12)))
    for judged in (as_ever, worse):
        rate = np.mean([each.seen.alert for each in judged])
        assert abs(rate - TARGET) < 0.01
    assert np.nanmax([each.seen.burden for each in as_ever]) < 0.2
    assert np.nanmax([each.seen.burden for each in worse]) > 0.4
    assert np.isnan(worse[0].seen.burden)


def test_one_wild_reading_is_an_alert_that_names_it():
    calm = readings(400)
    odd = Series(np.zeros(1), {"heart_rate": np.array([65.0]), "systolic": np.array([190.0])})
    (judged,) = VITALS.judged(made(calm), after(calm, odd))
    assert judged.seen.alert
    assert (judged.name, judged.value) == ("systolic", 190.0)
    assert judged.seen.p < 0.01
    assert 110 < judged.usual < 125


def test_what_was_told_in_parts_is_the_same_state_and_an_old_time_is_not_taken_again():
    calm, later = readings(300), readings(100, seed=4)
    whole = after(calm, later)
    own = made(calm)
    begun = VITALS.begin(own, calm)
    first, second = (
        Series(whole.minutes[rows], {name: c[rows] for name, c in whole.values.items()})
        for rows in (slice(300, 350), slice(340, None))
    )
    parts = VITALS.assimilate(own, VITALS.assimilate(own, begun, first), second)
    once = VITALS.begin(own, whole)
    assert all(np.array_equal(parts[name], once[name]) for name in once)


def test_moments_without_a_reading_move_nothing_and_make_no_alert():
    calm = readings(400)
    nothing = Series(
        10.0 * np.arange(50), {name: np.full(50, np.nan) for name in ("heart_rate", "systolic")}
    )
    own = made(calm)
    assert VITALS.judged(own, after(calm, nothing)) == ()
    state = VITALS.begin(own, after(calm, nothing))
    assert np.array_equal(state["level"][2:], VITALS.begin(own, calm)["level"][2:])
    assert np.array_equal(state["scores"], VITALS.begin(own, calm)["scores"])


def test_the_forecast_is_the_level_and_its_copies_are_its_uncertainty():
    calm = readings(400)
    own = made(calm)
    told = VITALS.simulate(own, VITALS.begin(own, calm), [AS_PLANNED], horizon_minutes=240)
    assert told.output == "heart_rate"
    assert told.minutes.tolist() == [60, 120, 180, 240]
    assert abs(told.samples.mean() - 62) < 3
    assert np.all(np.diff(told.scale[0]) > 0)
    past = VITALS.replay(own, calm, horizon_minutes=60)
    inside = np.abs(past.seen - past.said) < 1.645 * past.scale
    assert abs(inside.mean() - 0.9) < 0.05
    assert np.mean((past.said - past.seen) ** 2) < np.mean((past.last - past.seen) ** 2)


def test_a_trend_is_followed_and_carried_ahead():
    days = np.arange(120.0)
    weight = 80 - 0.05 * days + np.random.default_rng(1).normal(0, 0.3, 120)
    history = Series(1440 * days, {"weight": weight})
    twin = twins.get("wellness/1")
    own = twin.individualise(twin.population(), history, generator=np.random.default_rng(1))
    state = twin.begin(own, history)
    assert -0.09 < state["trend"][3] < -0.02
    assert abs(state["level"][3] - 74.05) < 0.3


def test_an_early_beat_of_another_form_is_sudden_and_unlike_the_usual():
    generator = np.random.default_rng(1)
    at = 300 * np.arange(1, 101)
    at[60] -= 120
    signal = generator.normal(0, 0.01, 31_000)
    for beat in at:
        signal[beat - 10 : beat + 11] += np.hanning(21)
    signal[at[60] - 40 : at[60] + 41] -= 1.5 * np.hanning(81)
    seen = heartbeat.observations(signal, at, hertz=360)
    odd = int(np.argmin(np.abs(seen.minutes - at[60] / 360 / 60)))
    assert np.argmin(seen.values["suddenness"]) == odd
    assert np.argmax(seen.values["unlikeness"]) == odd
    assert heartbeat.observations(signal, at[:20], hertz=360).minutes.size == 0


def test_alerts_keep_their_rate_on_every_real_recording_whatever_it_holds():
    folder = os.environ.get("TWINWARD_DATA_DIR")
    if not folder or not (Path(folder) / "mitbih").is_dir():
        pytest.skip("set TWINWARD_DATA_DIR to the folder with real recordings")
    twin = twins.get("heartbeat/1")
    for name in RECORDS:
        header = Path(folder) / "mitbih" / f"{name}.hea"
        record, beats = wfdb.read(header), wfdb.beats(header.with_suffix(".atr"))
        seen = heartbeat.observations(record.samples[0], beats.at, hertz=record.hertz)
        early = seen.minutes <= 5
        first = Series(seen.minutes[early], {n: c[early] for n, c in seen.values.items()})
        own = twin.individualise(twin.population(), first, generator=np.random.default_rng(1))
        judged = twin.judged(own, seen)
        assert abs(np.mean([each.seen.alert for each in judged]) - TARGET) < 0.01, name
        if name == "106":  # every fourth beat an extra one: no more alerts, but a burden
            assert np.nanmax([each.seen.burden for each in judged]) > 0.5


def test_a_level_that_was_not_read_for_long_is_known_less_well():
    usual = engine.Usual(*(np.array([each]) for each in (70.0, 10.0, 5.0, 3.0, 0.2)))
    now, _ = engine.read(usual, engine.begin(usual, minutes=0.0), np.array([64.0]))
    soon, late = (engine.ahead(usual, now, minutes=m) for m in (60.0, 30 * 1440.0))
    assert now.level[0] < 70
    assert now.spread[0, 0, 0] < soon.spread[0, 0, 0] < late.spread[0, 0, 0]
    assert np.linalg.eigvalsh(late.spread[0]).min() >= 0
