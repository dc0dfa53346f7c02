"""How well the network reads electrocardiograms, and what privacy costs: real PTB-XL recordings.

Five folds by patient, stratified, fixed by their number; scores of a fold are ranked among
themselves before folds are put together. Rows:

- *without privacy*: the same 585 weights, and a wider network of 3,697, by AdamW with moved and
  scaled copies;
- *same descent, no noise*: the steps of the plan with clipped sums;
- *epsilon*: the network's own engine, mechanism, grid and descent, one sum of four sites per step,
  simulated in one process: only the masks, which cancel, are left out.

Then leave one site out: trained by three sites, measured at the fourth. Intervals are 95 %:
patients (DeLong) and repeats (folds and noise) together. Balanced accuracy is at a probability of
one half; at the model's public guess of how many are ill (.2 and .4); and at the threshold that as
many training patients exceed as are ill, which a hospital finds on its own patients and keeps. The
form of the network, steps and rates were tried on folds 1000 to 1003, other splits of the same
recordings.

    TWINWARD_DATA_DIR=... python tests/benchmarks/ecg.py [--json] [--repeats 5]
"""

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hospital_node import local_training
from hospital_node.data import ecg
from hospital_node.privacy.mechanism import Mechanism
from hospital_node.privacy.validate import engine_for
from models.cardiac_ecg import recipe
from models.cardiac_ecg.risk import ABNORMALITY, INFARCTION, RECORDING
from models.evaluation import auroc, auroc_of, ranked
from twinward import descent

FOLDS = 5
EPSILONS = (8.0, 3.0, 1.0)
EPOCHS, BATCH = 30, 32


@dataclass
class People:
    """Recordings of some patients; ``owner`` numbers the patients."""

    x: np.ndarray
    y: np.ndarray
    owner: np.ndarray
    site: np.ndarray

    def take(self, rows):
        return People(self.x[rows], self.y[rows], self.owner[rows], self.site[rows])


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--repeats", type=int, default=5)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    folder = Path(os.environ["TWINWARD_DATA_DIR"]) / "ptbxl"
    began = time.perf_counter()
    result = {
        "benchmark": "ecg",
        "load": round(os.getloadavg()[0], 1),
        "repeats": options.repeats,
        "note": "one process holds all recordings; the network's arithmetic without its masks",
        "findings": {
            model.name: finding(model, load(folder, model), options.repeats)
            for model in (INFARCTION, ABNORMALITY)
        },
        "target_auc_infarction_without_privacy": 0.90,
    }
    result["seconds"] = round(time.perf_counter() - began)
    print(json.dumps(result) if options.json else as_text(result))


def load(folder, model):
    found = ecg.recordings(folder)
    columns = {
        RECORDING: found.samples,
        "infarction": found.infarction,
        "abnormality": found.abnormality,
    }
    y = model.labels(columns)
    known = ~np.isnan(y)
    _, owner = np.unique(found.patients, return_inverse=True)
    x = model.encode(columns, site=None, sites=())
    return People(x[known], y[known], owner[known], np.array(found.sites)[known])


def finding(model, people, repeats):
    trained = round(len(np.unique(people.owner)) * (1 - 1 / FOLDS), -1)
    ways = {
        "without privacy": lambda train, seed: adam(model.module(()), train, seed),
        "without privacy, 3,697 weights": lambda train, seed: adam(wide(), train, seed),
        "same descent, no noise": lambda train, seed: descended(
            model, train, plan(model, trained), noise=False
        ),
        **{
            f"epsilon {epsilon:g}": lambda train, seed, epsilon=epsilon: descended(
                model, train, plan(model, trained, epsilon), noise=True
            )
            for epsilon in EPSILONS
        },
        "fedavg, epsilon 8": lambda train, seed: averaged(model, train, trained, 8.0),
    }
    ill = int(people.y.sum())
    return {
        "recordings": len(people.y),
        "patients": len(np.unique(people.owner)),
        "ill": ill,
        "majority_accuracy": round(1 - ill / len(people.y), 3),
        "rows": {name: crossed(people, fit, repeats, model.usual) for name, fit in ways.items()},
        "leave_one_site_out": {
            site: left_out(people, site, ways, repeats, model.usual)
            for site in sorted(set(people.site))
        },
    }


