"""Who was in the training? The same model with and without privacy, on the public UCI records.

Online likelihood-ratio attack (Carlini et al. 2022), every model attacked by all the others. 95 %
intervals over models; all share 920 patients. Target: AUC at most .52 at epsilon 1; limit .5.

    TWINWARD_DATA_DIR=... python tests/benchmarks/lira.py [--json] [--models 512]
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from hospital_node.privacy.audit import lira
from models.cardiac_risk import recipe

TARGET = 0.52


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--models", type=int, default=512)
    options = arguments.parse_args()
    if "TWINWARD_DATA_DIR" not in os.environ:
        sys.exit("needs the UCI files: set TWINWARD_DATA_DIR")
    cohort = lira.public(Path(os.environ["TWINWARD_DATA_DIR"]))
    plan = recipe.plan(
        network="00" * 32, study="heart-risk", sites=list(cohort.hospitals), divisor=460,
        purpose="health research", grades=["staff_attested"],
    )  # fmt: skip
    began = time.perf_counter()
    leaks = lira.compare(cohort, plan=plan, models=options.models)
    at_one = leaks[-1]
    result = {
        "schema": "twinward/benchmark.lira/v1",
        "patients": sum(map(len, cohort.hospitals.values())),
        **lira.as_json(leaks, models=options.models),
        "target_auc_at_epsilon_1": TARGET,
        "met": at_one.area.mean - at_one.area.half_width <= TARGET,
        "seconds": round(time.perf_counter() - began, 1),
    }
    if options.json:
        print(json.dumps(result))
        return
    print(lira.as_text(leaks))
    verdict = "met" if result["met"] else "NOT MET"
    print(f"target at epsilon 1: AUC at most {TARGET}: {verdict}")
    print(f"{options.models} models per way, {result['patients']} patients, {result['seconds']} s")


if __name__ == "__main__":
    main()
