"""The virtual patients' engine against simglucose: time per patient-day, and how far apart.

Both live the same day of meals and doses. simglucose needs packages of its own, so it runs in
another environment: give the path to that Python. Without it a figure measured earlier stands in
and is named as frozen.

    python tests/benchmarks/glucose_engine.py [--json] [--simglucose /path/to/python]
"""

import argparse
import json
import subprocess
import time
from pathlib import Path

import numpy as np

from models.glucose import virtual_patient

BAR = 1000
PEOPLE = 1200
MINUTES = 1440
FROZEN_SECONDS = 7.2
"""Of simglucose 0.2.11 per patient-day, measured earlier on two shared cores."""
TRAJECTORIES = Path(__file__).parents[1] / "unit/models/glucose/simglucose_trajectories.json"
REFERENCE = """
import json, sys, time, warnings
warnings.filterwarnings("ignore")
from simglucose.patient.t1dpatient import Action, T1DPatient
minutes = int(sys.argv[1])
patient = T1DPatient.withName("adult#001")
basal = patient._params.u2ss * patient._params.BW / 6000
meals = {450: 45, 750: 70, 1140: 80}
began = time.perf_counter()
for minute in range(minutes):
    dose = meals.get(minute, 0) / 12
    patient.step(Action(CHO=meals.get(minute, 0), insulin=basal + dose))
print(json.dumps({"seconds": time.perf_counter() - began}))
"""


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--simglucose", type=Path, help="a Python that has it installed")
    options = arguments.parse_args()
    reference = of_reference(options.simglucose) if options.simglucose else FROZEN_SECONDS
    ours = of_ours()
    apart = apart_from_trajectories()
    result = {
        "benchmark": "glucose_engine",
        "people_at_once": PEOPLE,
        "seconds_per_patient_day": round(ours, 6),
        "simglucose_seconds_per_patient_day": round(reference, 3),
        "simglucose": "same run" if options.simglucose else "frozen figure, not this run",
        "times_faster": round(reference / ours),
        "largest_difference_mg_dl": round(apart, 4),
        "met": {"times_faster": reference / ours >= BAR, "difference": apart <= 0.05},
    }
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


def of_ours():
    """Best of two: one day of many people at once."""
    rows = np.resize(np.arange(30), PEOPLE)
    people = virtual_patient.population().chosen(rows)
    carbs, insulin = np.zeros((MINUTES, PEOPLE)), np.tile(people.basal, (MINUTES, 1))
    for minute, grams in ((450, 45), (750, 70), (1140, 80)):
        carbs[minute] += grams
        insulin[minute] += grams / people.parameters["carbohydrate_ratio"]
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        virtual_patient.live(people, carbs=carbs, insulin=insulin)
        seconds.append(time.perf_counter() - began)
    return min(seconds) / PEOPLE


def of_reference(python):
    """Best of two: one day of one person, which is all it does at a time."""
    runs = [
        subprocess.run(
            [str(python), "-c", REFERENCE, str(MINUTES)], capture_output=True, check=True, text=True
        )
        for _ in range(2)
    ]
    return min(json.loads(run.stdout.splitlines()[-1])["seconds"] for run in runs)


def apart_from_trajectories():
    """Largest difference to nine trajectories frozen from the reference, mg/dL."""
    frozen = json.loads(TRAJECTORIES.read_text())
    everyone = virtual_patient.population()
    people = everyone.chosen(np.array([everyone.names.index(name) for name in frozen["glucose"]]))
    every, weight = frozen["every_minutes"], people.parameters["BW"] / 70
    reference = np.array(list(frozen["glucose"].values())).T[1:]
    carbs = np.zeros((len(reference) * every, len(people)))
    insulin = np.tile(people.basal, (len(carbs), 1))
    for minute, (grams, units) in frozen["plan"].items():
        carbs[int(minute)] += grams * weight
        insulin[int(minute)] += units * weight
    glucose, _ = virtual_patient.live(people, carbs=carbs, insulin=insulin)
    return float(np.abs(glucose[every - 1 :: every] - reference).max())


if __name__ == "__main__":
    main()
