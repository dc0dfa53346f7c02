"""The forecaster on real sensors of three centres: against persistence and a centre's own ridge.

65 people (AZT1D 25, HUPA-UCM 23, T1D-UOM 17). Everything is learnt from the first 70 % of each
person's time, and every figure is of the last 30 %. The private layer is one noised sum over the
patients of all centres (epsilon 1, the product's own noise), repeated over draws; each centre then
keeps it or not by its own past. Errors are root mean squares per person, averaged over people.

Cold start: a centre that takes no part in the private sum has three patients with twelve hours
each, over 40 draws of patients and moments; learnt from those hours alone, tested on the last 30 %.

The shape of the layers was set in earlier work on these same centres (docs/twins.md): confirm on
new data.

    TWINWARD_DATA_DIR=... python tests/benchmarks/glucose_real.py [--json] [--draws 5]
"""

import argparse
import csv
import gzip
import json
import math
import os
import sys
import time
from pathlib import Path

import numpy as np

from hospital_node.privacy.noise import gaussian
from models.calibration import Calibration
from models.glucose_forecast import layers, public
from models.glucose_forecast.rows import AHEAD, STEP, WIDTH, rows_of, together
from models.glucose_forecast.twin import scale_of
from models.twin import Series
from twinward import gdp

CENTRES = ("AZT1D", "HUPA-UCM", "T1D-UOM")
EPSILON, DELTA = 1.0, 1e-5
TRAINED = 0.7
COLD_DRAWS = 40
LOW = 80.0


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--draws", type=int, default=5, help="of the privacy noise")
    options = arguments.parse_args()
    if "TWINWARD_DATA_DIR" not in os.environ:
        sys.exit("needs the CGM files: set TWINWARD_DATA_DIR")
    began = time.perf_counter()
    people = {
        name: read(Path(os.environ["TWINWARD_DATA_DIR"]) / "cgm" / f"{name}.csv.gz")
        for name in CENTRES
    }
    parts = {
        name: [layers.parted(rows, TRAINED) for rows in everyone]
        for name, everyone in people.items()
    }
    start = public.start()
    runs = [forecasts(start, parts) for _ in range(options.draws)]
    result = {
        "benchmark": "glucose_real",
        "epsilon": EPSILON,
        "delta": DELTA,
        "unit": "a patient at one hospital",
        "draws": options.draws,
        "centres": {name: centre(name, parts[name], runs) for name in CENTRES},
        "cold_start": {name: cold(name, start, people) for name in CENTRES},
        "seconds": round(time.perf_counter() - began, 1),
    }
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


def read(path):
    """Rows of each person in a centre's file."""
    return [rows_of(history).known() for history in histories(path)]


def histories(path):
    """What each person's sensor showed."""
    found = {}
    with gzip.open(path, "rt", encoding="utf-8") as text:
        for row in csv.DictReader(text):
            found.setdefault(row["subject"], []).append((row["minute"], row["glucose"]))
    tables = [np.array(readings, dtype=np.float64) for readings in found.values()]
    return [Series(table[:, 0], {"glucose": table[:, 1]}) for table in tables]


def private_start(start, patients, *, hospitals, epsilon=EPSILON):
    """One step over these patients under the product's noise; as many draws as hospitals less one
    may be known to colluders."""
    sd = gdp.noise_multiplier(gdp.mu_of(epsilon, DELTA), 1) * layers.LENGTH
    sd *= math.sqrt(hospitals / (hospitals - 1))
    total = sum(layers.gradient(start, rows) for rows in patients)
    noised = (total + gaussian(WIDTH * len(AHEAD), sd=sd)) / len(patients)
    return layers.stepped(start, noised, noise_variance=(sd / len(patients)) ** 2)


def forecasts(start, parts):
    """Each centre's forecasts of its test parts with one draw of the privacy noise."""
    everyone = [before for each in parts.values() for before, _ in each]
    private = private_start(start, everyone, hospitals=len(parts))
    return {name: forecast(start, private, each) for name, each in parts.items()}


def forecast(start, private, parts):
    before = [rows for rows, _ in parts]
    chosen, kept = layers.gated(start, private, before)
    base = layers.of_centre(chosen, before)
    own = [layers.of_person(base, rows) for rows in before]
    return {
        "kept": kept,
        "private": [rms(after.features @ private.weights, after) for _, after in parts],
        "all": [rms(one.change(after), after) for one, (_, after) in zip(own, parts, strict=True)],
        "own": own,
    }


def centre(name, parts, runs):
    """One row of the table, and the intervals of the first draw."""
    local = together([before for before, _ in parts])
    ridge = own_ridge(local, 1)
    still = np.array([rms(np.zeros_like(after.change), after) for _, after in parts])
    alone = np.array([rms(after.features @ ridge, after) for _, after in parts])
    simulator = np.array(
        [rms(after.features @ public.start().weights, after) for _, after in parts]
    )
    errors = np.array([run[name]["all"] for run in runs])
    mean, ratio = errors.mean(axis=(0, 1)), errors.mean(axis=0) / still
    above = mean - alone.mean(axis=0)
    better = float(np.mean((errors < still).all(axis=2)))
    return {
        "people": len(parts),
        "private_step_kept": float(np.mean([run[name]["kept"] for run in runs])),
        "persistence": rounded(still.mean(axis=0)),
        "public_prior": rounded(simulator.mean(axis=0)),
        "private_step_alone": rounded(np.mean([run[name]["private"] for run in runs], axis=(0, 1))),
        "own_ridge": rounded(alone.mean(axis=0)),
        "all_layers": rounded(mean),
        "sd_over_draws": rounded(errors.mean(axis=1).std(axis=0)),
        "to_persistence": rounded(mean / still.mean(axis=0)),
        "worst_person_to_persistence": rounded(ratio.max(axis=0)),
        "above_own_ridge": rounded(above),
        "people_better_than_persistence": round(better, 3),
        "intervals": intervals(runs[0][name]["own"], parts),
        "met": {
            "ratio<=.88": bool((mean / still.mean(axis=0) <= 0.88).all()),
            "better for 95 %": better >= 0.95,
            "<=.25 above own ridge": bool((above <= 0.25).all()),
        },
    }


