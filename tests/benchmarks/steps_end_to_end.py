"""Steps of a real run in a real network: four nodes, durable marks, ledger, TLS, Flower.

Processes as in production on one machine, virtual hospitals, sending slot 20 ms. Reported: time
from one sum to the next, less the slot; the run from the command to the release; the same steps
without a network, gradient and noise alone, as the peer.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.simulators.network import PATIENTS, SLOT, running_network

RUNS = 3
LIMIT_MS = 15.0


def in_the_network():
    """Milliseconds of each step beyond the slot, and seconds of each run."""
    steps, runs = [], []
    with (
        tempfile.TemporaryDirectory(prefix="twinward-bench-") as folder,
        running_network(Path(folder)) as network,
    ):
        network.complete_run()  # warm
        for _ in range(RUNS):
            began = time.perf_counter()
            run = network.complete_run()
            runs.append(time.perf_counter() - began)
            steps += [step["ms"] - SLOT * 1000 for step in run.of("step")[1:]]
        plan = network.the_plan()
    return steps, runs, plan


def alone(plan):
    """Milliseconds of four hospitals' gradients and noise, one after the other, in this process."""
    from hospital_node.privacy.clipped_sum import LogisticClippedSum
    from hospital_node.privacy.mechanism import Mechanism

    generator = np.random.default_rng(1)
    features = generator.normal(size=(PATIENTS, plan.dimension))
    labels = generator.integers(0, 2, size=PATIENTS).astype(float)
    everyone = np.ones(PATIENTS, dtype=bool)
    clipped = LogisticClippedSum(features, labels, max_grad_norm=plan.max_grad_norm)
    mechanism = Mechanism(plan)
    taken = []
    for _ in range(50):
        began = time.perf_counter()
        for _ in range(4):
            mechanism.contribute(clipped(plan.start, everyone), 4)
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


def measure():
    steps, runs, plan = in_the_network()
    bare = alone(plan)
    p50 = statistics.median(steps)
    return {
        "step_beyond_slot_ms": {
            "p50": round(p50, 2),
            "p90": round(statistics.quantiles(steps, n=10)[-1], 2),
            "steps": len(steps),
        },
        "gradient_and_noise_alone_ms": round(bare, 2),
        "ratio": round(p50 / bare, 1),
        "run_from_command_to_release_s": {
            "median": round(statistics.median(runs), 2),
            "worst": round(max(runs), 2),
            "of_that_slots_s": round(30 * SLOT, 2),
        },
        "runs": RUNS,
        "targets": {"p50 <= 15 ms": p50 <= LIMIT_MS},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    chosen = parser.parse_args()
    result = measure()
    if chosen.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name}: {value}")
    return 0 if all(result["targets"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
