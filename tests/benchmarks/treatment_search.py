"""Is a plan that stands out truly better, and how long does a search take? Virtual people only.

Truth: the UVA/Padova equations lived under each plan from the same hours. Twin: the seven-number
model, made from five days of diary, calibrated on them. Plans for one meal: the dose as taken, half
of it, one and a half. Beside the search: always taking the plan with the highest mean of copies as
they come (no calibration, no abstention), which is what a search without its refusals would do.

    python tests/benchmarks/treatment_search.py [--json] [--people 24]
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from hospital_node.twins.service import TwinService
from hospital_node.twins.store import Kept, TwinStore
from models.calibration import of_past
from models.glucose import virtual_diary, virtual_patient
from models.glucose.personal import STEP
from models.glucose.twin import GlucoseTwin
from models.treatment_search import GLUCOSE, spread_to_hold, weigh
from models.twin import AS_PLANNED, Scenario, Series
from twinward.ids import RecordNumber

TWIN = GlucoseTwin()
PLANS = {"as planned": 1.0, "half the dose": 0.5, "one and a half doses": 1.5}
HORIZONS = (30.0, 60.0, 120.0, 240.0)
LIMITS = {"search_ms": 60.0, "observe_s": 2.0, "individualise_s": 2.0}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--people", type=int, default=24)
    options = arguments.parse_args()
    example = virtual_diary.example(days=5, seed=1)
    individual, seconds = timed(
        lambda: TWIN.individualise(TWIN.population(), example, generator=np.random.default_rng(1))
    )
    result = {
        "benchmark": "treatment_search",
        "simulated": True,
        "load": round(os.getloadavg()[0], 1),
        "individualise_5_days_s": round(seconds, 3),
        "search_200_copies_20_plans_4_h_ms": search_ms(individual, example),
        "observe_10_000_twins_s": observe_s(individual, example),
        "limits": LIMITS,
        "against_truth": against_truth(options.people),
    }
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


def timed(call):
    began = time.perf_counter()
    found = call()
    return found, time.perf_counter() - began


def search_ms(individual, history):
    """Median and fastest of 15: all courses simulated, spread and weighed."""
    state = TWIN.begin(individual, history)
    plans = [AS_PLANNED]
    plans += [Scenario(f"{n / 4:g} U", ((0, "bolus", n / 4),)) for n in range(1, 20)]
    titles = [plan.title for plan in plans]

    def once():
        told = TWIN.simulate(individual, state, plans, horizon_minutes=240)
        return weigh(titles, spread_to_hold(told, np.full(told.minutes.size, 2.0)), GLUCOSE)

    taken = [1000 * timed(once)[1] for _ in range(15)]
    return {"median": round(float(np.median(taken)), 1), "fastest": round(min(taken), 1)}


class Nothing:
    """Entries that go nowhere: observing enters none."""

    def cared(self, what, patient, *, twin, by, words=""):
        pass


class Clock:
    """Stands still."""

    def now(self):
        return 0.0


def observe_s(individual, history, *, twins=10_000):
    """One reading of each of 10,000 patients, on disk when it returns; one process."""
    records = [RecordNumber(f"{number:05d}") for number in range(twins)]
    kept = Kept("public", individual, TWIN.begin(individual, history))
    with tempfile.TemporaryDirectory() as folder:
        store = TwinStore(Path(folder) / "twins.sqlite", key=bytes(32))
        service = TwinService(
            store,
            entries=Nothing(),
            answered=lambda _record: None,
            by="bench",
            clock=Clock(),
            generator=np.random.default_rng(0),
        )
        store._file.connection.execute("PRAGMA synchronous = OFF")  # only while it is filled
        for record in records:
            store.set_care(record, {"by": "bench", "since": "0"})
            store.keep(record, "glucose/1", kept, seen=None)
        store._file.connection.execute("PRAGMA synchronous = FULL")
        taken = []
        for number in range(1, 4):
            later = Series(history.minutes[-1:] + number * STEP, {"glucose": np.array([140.0])})
            seen = [(record, later) for record in records]
            taken.append(timed(lambda seen=seen: service.observe("glucose/1", seen))[1])
        store.close()
    return {"median": round(float(np.median(taken)), 2), "fastest": round(min(taken), 2)}


def against_truth(people):
    generator = np.random.default_rng(20261121)
    everyone = virtual_patient.population()
    rows = np.arange(people) % len(everyone)
    ratio = everyone.parameters["carbohydrate_ratio"]
    chosen, ratio = virtual_diary.siblings(everyone.chosen(rows), ratio[rows], generator=generator)
    ratio = virtual_diary.titrated(chosen, ratio, generator=generator)
    diary, events = virtual_diary.diaries(chosen, ratio, days=7, event_days=1, generator=generator)
    day = 1440 // STEP

    def series(person, begin, end):
        span = slice(begin, end)
        return Series(
            np.arange(begin, end) * float(STEP),
            {
                "glucose": diary.glucose[person, span],
                "carbs": diary.carbs[person, span],
                "bolus": diary.bolus[person, span],
                "basal": np.full(end - begin, chosen.basal[person] * 60),
            },
        )

    own, reach = [], []
    for person in range(people):
        history = series(person, 0, 5 * day)
        own.append(TWIN.individualise(TWIN.population(), history, generator=generator))
        known = [
            of_past(TWIN.replay(own[-1], history, horizon_minutes=each)).reach for each in HORIZONS
        ]
        reach.append(known)
    steps = virtual_diary.HORIZON // STEP
    rows = []
    for event in events:
        told = TWIN.simulate(
            own[event.person],
            TWIN.begin(own[event.person], series(event.person, 0, event.step)),
            [
                Scenario(title, ((0, "carbs", event.carbs), (0, "bolus", factor * event.bolus)))
                for title, factor in PLANS.items()
            ],
            horizon_minutes=virtual_diary.HORIZON,
        )
        widths = np.interp(told.minutes, HORIZONS, reach[event.person])
        found = weigh(list(PLANS), spread_to_hold(told, widths), GLUCOSE)
        lived = diary.glucose[event.person, event.step : event.step + steps]
        truth = {"as planned": lived, **{t: lived + event.truth[t] for t in list(PLANS)[1:]}}
        naive = list(PLANS)[int(GLUCOSE.utility(told.samples).mean(axis=1).argmax())]
        rows.append((found, naive, truth))
    return {
        "meals": len(rows),
        "search": judged([(found.stands_out, truth) for found, _, truth in rows]),
        "without_refusals": judged([(naive, truth) for _, naive, truth in rows]),
        "harm_said_and_seen": harm(rows),
    }


def judged(picks):
    """Of plans other than the planned one that were picked: truly better, no worse, and harm."""
    picked = [(title, truth) for title, truth in picks if title not in {None, "as planned"}]
    gains = np.array(
        [
            float(GLUCOSE.utility(truth[title]) - GLUCOSE.utility(truth["as planned"]))
            for title, truth in picked
        ]
    )
    return {
        "silent": sum(title is None for title, _ in picks),
        "stays": sum(title == "as planned" for title, _ in picks),
        "changes": len(picked),
        "truly_better": None if not picked else round(float(np.mean(gains > 0)), 3),
        "truly_worse": None if not picked else round(float(np.mean(gains < 0)), 3),
        "mean_gain": None if not picked else round(float(gains.mean()), 3),
        "newly_below_70": sum(
            bool(GLUCOSE.harmed(truth[title]) and not GLUCOSE.harmed(truth["as planned"]))
            for title, truth in picked
        ),
    }


def harm(rows):
    """Mean P(harm) that was said of each plan, and how often harm came."""
    return {
        title: {
            "said": round(float(np.mean([found.plans[row].harm for found, _, _ in rows])), 3),
            "seen": round(float(np.mean([GLUCOSE.harmed(t[title]) for _, _, t in rows])), 3),
        }
        for row, title in enumerate(PLANS)
    }


if __name__ == "__main__":
    main()
