"""The clipped patient sum against plain torch autograd, Opacus, and the limit of the same code.

Ratios of CPU time, medians of interleaved repetitions on one thread: plain torch computes the
gradient *without* privacy; the limit is the same numpy gradient without clipping. All four get the
same records; ours and Opacus' result are compared before anything is timed.

    python tests/benchmarks/clipped_sum.py [--json]
"""

import argparse
import json
import time
import warnings

import numpy as np
import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer

from hospital_node.privacy.clipped_sum import SLACK, LogisticClippedSum
from hospital_node.privacy.mechanism import Mechanism
from models.cardiac_risk import recipe
from models.cardiac_risk.module import CardiacRiskModule
from models.cardiac_risk.risk import sigmoid

DIMENSION = 27
NORM = 2.0
REPETITIONS = 200


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    results = [measure(patients) for patients in (64, 230, 4096)]
    report = {"schema": "twinward/benchmark.clipped_sum/v1", "results": results}
    if options.json:
        print(json.dumps(report))
        return
    for row in results:
        print(
            f"{row['patients']:>5} patients: {row['microseconds']:7.1f} us a sum | "
            f"{row['of_plain_torch']:.2f} of plain torch (target 0.8, "
            f"{'met' if row['met'] else 'NOT MET'}) | {row['of_opacus']:.3f} of Opacus | "
            f"{row['of_limit']:.2f} of the unclipped limit | noise and rounding "
            f"{row['mechanism_microseconds']:.0f} us"
        )


def measure(patients):
    rng = np.random.default_rng(patients)
    x = rng.normal(size=(patients, DIMENSION))
    y = rng.integers(0, 2, patients).astype(float)
    weights = rng.normal(size=DIMENSION) * 0.3
    everyone = np.ones(patients, dtype=bool)
    clipped = LogisticClippedSum(x, y, max_grad_norm=NORM)
    plain, opacus = torch_gradient(x, y, weights), opacus_sum(x, y, weights)
    difference = np.linalg.norm(clipped(weights, everyone) - opacus())
    assert difference <= 1e-6 * np.linalg.norm(opacus())
    plan = recipe.plan(
        network="00" * 32, study="heart-risk", sites=["a1", "b1", "c1", "d1"], divisor=900,
        purpose="benchmark", grades=["none"],
    )  # fmt: skip
    mechanism, total = Mechanism(plan), clipped(weights, everyone)
    seconds = medians({
        "ours": lambda: clipped(weights, everyone),
        "limit": lambda: (sigmoid(x @ weights) - y) @ x,
        "torch": plain,
        "opacus": opacus,
        "mechanism": lambda: mechanism.contribute(total, 4),
    })  # fmt: skip
    return {
        "patients": patients,
        "microseconds": round(1e6 * seconds["ours"], 1),
        "of_plain_torch": round(seconds["ours"] / seconds["torch"], 3),
        "of_opacus": round(seconds["ours"] / seconds["opacus"], 4),
        "of_limit": round(seconds["ours"] / seconds["limit"], 3),
        "mechanism_microseconds": round(1e6 * seconds["mechanism"], 1),
        "target": 0.8,
        "met": seconds["ours"] <= 0.8 * seconds["torch"],
    }


def torch_gradient(x, y, weights):
    module = CardiacRiskModule.from_weights(weights).train()
    xs, ys = torch.from_numpy(x), torch.from_numpy(y)

    def gradient():
        module.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(module(xs), ys, reduction="sum")
        loss.backward()
        return module.linear.weight.grad

    return gradient


def opacus_sum(x, y, weights):
    module = GradSampleModule(CardiacRiskModule.from_weights(weights).train(), loss_reduction="sum")
    optimizer = DPOptimizer(
        torch.optim.SGD(module.parameters(), lr=1.0), noise_multiplier=0.0,
        max_grad_norm=NORM * (1 - SLACK),
        expected_batch_size=1, loss_reduction="sum",
    )  # fmt: skip
    xs, ys = torch.from_numpy(x), torch.from_numpy(y)
    parameter = next(iter(module.parameters()))

    def clipped():
        optimizer.zero_grad()
        logits = module(xs)
        torch.nn.functional.binary_cross_entropy_with_logits(logits, ys, reduction="sum").backward()
        optimizer.pre_step()
        return parameter.grad.numpy()[0].copy()

    return clipped


def medians(calls):
    """Median CPU seconds of each call, taken in turns so that a busy spell hits all alike."""
    taken = {name: [] for name in calls}
    for repetition in range(REPETITIONS + 20):
        for name, call in calls.items():
            began = time.process_time_ns()
            call()
            if repetition >= 20:
                taken[name].append(time.process_time_ns() - began)
    return {name: float(np.median(each)) / 1e9 for name, each in taken.items()}


if __name__ == "__main__":
    main()
