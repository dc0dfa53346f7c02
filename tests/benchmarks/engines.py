"""A private step against the same step without privacy, plain PyTorch, Opacus and vmap.

Ratios of CPU time, medians of interleaved bursts on one thread; who is compared gets the same
records and the same weights, and all private sums are compared before anything is timed. A private
step is the clipped sum of the whole cohort, its noise and its rounding. The *limit* is our own code
with clipping and noise taken out; the *formula* is the logistic gradient in numpy as textbooks have
it; *plain* is PyTorch's autograd in float32, as people write it. A site of the heart data has about
250 patients; a fixed cost of noise, some 12 us, is what is left of the distance at small sizes.

    python tests/benchmarks/engines.py [--json]
"""

import argparse
import json
import time
import warnings

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from hospital_node.privacy.engines.choice import build, fitting
from hospital_node.privacy.engines.losses import LOGISTIC
from hospital_node.privacy.engines.per_patient import weights_of
from hospital_node.privacy.noise import gaussian
from models.cardiac_risk.risk import sigmoid

NORM, SD = 1.0, 3.0
GRID = NORM / 65536
SECONDS_PER_ROW = 3.0
"""About so long the interleaved bursts of one row of the table take."""


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)
    warnings.simplefilter("ignore")
    dense = [
        measure(name, make, shape, patients)
        for name, make, shape, sizes in (
            ("logistic 27", lambda: nn.Linear(27, 1, bias=False), (27,), (64, 250, 4096, 10_000)),
            ("mlp 13-32-1", lambda: mlp(13, 32), (13,), (64, 512, 4096)),
            ("mlp 28-64-1", lambda: mlp(28, 64), (28,), (250, 10_000)),
        )
        for patients in sizes
    ]
    cnn = [measure("cnn 12x1000", convolutional, (12, 1000), patients) for patients in (32, 128)]
    draws = [measure_noise(size) for size in (28, 481, 46_241, 1_000_000)]
    report = {
        "schema": "twinward/benchmark.engines/v1",
        "targets": {"of_limit": 1.3, "of_plain": 0.8, "cnn of_plain": 1.5, "noise of_numpy": 2.5},
        "steps": [*dense, *cnn],
        "noise": draws,
    }  # fmt: skip
    print(json.dumps(report)) if options.json else show(report)


def mlp(inputs, hidden):
    return nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, 1))


def convolutional():
    return nn.Sequential(
        nn.Conv1d(12, 32, 7, stride=2, padding=3), nn.GroupNorm(8, 32), nn.ReLU(),
        nn.Conv1d(32, 64, 7, stride=2, padding=3), nn.GroupNorm(8, 64), nn.ReLU(),
        nn.Conv1d(64, 64, 7, stride=2, padding=3), nn.GroupNorm(8, 64), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(64, 1),
    )  # fmt: skip


def measure(name, make, shape, patients):
    torch.manual_seed(0)
    rng = np.random.default_rng(patients)
    module = make()
    weights = weights_of(module)
    x = rng.normal(size=(patients, *shape)).astype(np.float32)
    y = rng.integers(0, 2, patients).astype(float)
    everyone = np.ones(patients, dtype=bool)
    engine = fitting(module)
    sums = {
        each: build(each, module, x, y, max_grad_norm=NORM)
        for each in (engine, "opacus", "ghost", "reference")
    }
    expected = sums["reference"](weights, everyone)
    differences = {
        each: float(np.linalg.norm(sums[each](weights, everyone) - expected))
        / float(np.linalg.norm(expected))
        for each in sums
    }
    # Ghost computes in float64, where a relu near zero can fall to the other side: not compared.
    assert max(differences[each] for each in sums if each != "ghost") <= 1e-6
    calls = {
        "step": lambda: noised(sums[engine](weights, everyone)),
        "sum": lambda: sums[engine](weights, everyone),
        "plain": plain(make(), x, y, torch.float32),
        "plain_float64": plain(make(), x, y, torch.float64),
        **{each: lambda each=each: noised(sums[each](weights, everyone)) for each in
           ("opacus", "ghost", "reference")},
    }  # fmt: skip
    if engine == "logistic":
        exact, columns = x.astype(float), sums["logistic"]._z
        calls["formula"] = lambda: (sigmoid(exact @ weights) - y) @ exact
        calls["limit"] = lambda: columns @ (np.tanh(weights @ columns) + 1.0)
    if engine == "mlp":
        calls["limit"] = lambda: unclipped(sums["mlp"], weights)
    seconds = medians(calls)
    ratios = {f"of_{other}": seconds["step"] / seconds[other] for other in calls if other != "step"}
    return {
        "model": name,
        "engine": engine,
        "parameters": weights.size,
        "patients": patients,
        "difference_to_reference": differences,
        "microseconds": {each: round(1e6 * value, 1) for each, value in seconds.items()},
        **{key: round(value, 3) for key, value in ratios.items()},
        "sum_of_limit": round(seconds["sum"] / seconds["limit"], 3) if "limit" in calls else None,
    }


