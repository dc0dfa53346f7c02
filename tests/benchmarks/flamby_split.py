"""Fed-Heart-Disease on FLamby's exact split, beside FLamby's own published figures.

FLamby (du Terrail et al. 2022, github.com/owkin/FLamby): columns slope, ca and thal dropped, then
patients with a gap; 740 patients, 13 inputs, 66/34 split per client with random state 43; logistic
regression; figure of merit is the mean of the four clients' accuracies. Here the same patients,
split, inputs and model class, trained at patient-level epsilon 1, delta 1e-5.

Their preprocessing takes mean and standard deviation of each client's patients, exactly: that is
not private and no epsilon covers it. It is shown for comparison; the row that counts uses public
constants instead. Scaling each client by itself also removes what differs between clients, and
accuracy drops by a tenth with and without privacy. The test parts hold 104, 89, 16 and 45 patients
and every client counts the same: differences below .02 are a patient or two of Switzerland.

Norm and learning rate of every row were chosen on other splits of the same patients (random states
1000 to 1009), never on theirs. 95 % intervals are over noise draws.

    TWINWARD_DATA_DIR=... python tests/benchmarks/flamby_split.py [--json] [--draws 100]
"""

import argparse
import csv
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

from hospital_node.data import uci
from hospital_node.privacy.audit.lira import public
from hospital_node.privacy.experiment import Cohort, Figure, merged, ridge
from hospital_node.privacy.simulation import Setting, distributed_noise, local_noise, train_many
from models.cardiac_risk import recipe
from twinward.plan import GRID_STEPS_PER_NORM

CLIENTS = ("cleveland", "hungarian", "switzerland", "va")
EXPECTED = ((199, 104), (172, 89), (30, 16), (85, 45))
TARGET = 0.79
PUBLISHED = {
    "FLamby, pooled, no privacy": 0.735,
    "FLamby, best federated (FedAdagrad), no privacy": 0.732,
    "FLamby, DP, record level, stated epsilon 1, delta 1e-4": 0.685,
    "FLamby, DP, record level, stated epsilon 1, delta 1e-2": 0.706,
}
"""As committed in its repository: means over five seeds. Their engine is calibrated for 15 epochs
and takes 1,500 steps, so the true epsilon of the DP rows is 1.5 to 4.1 by an exact accountant."""

NORMS = (0.5, 1.0, 2.0, 4.0)
RATES = (0.1, 0.2, 0.4, 0.8, 1.6)
TUNING = range(1000, 1010)
RIDGES = (1.0, 4.0, 12.0, 30.0)

# Round clinical numbers, not statistics of these patients: centre and spread.
PUBLIC = np.array([
    (55, 10), (0.7, 0.5), (130, 20), (220, 45), (0.15, 0.5), (140, 25), (0.35, 0.5), (0.7, 1),
    (0.25, 0.5), (0.25, 0.5), (0.25, 0.5), (0.2, 0.5), (0.2, 0.5),
])  # fmt: skip


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--draws", type=int, default=100)
    options = arguments.parse_args()
    if "TWINWARD_DATA_DIR" not in os.environ:
        sys.exit("needs the UCI files: set TWINWARD_DATA_DIR")
    began = time.perf_counter()
    folder = Path(os.environ["TWINWARD_DATA_DIR"])
    public(folder)
    tables = {name: raw(path) for name, path in uci.find(folder).items()}
    rows = []
    for scaling in (public_constants, own_z_scores):
        rows += benchmark(tables, scaling, options.draws)
    result = {
        "schema": "twinward/benchmark.flamby_split/v1",
        "measure": "mean of four clients' accuracies",
        "draws": options.draws,
        "delta": recipe.DELTA,
        "target": TARGET,
        "met": next(r["met"] for r in rows if r["met"] is not None),
        "rows": rows,
        "published": PUBLISHED,
        "seconds": round(time.perf_counter() - began, 1),
    }
    if options.json:
        print(json.dumps(result))
        return
    for row in rows:
        verdict = {True: f"target {TARGET}: met", False: f"target {TARGET}: NOT MET", None: ""}
        each = " ".join(f"{value:.3f}" for value in row["clients"])
        print(
            f"{row['scaling']:<48} {row['method']:<28} {row['accuracy']:.4f} +- "
            f"{row['half_width']:.4f}  [{each}]  {verdict[row['met']]}"
        )
    for name, value in PUBLISHED.items():
        print(f"{name:<77} {value:.3f}   (published)")
    print(f"{options.draws} noise draws, {result['seconds']} s")


