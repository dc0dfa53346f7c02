"""Does a private prior from other hospitals help a new patient's twin? On virtual people only.

Truth: the UVA/Padova equations run twice for the same hours. Twin: the seven-number model. A
replicate makes new siblings of the 30 published people with new meals and sensors; 24 base people
train, siblings of the other six are never seen. Errors are of the predicted change of glucose over
four hours, root mean square over events; intervals are 95 %, t over replicates, which share 30 base
people and are therefore optimistic. Noise comes from the product's own generator.

In the same table, for the first replicates: a recurrent network that learnt from the training
diaries to forecast from glucose, meals and doses of three hours, asked the same questions.

    python tests/benchmarks/glucose_what_if.py [--json] [--replicates 10]
"""

import argparse
import json
import math
import time
from dataclasses import replace

import numpy as np
import recurrent

from hospital_node.privacy.noise import gaussian
from models.glucose import prior as priors
from models.glucose import virtual_diary, virtual_patient, what_if
from models.glucose.fit import individualise
from models.glucose.personal import STEP
from twinward import gdp

DAYS = {"12 h": 0.5, "1 day": 1.0, "3 days": 3.0}
EPSILON, DELTA = 1.0, 1e-5
HOSPITALS = 4
NETWORKS = 2
"""Replicates in which a network is trained, too."""
READ = 180 // STEP
SAID = np.arange(5, 240 // STEP, 6)
T_975 = {4: 3.182, 5: 2.776, 10: 2.262}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--replicates", type=int, default=10)
    options = arguments.parse_args()
    began = time.perf_counter()
    runs = [replicate(seed) for seed in range(options.replicates)]
    result = {
        "benchmark": "glucose_what_if",
        "simulated": True,
        "epsilon": EPSILON,
        "delta": DELTA,
        "replicates": len(runs),
        "patients": runs[0]["patients"],
        "unseen_people": runs[0]["unseen"],
        "events": sum(run["events"] for run in runs),
        "ratios": ratios(runs),
        "five_days": five_days(runs),
        "network": beside_network(runs),
        "fit_of_one_person_5_days_s": fit_of_one(),
        "seconds": round(time.perf_counter() - began, 1),
    }
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


def replicate(seed):
    generator = np.random.default_rng([20261121, seed])
    everyone = virtual_patient.population()
    ratio = everyone.parameters["carbohydrate_ratio"]
    order = generator.permutation(30)
    training, unseen = np.repeat(order[:24], 2), np.repeat(order[24:], 2)
    training_diary, _ = write(everyone, ratio, training, days=6, event_days=0, generator=generator)
    patients = individualise(priors.WIDE, training_diary, generator=generator)
    summaries = priors.summary(patients)
    noise_sd = (
        gdp.noise_multiplier(gdp.mu_of(EPSILON, DELTA), 1)
        * priors.LENGTH
        * math.sqrt(HOSPITALS / (HOSPITALS - 1))
    )
    released = (summaries.sum(axis=0) + gaussian(7, sd=noise_sd)) / len(summaries)
    private = priors.learnt(released, noise_variance=(noise_sd / len(summaries)) ** 2)
    diary, events = write(everyone, ratio, unseen, days=7, event_days=1, generator=generator)
    errors = {}
    for name, prior in (("wide", priors.WIDE), ("tight", priors.TIGHT), ("private", private)):
        for label, days in DAYS.items():
            known = diary.until(round(days * 1440 / STEP))
            copies = individualise(prior, known, generator=generator)
            errors[name, label] = errors_of(copies, diary, events)
    known = diary.until(5 * 1440 // STEP)
    copies = individualise(private, known, generator=generator)
    population = private.draw(generator, people=len(unseen))
    return {
        "patients": len(summaries),
        "unseen": len(unseen),
        "events": len(events),
        "errors": errors,
        "five_days": errors_of(copies, diary, events),
        "population": errors_of(population, diary, events),
        "truth": {
            name: rms([event.truth[name] for event in events]) for name in virtual_diary.CHANGES
        },
        "signs": signs(copies, diary, events),
        "network": network(training_diary, diary, events) if seed < NETWORKS else None,
    }


def write(everyone, ratio, rows, *, days, event_days, generator):
    people, ratio = virtual_diary.siblings(everyone.chosen(rows), ratio[rows], generator=generator)
    ratio = virtual_diary.titrated(people, ratio, generator=generator)
    return virtual_diary.diaries(
        people, ratio, days=days, event_days=event_days, generator=generator
    )


def predicted(copies, diary, event):
    one = replace(
        diary,
        glucose=diary.glucose[event.person],
        carbs=diary.carbs[event.person],
        bolus=diary.bolus[event.person],
        daily_insulin=diary.daily_insulin[event.person],
    )
    changes = [
        what_if.Change(
            step=event.step, carbs=(food - 1) * event.carbs, bolus=(dose - 1) * event.bolus
        )
        for food, dose in virtual_diary.CHANGES.values()
    ]
    steps = virtual_diary.HORIZON // STEP
    found = what_if.effects(copies[event.person], one, changes, now=event.step, steps=steps)
    return dict(zip(virtual_diary.CHANGES, found.mean(axis=1), strict=True))


def errors_of(copies, diary, events):
    differences = {name: [] for name in virtual_diary.CHANGES}
    for event in events:
        for name, course in predicted(copies, diary, event).items():
            differences[name].append(course - event.truth[name])
    return {name: rms(each) for name, each in differences.items()}


def network(training, diary, events):
    """Errors of a network's answers, and the share of them that point in the right direction."""
    last = training.glucose.shape[1] - SAID[-1] - 1
    moments = range(READ, last, 6)
    read = np.concatenate([windows(training, now) for now in moments])
    change = [training.glucose[:, now + SAID] - training.glucose[:, [now - 1]] for now in moments]
    learnt = recurrent.trained(read, np.concatenate(change), passes=4)
    differences = {name: [] for name in virtual_diary.CHANGES}
    right = []
    for event in events:
        as_is = windows(diary, event.step)[event.person]
        for name, (food, dose) in virtual_diary.CHANGES.items():
            other = as_is.copy()
            other[-1, 1] += (food - 1) * event.carbs / 50
            other[-1, 2] += (dose - 1) * event.bolus / 5
            said = recurrent.said(learnt, np.stack([as_is, other]))
            effect = np.interp(np.arange(SAID[-1] + 1), [-1, *SAID], [0, *(said[1] - said[0])])
            truth = event.truth[name][: effect.size]
            differences[name].append(effect - truth)
            right.append(np.sign(effect[120 // STEP - 1]) == np.sign(truth[120 // STEP - 1]))
    return {name: rms(each) for name, each in differences.items()} | {
        "sign_right": float(np.mean(right))
    }


def windows(diary, now):
    """What a network reads at a step: three hours that end with what is eaten and given now."""
    before, here = slice(now - READ, now), slice(now - READ + 1, now + 1)
    return np.stack(
        [
            (diary.glucose[:, before] - 140) / 50,
            diary.carbs[:, here] / 50,
            diary.bolus[:, here] / 5,
        ],
        axis=2,
    )


def beside_network(runs):
    """The same question to both, on the same events; the personal twin has five days."""
    runs = [run for run in runs if run["network"]]
    rows = {
        name: {
            "true_effect": round(float(np.mean([run["truth"][name] for run in runs])), 1),
            "network": round(float(np.mean([run["network"][name] for run in runs])), 1),
            "personal": round(float(np.mean([run["five_days"][name] for run in runs])), 1),
        }
        for name in virtual_diary.CHANGES
    }
    right = float(np.mean([run["network"]["sign_right"] for run in runs]))
    return {"replicates": len(runs), "changes": rows, "network_sign_right": round(right, 3)}


def signs(copies, diary, events):
    """Share of changes whose direction two hours later is right."""
    at = 120 // STEP - 1
    right = [
        np.sign(course[at]) == np.sign(event.truth[name][at])
        for event in events
        for name, course in predicted(copies, diary, event).items()
    ]
    return float(np.mean(right))


def rms(rows):
    return float(np.sqrt(np.mean(np.square(rows))))


def geometric(errors):
    return math.exp(np.mean([math.log(each) for each in errors.values()]))


def ratios(runs):
    rows = []
    bars = {("wide", "12 h"): 0.95, ("wide", "1 day"): 0.95, ("wide", "3 days"): 0.97}
    bars["tight", "12 h"] = 0.93
    for beside in ("wide", "tight"):
        for label in DAYS:
            logs = [
                math.log(geometric(run["errors"]["private", label]))
                - math.log(geometric(run["errors"][beside, label]))
                for run in runs
            ]
            half = T_975.get(len(runs), 2.262) * np.std(logs, ddof=1) / math.sqrt(len(runs))
            bar = bars.get((beside, label))
            middle = math.exp(np.mean(logs))
            rows.append(
                {
                    "private prior against": beside,
                    "own data": label,
                    "ratio": round(middle, 3),
                    "interval": [
                        round(math.exp(np.mean(logs) - half), 3),
                        round(math.exp(np.mean(logs) + half), 3),
                    ],
                    "won": float(np.mean(np.array(logs) < 0)),
                    "bar": bar,
                    "met": None if bar is None else middle <= bar,
                }
            )
    return rows


def five_days(runs):
    rows = {}
    for name in virtual_diary.CHANGES:
        personal = float(np.mean([run["five_days"][name] for run in runs]))
        truth = float(np.mean([run["truth"][name] for run in runs]))
        rows[name] = {
            "true_effect": round(truth, 1),
            "personal": round(personal, 1),
            "population": round(float(np.mean([run["population"][name] for run in runs])), 1),
            "personal_to_truth": round(personal / truth, 3),
            "a_third": personal / truth <= 1 / 3,
        }
    return {"changes": rows, "sign_right": float(np.mean([run["signs"] for run in runs]))}


def fit_of_one():
    generator = np.random.default_rng(7)
    everyone = virtual_patient.population()
    diary, _ = write(
        everyone,
        everyone.parameters["carbohydrate_ratio"],
        np.array([12]),
        days=6,
        event_days=0,
        generator=generator,
    )
    began = time.perf_counter()
    individualise(priors.WIDE, diary.until(5 * 1440 // STEP), generator=generator)
    return round(time.perf_counter() - began, 3)


if __name__ == "__main__":
    main()
