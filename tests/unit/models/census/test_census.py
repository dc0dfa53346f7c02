"""Beds follow from who is in, who comes and how long they stay; what is no help is withheld."""

import math

import numpy as np
import pytest

from models import twins
from models.census import counts, judge, made_up, stays
from models.census.beds import BedCount
from models.census.stays import DAY, DAYS
from models.census.twin import CensusTwin
from models.twin import AS_PLANNED, Replay, Scenario, Series, require_may_be_asked
from twinward.errors import TwinModelError

TWIN = CensusTwin()
WEEK = 7 * DAY


@pytest.fixture(scope="module")
def ward():
    return made_up.stays(made_up.ward(3), days=300, seed=3)


@pytest.fixture(scope="module")
def history(ward):
    return stays.observed(*ward, until=ward[0][-1])


@pytest.fixture(scope="module")
def own(history):
    return TWIN.individualise(TWIN.population(), history, generator=None)


def beds(own, state, *scenarios, days=7):
    told = TWIN.simulate(own, state, (AS_PLANNED, *scenarios), horizon_minutes=days * DAY)
    return told.samples.mean(axis=1)


def test_who_is_in_is_who_came_and_has_not_left(ward, history, own):
    came, left = ward
    inside = TWIN.begin(own, history)["inside"]
    end = history.minutes[-1]
    assert inside.size == ((came <= end) & (left > end)).sum()


def test_a_state_that_follows_day_by_day_is_the_state_of_the_whole_history(ward, own):
    came, left = ward
    end = came[0] + 200 * DAY
    state = TWIN.begin(own, stays.observed(came, left, until=end))
    everything = stays.observed(came, left, until=end + 20 * DAY)
    for day in range(20):
        new = (everything.minutes > state["minute"][0]) & (
            everything.minutes <= end + (day + 1) * DAY
        )
        part = Series(everything.minutes[new], {n: c[new] for n, c in everything.values.items()})
        state = TWIN.assimilate(own, state, part)
    whole = TWIN.begin(own, everything)
    assert np.allclose(np.sort(state["inside"]), np.sort(whole["inside"]), atol=0.1)
    assert state["level"][0] == pytest.approx(whole["level"][0], rel=0.1)
    older = TWIN.assimilate(own, state, stays.observed(came, left, until=end))
    assert older["inside"].size == state["inside"].size


def test_more_arrivals_fill_beds_and_a_closed_door_and_shorter_stays_empty_them(own, history):
    state = TWIN.begin(own, history)
    planned, surge, closed, shorter, longer = beds(
        own,
        state,
        Scenario("surge", ((0.0, "arrivals", 30.0),)),
        Scenario("closed", ((0.0, "arrivals", -100.0),)),
        Scenario("shorter", ((0.0, "stay", -1.0),)),
        Scenario("longer", ((0.0, "stay", 2.0),)),
    )
    assert (surge > planned).all()
    assert (np.diff(closed) < 0).all()
    assert (closed < planned).all()
    assert (shorter < planned).all()
    assert (longer[3:] > planned[3:]).all()


def test_nothing_changes_before_a_change(own, history):
    state = TWIN.begin(own, history)
    planned, later, arrivals = beds(
        own,
        state,
        Scenario("later", ((3 * DAY, "stay", -1.0),)),
        Scenario("later", ((3 * DAY, "arrivals", 50.0),)),
    )
    for changed in (later, arrivals):
        assert np.array_equal(changed[:3], planned[:3])
        assert (changed[3:] != planned[3:]).all()


def test_copies_are_about_what_the_replay_says(own, ward):
    end = ward[0][0] + 250 * DAY  # midnight of a day
    end = math.floor(end / DAY) * DAY
    part = stays.observed(*ward, until=end)
    part = Series(
        np.append(part.minutes, end),
        {name: np.append(column, np.nan) for name, column in part.values.items()},
    )
    simulated = beds(own, TWIN.begin(own, part))[0]
    for days in (1, 3, 7):
        past = TWIN.replay(
            own, stays.observed(*ward, until=ward[0][-1]), horizon_minutes=days * DAY
        )
        row = np.flatnonzero(past.minutes == end)[0]
        assert simulated[days - 1] == pytest.approx(past.said[row], rel=0.03)


def test_the_curve_is_that_of_the_life_table_where_patients_are_many():
    generator = np.random.default_rng(1)
    came = np.sort(generator.random(20_000)) * 400 * DAY
    left = came + generator.exponential(5.0, came.size) * DAY
    known = stays.Stays(came, left)
    found = stays.survival(known, at=400 * DAY, usual=TWIN.population()["survival"])
    days = np.arange(15)
    assert np.allclose(found[:15], np.exp(-days / 5.0), atol=0.012)
    assert (np.diff(found) <= 0).all()
    assert found[0] == 1
    assert found.size == DAYS + 1


def test_who_is_still_in_counts_for_as_long_as_they_are():
    """Half have just come: leaving them out would make stays look short."""
    came = np.concatenate([np.zeros(500), np.full(500, 9.5 * DAY)])
    left = np.concatenate([np.full(500, 5.5 * DAY), np.full(500, np.inf)])
    usual = np.full(DAYS + 1, 1.0)
    found = stays.survival(stays.Stays(came, left), at=10 * DAY, usual=usual)
    assert found[5] > 0.99
    assert found[6] < 0.1


