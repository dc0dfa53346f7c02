"""Beds taken in 1, 3 and 7 days against "it stays as it is": real counts, and made-up wards.

*Counts*: 21 Italian regions, every day from 24 February 2020 on (`italy_beds`). The three gains
were chosen on the first 120 days; every figure is of the days after. A forecast that lost lately is
withheld and "as today" given instead: both are shown.

*Stays*: made-up wards, twin made from the first 360 days, tested on the next 180. *New ward*: 28
days of its own, started from textbook curves or from the noised counts of eleven other wards
(epsilon 1, one sum through the product's mechanism). Mean absolute errors.

    TWINWARD_DATA_DIR=... python tests/benchmarks/census.py [--json] [--wards 12]
"""

import argparse
import csv
import json
import os
import time
from pathlib import Path

import numpy as np

from hospital_node.privacy.engines.means import MeanClippedSum
from hospital_node.privacy.mechanism import Mechanism
from models import prior_recipe, registry
from models.calibration import Calibration
from models.census import counts, judge, made_up
from models.census import stays as stays_
from models.census.beds import BedCount
from models.census.stays import DAY
from models.census.twin import CensusTwin
from models.twin import AS_PLANNED, Scenario, Series

AHEAD = (1, 3, 7)
CHOSEN_ON = 120
EPSILON, DELTA = 1.0, 1e-5


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--wards", type=int, default=12)
    options = arguments.parse_args()
    began = time.perf_counter()
    wards = [made_up.ward(seed) for seed in range(options.wards)]
    lived = [made_up.stays(each, days=540, seed=seed) for seed, each in enumerate(wards)]
    result = {
        "benchmark": "census",
        "load": round(os.getloadavg()[0], 1),
        "counts": regions() if "TWINWARD_DATA_DIR" in os.environ else "needs TWINWARD_DATA_DIR",
        "stays": stays(lived),
        "new_ward": new_ward(lived),
        "what_if_ms": what_if_ms(lived[0]),
    }
    result["seconds"] = round(time.perf_counter() - began, 1)
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


def regions():
    """Real counts; all of a region's figures are of days after ``CHOSEN_ON``."""
    path = Path(os.environ["TWINWARD_DATA_DIR"]) / "italy_beds" / "italy_regions_beds.csv"
    places = {}
    with path.open(encoding="utf-8") as text:
        for row in csv.DictReader(text):
            places.setdefault(row["region"], []).append((row["date"], float(row["hospital"])))
    table = {
        name: Series(
            np.arange(len(days)) * DAY, {"beds": np.array([beds for _, beds in sorted(days)])}
        )
        for name, days in places.items()
    }
    answer = {"regions": len(table), "days": 373 - CHOSEN_ON}
    for days in AHEAD:
        rows = np.array([region(series, days) for series in table.values()])
        error, stays_, gated, withheld, covered, seen, usable = rows.T
        ratio = error.sum() / stays_.sum()
        answer[f"{days} d"] = {
            "error": round(float(error.sum() / seen.sum()), 2),
            "as_today": round(float(stays_.sum() / seen.sum()), 2),
            "ratio": round(float(ratio), 3),
            "ratio_where_withheld_is_as_today": round(float(gated.sum() / stays_.sum()), 3),
            "withheld": round(float(withheld.sum() / seen.sum()), 3),
            "regions_better": int((error < stays_).sum()),
            "90 % intervals": round(float(covered.sum() / usable.sum()), 4),
            "n": int(usable.sum()),
            "regions_lowest_highest": [
                round(float((covered / usable).min()), 3),
                round(float((covered / usable).max()), 3),
            ],
            "met": bool(ratio < 1),
        }
    return answer


def region(series, days):
    twin = BedCount()
    own = twin.individualise(twin.population(), series, generator=None)
    past = twin.replay(own, series, horizon_minutes=days * DAY)
    known = Calibration()
    sums = np.zeros(7)
    for row in range(past.minutes.size):
        heard = row - days
        if heard >= 0 and np.isfinite(past.seen[heard]):
            off = abs(past.seen[heard] - past.said[heard])
            known = known.after(off / past.scale[heard])
        if past.minutes[row] < CHOSEN_ON * DAY or not np.isfinite(past.seen[row]):
            continue
        off, still = abs(past.said[row] - past.seen[row]), abs(past.last[row] - past.seen[row])
        withheld = judge.lately(past, days=days, until=row).withheld is not None
        inside = off <= max(known.reach, 0) * past.scale[row]
        sums += [off, still, still if withheld else off, withheld, inside, 1, 1]
    return sums


def stays(lived):
    """Made-up wards, tested on days that the twin was not made from."""
    twin, rows, coverage = CensusTwin(), {days: [] for days in AHEAD}, {d: [] for d in AHEAD}
    for came, left in lived:
        end = came[0] + 360 * DAY
        own = twin.individualise(
            twin.population(), stays_.observed(came, left, until=end), generator=None
        )
        everything = stays_.observed(came, left, until=came[-1])
        for days in AHEAD:
            past = twin.replay(own, everything, horizon_minutes=days * DAY)
            rows[days].append(errors(past, past.minutes >= end))
            coverage[days].append(held(past, days=days, since=end))
    return {
        f"{days} d": {**against(rows[days]), "90 % intervals": pooled(coverage[days])}
        for days in AHEAD
    }


