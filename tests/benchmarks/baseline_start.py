"""What a learnt start is worth to the baseline of a new patient: first readings, made-up regions.

Regions are unlike the textbook, each in its own way (`models.baseline.made_up`). From so many of a
region's people one sum at epsilon 1 is made (noise of the product's plan, four hospitals), and 40
others are followed from it. Measure: mean negative log density of each of the first 24 readings
before it came (nats; less is better), against the textbook start. *Known* is what the region's true
numbers would give, *no noise* the same sum without noise.

    python tests/benchmarks/baseline_start.py [--json] [--regions 6]
"""

import argparse
import json
import math
import os
import time

import numpy as np

from models import prior_recipe, registry, twins
from models.baseline import engine, made_up
from models.baseline.twin import usual_of

PEOPLE = (24, 48, 100, 200, 400)
DAYS = {"vitals/1": 2, "wellness/1": 30}
TESTED, READINGS, DRAWS = 40, 24, 3


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--regions", type=int, default=6)
    options = arguments.parse_args()
    began = time.perf_counter()
    result = {
        "benchmark": "baseline_start",
        "load": round(os.getloadavg()[0], 1),
        "unit": "nats per reading against the textbook start",
        **{name: gains(name, options.regions) for name in DAYS},
    }
    result["seconds"] = round(time.perf_counter() - began, 1)
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


def gains(name, regions):
    prior, twin = registry.prior_of(name), twins.get(name)
    found = {people: [] for people in PEOPLE}
    for number in range(regions):
        region = made_up.region(twin, number)

        def people(count, first, region=region):
            step = twin.spec.step_minutes
            return [
                made_up.patient(twin, region, days=DAYS[name], seed=seed, step_minutes=step)
                for seed in range(first, first + count)
            ]

        tested = people(TESTED, 10**6 + 1000 * number)
        vectors = prior.vectors(people(max(PEOPLE), 1000 * number))
        textbook = surprise(twin, twin.population(), tested)
        truth = {"mean": region.mean, "between": region.between, "within": region.within}
        known = surprise(twin, {**twin.population(), **truth}, tested) - textbook
        for count in PEOPLE:
            sd, total = noise_sd(prior, count), vectors[:count].sum(axis=0)
            generator = np.random.default_rng(number)
            starts = [
                prior.population(
                    (total + generator.normal(0, sd, total.size)) / count,
                    noise_variance=(sd / count) ** 2,
                    divisor=count,
                )
                for _ in range(DRAWS)
            ]
            exact = prior.population(total / count, noise_variance=0.0, divisor=count)
            private = [surprise(twin, start, tested) - textbook for start in starts]
            found[count].append((np.mean(private), surprise(twin, exact, tested) - textbook, known))
    return {
        f"{count} people": {
            "private": round(float(rows[:, 0].mean()), 4),
            "regions_better": int((rows[:, 0] < 0).sum()),
            "no_noise": round(float(rows[:, 1].mean()), 4),
            "known": round(float(rows[:, 2].mean()), 4),
        }
        for count, rows in ((count, np.array(found[count])) for count in PEOPLE)
    }


def noise_sd(prior, people):
    """Of each number of the sum, all shares together."""
    plan = prior_recipe.plan(
        prior=prior, network="0" * 64, study="baseline", purpose="health-research",
        sites=("hospital-1", "hospital-2", "hospital-3", "hospital-4"),
        divisor=max(people, round(prior.fewest)), grades=("signed-on-device",),
    )  # fmt: skip
    return plan.noise_multiplier * plan.max_grad_norm * math.sqrt(4 / 3)


def surprise(twin, population, patients):
    usual, names = usual_of(population), tuple(each.name for each in twin.spec.inputs)
    found = []
    for history in patients:
        now = engine.begin(usual, minutes=float(history.minutes[0]))
        table = engine.columns(history, names)[:READINGS]
        for minutes, row in zip(history.minutes[:READINGS], table, strict=True):
            there = engine.ahead(usual, now, minutes=float(minutes))
            variance = there.spread[:, 0, 0] + usual.within**2
            found.append((np.log(2 * np.pi * variance) + (row - there.level) ** 2 / variance) / 2)
            now, _ = engine.read(usual, there, row)
    return float(np.mean(found))


if __name__ == "__main__":
    main()