def noised(total):
    drawn = gaussian(total.size, sd=SD)
    return np.rint((total + drawn) / GRID).astype(np.int64)


def unclipped(sums, weights):
    """The dense engine with clipping taken out: the same blocks, the same passes over them."""
    layers = sums._layers(weights)
    total = [np.zeros(layer.shape) for layer in layers]
    for block in sums._blocks:
        inputs, flows, scale = sums._flow(layers, block)
        for summed, entering, flow in zip(total, inputs, flows, strict=True):
            narrow = len(entering) < len(flow)
            product = flow @ (entering * scale).T if narrow else (flow * scale) @ entering.T
            np.add(summed, product, out=summed)
    return np.concatenate([part for each in total for part in (each[:, :-1].ravel(), each[:, -1])])


def plain(module, x, y, dtype):
    module = module.to(dtype)
    xs, ys = torch.tensor(x, dtype=dtype), torch.tensor(y[:, None], dtype=dtype)

    def gradient():
        module.zero_grad()
        LOGISTIC.of_records(module(xs), ys).sum().backward()

    return gradient


def measure_noise(size):
    generator = np.random.default_rng(1)
    seconds = medians({
        "ours": lambda: gaussian(size, sd=SD),
        "numpy": lambda: generator.normal(0.0, SD, size),
        "numpy_fresh": lambda: np.random.default_rng().normal(0.0, SD, size),
    })  # fmt: skip
    return {
        "draws": size,
        "nanoseconds_per_draw": round(1e9 * seconds["ours"] / size, 2),
        "of_numpy": round(seconds["ours"] / seconds["numpy"], 3),
        "of_freshly_seeded_numpy": round(seconds["ours"] / seconds["numpy_fresh"], 3),
    }


def medians(calls):
    """Median CPU seconds of each call, in bursts of a few milliseconds taken in turns."""
    once = {name: cpu_seconds(call, 3) for name, call in calls.items()}
    repeats = {name: max(1, int(0.003 / seconds)) for name, seconds in once.items()}
    round_seconds = sum(once[name] * repeats[name] for name in calls)
    rounds = int(min(max(SECONDS_PER_ROW / round_seconds, 5), 60))
    taken = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            taken[name].append(cpu_seconds(call, repeats[name]))
    return {name: float(np.median(each)) for name, each in taken.items()}


def cpu_seconds(call, repeats):
    began = time.process_time_ns()
    for _ in range(repeats):
        call()
    return (time.process_time_ns() - began) / repeats / 1e9


def show(report):
    print("private step as a multiple of ...  (targets: limit 1.3, plain 0.8; cnn plain 1.5)")
    for row in report["steps"]:
        limit = (
            f"{row['of_limit']:.2f} (sum {row['sum_of_limit']:.2f})" if "of_limit" in row else "-"
        )
        formula = f"{row['of_formula']:.2f}" if "of_formula" in row else "   -"
        print(
            f"{row['model']:>12} x {row['patients']:<5} {row['microseconds']['step']:>10.1f} us | "
            f"limit {limit:>16} | formula {formula} | plain {row['of_plain']:.2f} (float64 "
            f"{row['of_plain_float64']:.2f}) | Opacus hooks {row['of_opacus']:.2f}, ghost "
            f"{row['of_ghost']:.2f} | vmap {row['of_reference']:.2f}"
        )
    for row in report["noise"]:
        print(
            f"{row['draws']:>9} draws: {row['nanoseconds_per_draw']:>7.2f} ns each | "
            f"{row['of_numpy']:.2f} of numpy's generator (target 2.5), "
            f"{row['of_freshly_seeded_numpy']:.2f} of it freshly seeded"
        )


if __name__ == "__main__":
    main()