def intervals(own, parts):
    """Coverage of 90 % intervals, outcomes told to the calibration when they are known."""
    rows = {}
    for column, steps in enumerate(AHEAD):
        shares, widths, low_held, low_seen = [], [], 0, 0
        for one, (before, after) in zip(own, parts, strict=True):
            calibration, waiting = Calibration(), []
            held, said_low = [], after.level + after.change[:, column] < LOW
            for past in (before, after):
                said = one.change(past) if past is after else one.change_then(past)
                off = np.abs(said - past.change)[:, column]
                scale = scale_of(past.features)[:, column]
                for error, size in zip(off, scale, strict=True):
                    waiting.append(error / size)
                    if past is after:
                        reach = calibration.reach
                        held.append(error <= max(reach, 0) * size)
                        widths.append(2 * max(reach, 0) * size)
                    if len(waiting) > steps:
                        calibration = calibration.after(float(waiting.pop(0)))
            shares.append(float(np.mean(held)))
            low_seen += int(said_low.sum())
            low_held += int(np.array(held)[said_low].sum())
        finite = [each for each in widths if math.isfinite(each)]
        low = low_held / low_seen
        half = 1.96 * math.sqrt(low * (1 - low) / low_seen)
        rows[f"{steps * STEP} min"] = {
            "covered": round(float(np.mean(shares)), 4),
            "people_within_87_93": round(float(np.mean([0.87 <= s <= 0.93 for s in shares])), 3),
            "worst_best_person": [round(min(shares), 3), round(max(shares), 3)],
            "mean_width": round(float(np.mean(finite)), 1),
            "infinite": round(1 - len(finite) / len(widths), 4),
            f"below_{LOW:g}": {
                "covered": round(low, 3),
                "interval": [round(low - half, 3), round(low + half, 3)],
                "n": low_seen,
            },
            "met": bool(
                0.88 <= np.mean(shares) <= 0.92
                and np.mean([0.87 <= s <= 0.93 for s in shares]) >= 0.9
            ),
        }
    return rows


def cold(name, start, people):
    """A new hospital: three patients, twelve hours each; the private start made without it."""
    generator = np.random.default_rng([20261121, CENTRES.index(name)])
    elsewhere = [
        layers.parted(rows, TRAINED)[0]
        for other in CENTRES
        if other != name
        for rows in people[other]
    ]
    kept_of = []
    errors = {"local": [], "public": [], "private": [], "gated": []}
    alone = {ridge: [] for ridge in (1, 3, 10, 30, 100)}
    for _ in range(COLD_DRAWS):
        private = private_start(start, elsewhere, hospitals=len(CENTRES) - 1)
        few, test = [], []
        for who in generator.choice(len(people[name]), 3, replace=False):
            before, after = layers.parted(people[name][who], TRAINED)
            first = before.minutes[generator.integers(0, len(before) - 4 * 12)]
            few.append(before.since(first).until(first + 720))
            test.append(after)
        chosen, kept = layers.gated(start, private, few)
        own = together(few)
        for ridge, each in alone.items():
            local = own_ridge(own, ridge)
            each.append(np.mean([rms(after.features @ local, after) for after in test], axis=0))
        weights = {
            "public": layers.of_centre(start, few).weights,
            "private": layers.of_centre(private, few).weights,
            "gated": layers.of_centre(chosen, few).weights,
        }
        found = {
            label: np.mean([rms(after.features @ each, after) for after in test], axis=0)
            for label, each in weights.items()
        }
        for label, each in found.items():
            errors[label].append(each)
        kept_of.append(kept)
    # The best ridge in hindsight: what is compared with shall not be weaker than it could be.
    errors["local"] = min(alone.values(), key=np.mean)
    differences = {
        beside: np.subtract(errors["gated"], errors[beside]) for beside in ("local", "public")
    }
    answer = {label: rounded(np.mean(each, axis=0)) for label, each in errors.items()}
    answer["private_step_kept"] = float(np.mean(kept_of))
    for beside, rows in differences.items():
        middle = np.mean(rows, axis=0)
        half = 2.02 * np.std(rows, axis=0, ddof=1) / math.sqrt(len(rows))
        answer[f"minus_{beside}"] = rounded(middle)
        answer[f"minus_{beside}_half_interval"] = rounded(half)
    answer["met"] = {
        ">=.2 better than local": answer["minus_local"][0] <= -0.2,
        "<=.1 worse than public": answer["minus_public"][0] <= 0.1,
    }
    return answer


def own_ridge(rows, strength):
    """A centre's own regression, from nothing but its own patients."""
    inner = rows.features.T @ rows.features + strength * np.eye(WIDTH)
    return np.linalg.solve(inner, rows.features.T @ rows.change)


def rms(said, rows):
    return np.sqrt(np.mean((said - rows.change) ** 2, axis=0))


def rounded(values):
    return [round(float(each), 3) for each in np.atleast_1d(values)]


if __name__ == "__main__":
    main()