def crossed(people, fit, repeats, usual):
    """A row: each repeat has other folds and other noise."""
    found = []
    for repeat in range(repeats):
        where = folds(people, repeat)
        ranks, chances, own = (np.empty(len(people.y)) for _ in range(3))
        for fold in range(FOLDS):
            test, train = where == fold, people.take(where != fold)
            predict = fit(train, 10 * repeat + fold)
            chances[test] = predict(people.x[test])
            ranks[test] = chances[test].argsort().argsort() / test.sum()
            own[test] = np.quantile(predict(train.x), 1 - train.y.mean())
        found.append((ranks, chances, people.y, own))
    return summary(found, usual)


def left_out(people, site, ways, repeats, usual):
    """Measured at a site that had no part in the training."""
    test = people.site == site
    ill, well = int(people.y[test].sum()), int((people.y[test] == 0).sum())
    rows = {}
    for name in ("without privacy", "epsilon 3"):
        found = []
        for repeat in range(repeats):
            chances = ways[name](people.take(~test), repeat)(people.x[test])
            found.append((chances, chances, people.y[test], None))
        rows[name] = summary(found, usual)
    return {"ill": ill, "well": well, "too_few_to_read": min(ill, well) < 10, **rows}


def summary(found, usual):
    values, variances, at = [], [], {"half": [], "guess": [], "own": []}
    for ranks, chances, y, own in found:
        value, variance = measured(ranks, y)
        values.append(value)
        variances.append(variance)
        for name, threshold in (("half", 0.5), ("guess", usual), ("own", own)):
            if threshold is None:
                continue
            said = chances > threshold
            balanced = (said[y == 1].mean() + (~said)[y == 0].mean()) / 2
            at[name].append((np.mean(said == y), balanced))
    spread = np.var(values, ddof=1) if len(values) > 1 else 0.0
    half = 1.96 * np.sqrt(np.mean(variances) + spread)
    auc = float(np.mean(values))
    row = {"auc": round(auc, 3), "low": None, "high": None}
    if np.isfinite(half):
        row |= {"low": round(auc - half, 3), "high": round(min(1, auc + half), 3)}
    for name, kept in at.items():
        if not kept:
            continue
        accuracy, balanced = np.mean(kept, axis=0)
        row[f"at_{name}"] = {
            "accuracy": round(float(accuracy), 3),
            "balanced": round(float(balanced), 3),
        }
    return row


def measured(ranks, y):
    """AUROC and its variance over patients; none where a class is too small to say."""
    found = auroc_of(ranked(ranks, y))
    if found is None:
        return auroc(ranks, y), np.nan
    return found.estimate.value, found.estimate.sampling_sd**2


def folds(people, number):
    """The fold of each recording: by patient, within ill and well, fixed by its number."""
    generator = np.random.default_rng(number)
    where = np.empty(people.owner.max() + 1, dtype=int)
    for ill in (False, True):
        owners = np.unique(people.owner)
        sick = np.isin(owners, people.owner[people.y == 1])
        chosen = generator.permutation(owners[sick == ill])
        where[chosen] = np.arange(chosen.size) % FOLDS
    return where[people.owner]


def plan(model, divisor, epsilon=1.0):
    return recipe.plan(model=model.name, **agreed(divisor, epsilon))


def agreed(divisor, epsilon):
    return {
        "network": "0" * 64, "study": "ecg", "sites": ("s0", "s1", "s2", "s3"),
        "divisor": int(divisor), "purpose": "heart-research", "grades": ("signed-on-device",),
        "epsilon": epsilon,
    }  # fmt: skip


def at_sites(model, train, plan):
    """The clipped sum of each site's patients, by the engine that a node would take."""
    sums = []
    for site in sorted(set(train.site)):
        here = train.take(train.site == site)
        _, owner = np.unique(here.owner, return_inverse=True)
        module = model.module(())
        sums.append(
            engine_for(module, here.x, here.y, max_grad_norm=plan.max_grad_norm, owner=owner)
        )
    return sums