def test_weekends_are_seen():
    generator = np.random.default_rng(2)
    starts = np.arange(4 * DAY, 4 * DAY + 52 * WEEK, DAY)  # from a Monday on
    rate = np.where(stays.weekday(starts) >= 5, 4.0, 16.0)
    came = np.repeat(starts, generator.poisson(rate)) + 1.0
    found = stays.weekly(came, first=came[0], at=came[-1], usual=np.ones(7))
    assert found[5:].max() < 0.5
    assert found[:5].min() > 1.1
    assert found.mean() == pytest.approx(1)


def test_a_short_history_is_refused(ward):
    came, _ = ward
    with pytest.raises(TwinModelError) as refusal:
        TWIN.individualise(
            TWIN.population(), stays.observed(*ward, until=came[0] + 10 * DAY), generator=None
        )
    assert refusal.value.code == "TW7143"
    nobody = Series(np.arange(5.0), {"left_after": np.ones(5)})
    with pytest.raises(TwinModelError) as refusal:
        TWIN.begin({"weekly": np.ones(7)}, nobody)
    assert refusal.value.code == "TW7142"


def wave(days=120):
    at = np.arange(days) * DAY
    return Series(at, {"beds": np.round(400 + 300 * np.sin(np.arange(days) / 15))})


def test_counts_alone_forecast_a_wave_better_than_as_today_and_answer_no_what_if():
    twin = BedCount()
    own = twin.individualise(twin.population(), wave(), generator=None)
    for days in (1, 3, 7):
        past = twin.replay(own, wave(), horizon_minutes=days * DAY)
        standing = judge.lately(past, days=days)
        assert standing.withheld is None
        assert standing.error < 0.6 * standing.stays
    with pytest.raises(TwinModelError) as refusal:
        require_may_be_asked(
            twin.spec, [Scenario("closed", ((0.0, "arrivals", -100.0),))], horizon_minutes=WEEK
        )
    assert refusal.value.code == "TW7110"


def test_counts_that_come_one_by_one_give_the_same_state():
    twin, whole = BedCount(), wave()
    own = twin.individualise(twin.population(), whole, generator=None)
    state = twin.begin(own, Series(whole.minutes[:50], {"beds": whole.values["beds"][:50]}))
    for day in range(50, 120):
        seen = Series(whole.minutes[day : day + 1], {"beds": whole.values["beds"][day : day + 1]})
        state = twin.assimilate(own, state, seen)
    assert np.allclose(state["now"], twin.begin(own, whole)["now"])
    again = Series(whole.minutes[:1], {"beds": np.array([5.0])})
    assert twin.assimilate(own, state, again) is state


def test_a_day_without_a_count_is_bridged():
    twin, whole = BedCount(), wave()
    holes = whole.values["beds"].copy()
    holes[40:44] = np.nan
    own = twin.individualise(twin.population(), whole, generator=None)
    told = twin.simulate(
        own, twin.begin(own, Series(whole.minutes, {"beds": holes})), [AS_PLANNED],
        horizon_minutes=WEEK,
    )  # fmt: skip
    full = twin.simulate(own, twin.begin(own, whole), [AS_PLANNED], horizon_minutes=WEEK)
    assert np.allclose(told.samples, full.samples, rtol=0.02)


def test_what_lost_to_as_today_is_withheld_with_the_reason():
    rows = np.arange(60.0)
    noise = np.where(rows % 2, 10.0, -10.0)
    past = Replay(rows * DAY, 100 - noise, np.ones(60), 100 + noise, np.full(60, 100.0))
    standing = judge.lately(past, days=1)
    assert (standing.error, standing.stays, standing.of) == (20, 10, judge.RECENT)
    assert "error was 20.0 beds" in standing.withheld
    assert judge.lately(past, days=1, until=10).withheld.startswith("only 10 of")


def test_a_patient_who_came_often_counts_no_more_than_one_who_came_once():
    once = counts.of_patient(np.array([4 * DAY]), np.array([2.5]))
    assert np.linalg.norm(once) == pytest.approx(counts.LENGTH)
    assert once[0] == 1  # a Monday
    assert once[7 + 2] == 1  # two to three days
    often = counts.of_patient(np.arange(50) * DAY, np.full(50, 400.0))
    assert np.linalg.norm(often) <= counts.LENGTH + 1e-12
    strange = counts.of_patient(np.array([np.nan, 0.0]), np.array([1.0, -3.0]))
    assert not strange.any()


def test_noised_counts_of_many_give_their_curves_and_of_none_the_textbook():
    generator = np.random.default_rng(5)
    rows = [
        counts.of_patient(generator.random(1) * 52 * WEEK, generator.exponential(3.0, 1))
        for _ in range(5000)
    ]
    start, days = TWIN.population(), np.array([1, 2, 4, 7])
    found = counts.population(np.sum(rows, axis=0), noise_sd=5.0, start=start)
    assert np.allclose(found["survival"][days], np.exp(-days / 3), atol=0.03)
    assert (np.diff(found["survival"]) <= 0).all()
    nothing = counts.population(-np.ones(counts.WIDTH), noise_sd=5.0, start=start)
    assert np.allclose(nothing["survival"], start["survival"], atol=1e-6)


def test_both_are_installed():
    assert {"census/1", "bed-count/1"} <= set(twins.names())