def new_ward(lived):
    """28 days of a ward's own; from the textbook, and from eleven others' noised counts."""
    twin, found = CensusTwin(), {days: [] for days in AHEAD}
    for number, (came, left) in enumerate(lived):
        others = [each for place, each in enumerate(lived) if place != number]
        private = noised_population(twin, others)
        end = came[0] + 29 * DAY
        first, test = (stays_.observed(came, left, until=at) for at in (end, came[0] + 150 * DAY))
        pasts = [
            {
                days: twin.replay(
                    twin.individualise(start, first, generator=None),
                    test,
                    horizon_minutes=days * DAY,
                )
                for days in AHEAD
            }
            for start in (twin.population(), private)
        ]
        for days in AHEAD:
            found[days].append([errors(past[days], past[days].minutes >= end) for past in pasts])
    return {
        f"{days} d": {
            "textbook_to_as_today": round(float(rows[:, 0, 0].sum() / rows[:, 0, 1].sum()), 3),
            "private_to_as_today": round(float(rows[:, 1, 0].sum() / rows[:, 1, 1].sum()), 3),
            "private_to_textbook": round(float(rows[:, 1, 0].sum() / rows[:, 0, 0].sum()), 3),
        }
        for days, rows in ((days, np.array(found[days])) for days in AHEAD)
    } | {"epsilon": EPSILON, "delta": DELTA, "unit": "a patient at one hospital"}


def noised_population(twin, lived):
    """One sum over these hospitals, every patient one admission; plan and noise of the product."""
    prior = registry.prior_of(twin.spec.name)
    plan = prior_recipe.plan(
        prior=prior, network="0" * 64, study="ward-counts", purpose="general-research",
        sites=tuple(f"hospital-{number}" for number in range(len(lived))), divisor=20_000,
        grades=("signed-on-device",), epsilon=EPSILON, delta=DELTA,
        max_patients_per_hospital=20_000,
    )  # fmt: skip
    mechanism, total, zeros = Mechanism(plan), 0, plan.start
    for came, left in lived:
        rows = [
            counts.of_patient(
                came[row : row + 1], (left[row : row + 1] - came[row : row + 1]) / DAY
            )
            for row in range(min(came.size, plan.max_patients_per_hospital))
        ]
        engine = MeanClippedSum(np.array(rows), max_grad_norm=plan.max_grad_norm)
        everyone = np.ones(engine.patients, dtype=bool)
        total = total + mechanism.release(engine, zeros, everyone, len(lived)).vector
    sd = mechanism.guarantee(len(lived)).share_sd * np.sqrt(len(lived)) / plan.divisor
    return prior.population(
        -total * plan.grid / plan.divisor, noise_variance=float(sd) ** 2, divisor=plan.divisor
    )


def errors(past, rows):
    rows = rows & np.isfinite(past.seen)
    return (
        float(np.abs(past.said - past.seen)[rows].mean()),
        float(np.abs(past.last - past.seen)[rows].mean()),
    )


def against(rows):
    error, still = np.array(rows).T
    return {
        "error": round(float(error.mean()), 2),
        "as_today": round(float(still.mean()), 2),
        "ratio": round(float(error.sum() / still.sum()), 3),
        "wards_better": int((error < still).sum()),
        "of": len(rows),
        "met": bool(error.sum() < still.sum()),
    }


def held(past, *, days, since):
    """How often calibrated intervals held after a moment; outcomes are told when they are known."""
    known, inside, seen = Calibration(), 0, 0
    for row in range(past.minutes.size):
        if row >= days:
            off = abs(past.seen[row - days] - past.said[row - days])
            known = known.after(off / past.scale[row - days])
        if past.minutes[row] >= since:
            off = abs(past.seen[row] - past.said[row])
            inside += off <= max(known.reach, 0) * past.scale[row]
            seen += 1
    return inside, seen


def pooled(rows):
    inside, seen = np.array(rows).sum(axis=0)
    shares = [one / of for one, of in rows]
    return {
        "held": round(float(inside / seen), 4),
        "n": int(seen),
        "lowest_highest": [round(min(shares), 3), round(max(shares), 3)],
    }


def what_if_ms(lived):
    twin, (came, left) = CensusTwin(), lived
    history = stays_.observed(came, left, until=came[-1])
    own = twin.individualise(twin.population(), history, generator=None)
    state = twin.begin(own, history)
    asked = [AS_PLANNED, Scenario("surge", ((0.0, "arrivals", 30.0),))]
    began = time.perf_counter()
    twin.simulate(own, state, asked, horizon_minutes=14 * DAY)
    return round(1000 * (time.perf_counter() - began), 1)


if __name__ == "__main__":
    main()
