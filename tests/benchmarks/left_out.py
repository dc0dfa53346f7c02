"""What it costs when patients leave categories out, against the same patients saying no instead.

Fixed splits of all 920 UCI heart-disease patients, epsilon 1, the product's own clipped sums,
mechanism and descent. A part of the training patients, drawn by the split's number, leaves out the
optional categories of the built-in study. Test patients have whole records. Differences are paired
by split; intervals are 95 % over splits.

    TWINWARD_DATA_DIR=... python tests/benchmarks/left_out.py [--json] [--splits 50]
"""

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from hospital_node.data import uci
from hospital_node.privacy import experiment
from hospital_node.privacy.experiment import Cohort, Figure, together
from models.cardiac_risk import recipe
from server.studies import template

DRAWS = 4
PARTS = (0.25, 0.5, 1.0)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--splits", type=int, default=50)
    options = arguments.parse_args()
    if "TWINWARD_DATA_DIR" not in os.environ:
        sys.exit("needs the UCI files: set TWINWARD_DATA_DIR")
    began = time.perf_counter()
    found = uci.find(Path(os.environ["TWINWARD_DATA_DIR"]))
    hospitals = {name: uci.read(path, hospital=name) for name, path in found.items()}
    rows = list(measured(hospitals, options.splits))
    report = {
        "schema": "twinward/benchmark.left_out/v1",
        "splits": options.splits,
        "draws": DRAWS,
        "epsilon": 1.0,
        "seconds": round(time.perf_counter() - began, 1),
        "results": rows,
    }
    if options.json:
        print(json.dumps(report))
        return
    print(f"{'left out':<34} {'by':>5}  {'AUROC':>7}  lost to whole records  gained over a no")
    for row in rows:
        gained = (
            "" if row["gained"] is None else f"{row['gained']:+.4f} +- {row['gained_half']:.4f}"
        )
        print(
            f"{row['left_out']:<34} {row['part']:>5.0%}  {row['auroc']:.4f}  "
            f"{row['lost']:+.4f} +- {row['lost_half']:.4f}      {gained}"
        )
    print(f"{options.splits} splits, {DRAWS} noise draws each, {report['seconds']} s")


def measured(hospitals, count):
    plan = recipe.plan(
        network="00" * 32, study="heart-risk", sites=list(hospitals), purpose="health research",
        divisor=sum(map(len, hospitals.values())), grades=["staff_attested"], epsilon=1.0,
    )  # fmt: skip
    optional = template("heart-risk").optional
    whole = experiment.encode(hospitals, plan=plan)
    base = [scored(whole, number, plan) for number in range(count)]
    choices = dict(optional)
    choices["both"] = tuple(column for columns in optional.values() for column in columns)
    for name, columns in choices.items():
        narrowed = experiment.encode(without(hospitals, columns), plan=plan)
        for part in PARTS:
            left = [scored(whole, n, plan, narrowed=narrowed, part=part) for n in range(count)]
            lost = Figure.of([a - b for a, b in zip(base, left, strict=True)])
            gained = None
            if part < 1.0:  # if all say no there is nothing to train on
                none = [scored(whole, n, plan, part=part) for n in range(count)]
                gained = Figure.of([a - b for a, b in zip(left, none, strict=True)])
            yield {
                "left_out": name,
                "part": part,
                "auroc": round(float(np.mean(left)), 4),
                "lost": round(lost.mean, 4),
                "lost_half": round(lost.half_width, 4),
                "gained": gained and round(gained.mean, 4),
                "gained_half": gained and round(gained.half_width, 4),
            }


def without(hospitals, columns):
    """The same hospitals, had nobody's columns been recorded."""
    return {
        name: replace(
            patients,
            columns={
                column: np.full_like(values, np.nan) if column in columns else values
                for column, values in patients.columns.items()
            },
        )
        for name, patients in hospitals.items()
    }


def scored(whole, number, plan, *, narrowed=None, part=0.0):
    """Mean pooled AUROC; a part of those who train is narrowed, or says no if there is nothing."""
    train, test = experiment.split(whole, number)
    if part:
        other = train if narrowed is None else experiment.split(narrowed, number)[0]
        rng = np.random.default_rng(number)
        for name, cohort in train.items():
            chosen = rng.random(cohort.y.size) < part
            if narrowed is None:
                train[name] = cohort.take(~chosen)
            else:
                x = np.where(chosen[:, None], other[name].x, cohort.x)
                train[name] = Cohort(x, cohort.y)
    return float(
        np.mean(
            [
                experiment.measure(dict.fromkeys(test, together(train, plan=plan)), test)[0]
                for _ in range(DRAWS)
            ]
        )
    )


if __name__ == "__main__":
    main()