def descended(model, train, plan, *, noise):
    """The steps of a run over the sites of these people; answers a predictor."""
    mechanism, sums = Mechanism(plan), at_sites(model, train, plan)
    weights, iterates = plan.start, []
    for _ in range(plan.steps):
        total = np.zeros(plan.dimension, dtype=np.int64)
        for each in sums:
            everyone = np.ones(each.patients, dtype=bool)
            if noise:
                total += mechanism.release(each, weights, everyone, len(sums)).vector
            else:
                total += np.rint(each(weights, everyone) / plan.grid).astype(np.int64)
        weights = descent.step(plan, weights, total)
        iterates.append(weights)
    released = descent.release(plan, iterates)
    return lambda x: model.predict(released, x)


def averaged(model, train, divisor, epsilon):
    """Rounds of federated averaging: every local step has its hospital's full noise."""
    plan = recipe.local_plan(model=model.name, **agreed(divisor, epsilon))
    mechanism, sums = Mechanism(plan), at_sites(model, train, plan)
    weights, before, iterates = plan.start, None, []
    for _ in range(plan.steps):
        total = sum(
            local_training.update(
                plan, plan.fedavg, mechanism=mechanism, clipped_sum=each, weights=weights,
                permitted=np.ones(each.patients, dtype=bool), members=len(sums),
            )
            for each in sums
        )  # fmt: skip
        weights, before = descent.step(plan, weights, total, before=before), weights
        iterates.append(weights)
    released = descent.release(plan, iterates)
    return lambda x: model.predict(released, x)


def wide():
    """What a hospital without any privacy to pay for could take."""
    return nn.Sequential(
        nn.Conv1d(12, 16, 7, padding=3), nn.GroupNorm(4, 16), nn.ReLU(), nn.AvgPool1d(2),
        nn.Conv1d(16, 16, 5, padding=2), nn.GroupNorm(4, 16), nn.ReLU(), nn.AvgPool1d(4),
        nn.Conv1d(16, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU(),
        nn.Flatten(), nn.Linear(160, 1),
    )  # fmt: skip


def adam(module, train, seed):
    """AdamW with one rising and falling rate; every recording moved, scaled and roughened a bit."""
    torch.manual_seed(seed)
    module = module.float()
    for layer in module.modules():
        if isinstance(layer, (nn.Conv1d, nn.Linear)):
            layer.reset_parameters()
    x, y = torch.tensor(train.x, dtype=torch.float32), torch.tensor(train.y, dtype=torch.float32)
    rate = 5e-3 if sum(p.numel() for p in module.parameters()) < 1000 else 3e-3
    optimiser = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=0.1)
    steps = EPOCHS * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):
            batch = torch.roll(x[rows], int(torch.randint(-2, 3, ())), dims=2)
            batch = batch * (1 + 0.1 * torch.randn(len(rows), 12, 1))
            batch = batch + 0.03 * torch.randn(batch.shape)
            loss = nn.functional.binary_cross_entropy_with_logits(module(batch)[:, 0], y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()

    def predict(records):
        with torch.no_grad():
            return torch.sigmoid(module(torch.tensor(records, dtype=torch.float32)))[:, 0].numpy()

    return predict


def as_text(result):
    lines = [f"{result['seconds']} s, load {result['load']}, {result['repeats']} repeats"]
    for name, found in result["findings"].items():
        lines.append(
            f"\n{name}: {found['recordings']} recordings of {found['patients']} patients, "
            f"{found['ill']} ill; majority {found['majority_accuracy']}"
        )
        lines += [f"  {row:32} {line(values)}" for row, values in found["rows"].items()]
        for site, values in found["leave_one_site_out"].items():
            few = " (too few to read)" if values["too_few_to_read"] else ""
            lines.append(f"  site {site} left out, {values['ill']} ill, {values['well']} well{few}")
            lines += [
                f"    {way:30} {line(values[way])}" for way in ("without privacy", "epsilon 3")
            ]
    return "\n".join(lines)


def line(row):
    said = [
        f"{name} {row[key]['accuracy']:.3f} {row[key]['balanced']:.3f}"
        for name, key in ((".5", "at_half"), ("guess", "at_guess"), ("own", "at_own"))
        if key in row
    ]
    reach = "no interval" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
    return f"AUC {row['auc']:.3f} ({reach}); accuracy and balanced at {'; '.join(said)}"


if __name__ == "__main__":
    main()