def raw(path):
    """Thirteen inputs and the label of every patient without a gap, as FLamby reads them."""
    with path.open(newline="") as lines:
        kept = [row[:10] + row[13:] for row in csv.reader(lines) if row]
    kept = np.array([row for row in kept if "?" not in row], dtype=float)
    plain = kept[:, [0, 1, 3, 4, 5, 7, 8, 9]]
    pain = kept[:, [2]] == np.array([[2, 3, 4]])
    ecg = kept[:, [6]] == np.array([[1, 2]])
    return Cohort(np.hstack([plain, pain, ecg]).astype(float), (kept[:, 10] > 0).astype(float))


def split(cohort, state):
    """Stratified where each class has more than two, as FLamby does; Switzerland is not."""
    few = min((cohort.y == 0).sum(), (cohort.y == 1).sum()) <= 2
    train, test = train_test_split(
        np.arange(cohort.y.size), test_size=1 - 0.66, train_size=0.66, random_state=state,
        shuffle=True, stratify=None if few else cohort.y,
    )  # fmt: skip
    return tuple(Cohort(cohort.x[part], cohort.y[part]) for part in (train, test))


def public_constants(train, test):
    """Public constants, clipped; covered by epsilon."""
    return tuple(
        Cohort(np.clip((c.x - PUBLIC[:, 0]) / PUBLIC[:, 1], -2.5, 2.5), c.y) for c in (train, test)
    )


def own_z_scores(train, test):
    """Each client's own mean and spread, FLamby's way; not covered by epsilon."""
    mean, spread = train.x.mean(axis=0), train.x.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    return tuple(Cohort((c.x - mean) / spread, c.y) for c in (train, test))


def prepared(tables, state, scaling):
    train, test = {}, {}
    for name in CLIENTS:
        first, second = scaling(*split(tables[name], state))
        train[name], test[name] = with_constant(first), with_constant(second)
    return train, test


def with_constant(cohort):
    return Cohort(np.column_stack([cohort.x, np.full(cohort.y.size, 0.7)]), cohort.y)


def benchmark(tables, scaling, draws):
    train, test = prepared(tables, 43, scaling)
    sizes = tuple((train[name].y.size, test[name].y.size) for name in CLIENTS)
    assert sizes == EXPECTED, f"not FLamby's split: {sizes}"
    others = [prepared(tables, state, scaling) for state in TUNING]
    name = scaling.__doc__.split(";")[0]
    strength = max(RIDGES, key=lambda s: np.mean([
        accuracy(bare(tr, s), te).mean() for tr, te in others
    ]))  # fmt: skip
    yield row(name, "no privacy", accuracy(bare(train, strength), test))
    for method, noise in (("local noise", local_noise), ("distributed noise", distributed_noise)):
        found = chosen(others, noise, train, test, draws)
        counts = scaling is public_constants and noise is distributed_noise
        yield row(name, f"epsilon 1, {method}", found, counts=counts)


def bare(train, strength):
    everyone = merged(train.values())
    return ridge(everyone, start=np.zeros(everyone.x.shape[1]), strength=strength)[None]


def chosen(others, noise, train, test, draws):
    """Accuracies under the norm and rate that are best on the other splits."""

    def run(norm, rate, parts, repeats):
        everyone = merged(parts.values())
        plan = plan_for(norm, patients=everyone.y.size, dimension=everyone.x.shape[1])
        setting = Setting(noise(plan, hospitals=len(CLIENTS)), rate)
        return train_many(everyone.x, everyone.y, plan=plan, settings=[setting] * repeats)

    settings = [(norm, rate) for norm in NORMS for rate in RATES]
    best = max(settings, key=lambda each: np.mean([
        accuracy(run(*each, tr, 8), te).mean() for tr, te in others
    ]))  # fmt: skip
    return accuracy(run(*best, train, draws), test)


def plan_for(norm, *, patients, dimension):
    plan = recipe.plan(
        network="00" * 32, study="flamby", sites=list(CLIENTS), divisor=patients,
        purpose="benchmark", grades=["staff_attested"],
    )  # fmt: skip
    return replace(
        plan, max_grad_norm=norm, grid=norm / GRID_STEPS_PER_NORM, start_weights=(0.0,) * dimension
    )


def accuracy(weights, test):
    """Per model and client, [models, clients]."""
    return np.stack([
        ((weights @ part.x.T > 0) == (part.y == 1)).mean(axis=1) for part in test.values()
    ], axis=1)  # fmt: skip


def row(scaling, method, found, *, counts=False):
    figure = Figure.of(list(found.mean(axis=1))) if len(found) > 1 else None
    mean = float(found.mean())
    half = figure.half_width if figure else 0.0
    return {
        "scaling": scaling,
        "method": method,
        "accuracy": round(mean, 4),
        "half_width": round(half, 4),
        "sd_over_draws": round(float(found.mean(axis=1).std()), 4),
        "clients": [round(float(value), 4) for value in found.mean(axis=0)],
        "met": mean + half >= TARGET if counts else None,
    }


if __name__ == "__main__":
    main()
