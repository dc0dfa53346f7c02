"""Seconds to the same AUROC at the same epsilon: ours against stock Flower with Opacus.

Four hospitals with made-up patients, the same logistic model from the same first weights, epsilon 1
at delta 1e-5 per patient on both sides, real processes that are up before the clock starts. Ours is
the whole product: consent, reservation on the ledger, secure sum, cryptographic noise, evidence.
Theirs is Flower's SuperLink, SuperNodes and FedAvg strategy without TLS, and Opacus' PrivacyEngine
with its own noise, each hospital for itself: the usual way to put the two together.

The level is the lower of the two final AUROCs, on other made-up patients. The clock runs from the
start of the command that asks for the run to the first model at that level: ours inside the run
(`reached_s`) and released with evidence (`released_s`); theirs when the strategy has it.

python tests/benchmarks/time_to_auroc.py --json
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hospital_node.data import uci
from models import evaluation, registry
from models.cardiac_risk import made_up
from tests.simulators.flower import mailbox
from tests.simulators.flower.mailbox import BIN, free_port, stock
from twinward import descent
from twinward.demo.network import STUDY, LocalNetwork
from twinward.demo.stage import Stage
from twinward.plan import KIND, Plan
from twinward.secsum.words import WordFormat
from twinward.signing import Document

SITES = tuple(hospital.name for hospital in made_up.HOSPITALS)
MODEL = registry.get("cardiac_risk/1")
EPSILON, DELTA, NORM = 1.0, 1e-5, 2.0
RATE, RATE_OF_LEARNING, ROUNDS = 0.2, 0.1, 3
"""Of stock Flower and Opacus: the best AUROC of learning rates .1, .2, .45 and 2, 3, 6 rounds."""
STEPS_PER_ROUND = round(1 / RATE)
PYPROJECT = """\
[project]
name = "stockapp"
version = "1.0.0"
license = { file = "LICENSE" }
dependencies = ["flwr>=1.41.0"]

[tool.flwr.app]
publisher = "benchmark"
fab-format-version = 1
flwr-version-target = "1.41.0"

[tool.flwr.app.components]
serverapp = "stock_app.app:server"
clientapp = "stock_app.app:client"

[tool.flwr.app.config]
num-rounds = 1
sigma = 1.0
norm = 1.0
rate = 0.2
lr = 0.1
start = ""
out = ""
"""


def auroc_of():
    """AUROC of weights on other patients of the same hospitals, whom nobody trains on."""
    tables = {hospital.name: made_up.patients(hospital, seed=2) for hospital in made_up.HOSPITALS}
    encoded = [MODEL.encode(table, site=name, sites=SITES) for name, table in tables.items()]
    x = np.concatenate(encoded)
    y = np.concatenate([MODEL.labels(table) for table in tables.values()])
    return lambda weights: evaluation.auroc(MODEL.predict(weights, x), y)


def ours(folder, runs):
    """Per run: (seconds, AUROC) of every step, then of the release."""
    auroc, stage = auroc_of(), Stage(folder, show=lambda _: None)
    with stage:
        made = stage.command("experiment", "virtual-hospitals", "data")["hospitals"]
        data = {name: folder / path for name, path in made.items()}
        network = LocalNetwork(stage, tuple(data), data, 0.005, ("--holdout-share", "0"))
        plan_file = folder / network.found()["plan"]
        plan = Plan.from_document(Document.decode(plan_file.read_bytes(), kind=KIND))
        network.start()
        letters = [word for name in data for word in ("--letters", f"{name}.letters")]
        stage.command("consent", "grant", "--wallet", "patients", *letters, "--all")
        everyone = {hospital.name: hospital.patients for hospital in made_up.HOSPITALS}
        deadline = time.monotonic() + 120
        while {name: network.cohort(name) for name in data} != everyone:
            if time.monotonic() > deadline:
                raise SystemExit("consents did not reach the ledger")
            time.sleep(0.2)
        return data, [one_of_ours(stage, folder, plan, auroc) for _ in range(runs)]


def one_of_ours(stage, folder, plan, auroc):
    begun, at, release = time.monotonic(), [], None
    process = stage.events("server", "run", "coordinator", "--study", STUDY)
    for line in process.stdout:
        event = json.loads(line)
        if event.get("event") == "step":
            at.append(time.monotonic() - begun)
        elif event.get("event") == "released":
            release = event
    at.append(time.monotonic() - begun)
    process.wait()
    if release is None:
        raise SystemExit(f"our run was not released: {process.stderr.read()[-500:]}")
    words = WordFormat(plan.word_bits, plan.dimension)
    with zipfile.ZipFile(folder / release["pack"]) as pack:
        attempts = [name for name in sorted(pack.namelist()) if name.startswith("attempts/")]
        totals = [json.loads(pack.read(name))["sum"] for name in attempts]
    sums = [
        words.to_integers(words.from_bytes(bytes.fromhex(one["words"])), limit=plan.max_abs_sum)
        for one in totals
        if one is not None
    ]
    iterates = descent.follow(plan, sums)
    models = [*iterates, descent.release(plan, iterates)]
    return list(zip(at, map(auroc, models), strict=True))


def noise_multiplier(rounds):
    """What Opacus' own accountant asks for, for all steps of all rounds together."""
    from opacus.accountants.utils import get_noise_multiplier

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_noise_multiplier(
            target_epsilon=EPSILON, target_delta=DELTA, sample_rate=RATE,
            steps=rounds * STEPS_PER_ROUND, accountant="prv",
        )  # fmt: skip


def theirs(folder, data, runs, rounds):
    """Per run: (seconds, AUROC) after every round."""
    auroc, sigma = auroc_of(), noise_multiplier(rounds)
    app, port = folder / "stockapp", free_port()
    app.mkdir(parents=True)
    (app / "pyproject.toml").write_text(PYPROJECT)
    (app / "LICENSE").write_text("none\n")
    (app / "stock_app").mkdir()
    (app / "stock_app" / "__init__.py").touch()
    shutil.copy(Path(mailbox.__file__).with_name("stock_app.py"), app / "stock_app" / "app.py")
    # No module of ours is shipped: records are encoded beforehand, as a site's own job would.
    for name, path in data.items():
        patients = uci.read(path, hospital=name)
        x = MODEL.encode(patients.columns, site=name, sites=SITES)
        np.savez(folder / f"{name}.npz", x=x, y=MODEL.labels(patients.columns))
    with ExitStack() as stack:
        arguments = {"host": "127.0.0.1", "port": port}
        flags = ("--insecure", "--disable-runtime-dependency-installation")
        stack.enter_context(stock("flower-superlink", arguments, *flags, home=folder / "superlink"))
        time.sleep(8)
        for name in data:
            arguments = {
                "superlink": f"127.0.0.1:{port}",
                "host": "127.0.0.1",
                "port": free_port(),
                "node-config": f'data="{folder / name}.npz"',
            }
            stack.enter_context(
                stock("flower-supernode", arguments, "--insecure", home=folder / name)
            )
        time.sleep(12)
        start = MODEL.start(MODEL.spec(SITES))
        np.save(folder / "start.npy", start)
        return [
            one_of_theirs(folder, app, port, auroc, rounds=rounds, sigma=sigma, out=f"run-{run}")
            for run in range(runs)
        ]


def one_of_theirs(folder, app, port, auroc, *, rounds, sigma, out):
    home = folder / "cli"
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "127.0.0.1:{port}"\n'
        "insecure = true\n"
    )
    config = (
        f"num-rounds={rounds} sigma={sigma!r} norm={NORM} rate={RATE} lr={RATE_OF_LEARNING} "
        f'start="{folder / "start.npy"}" out="{folder / out}"'
    )
    environment = {
        **os.environ, "FLWR_HOME": str(home), "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1", "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    (folder / out).mkdir()
    # File times are of this clock; a monotonic one is not shared with their processes.
    begun = time.time()
    done = subprocess.run(
        [str(BIN / "flwr"), "run", str(app), "here", "--stream", "-c", config],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    found = sorted((folder / out).glob("round-*.npy"))
    if len(found) != rounds:
        logs = "\n".join(p.read_text(errors="replace")[-1500:] for p in folder.glob("*/log"))
        said = (done.stdout + done.stderr)[-3000:]
        raise SystemExit(f"stock Flower did not finish: {said}{logs}")
    return [(path.stat().st_mtime - begun, auroc(np.load(path))) for path in found]


def reached(course, level):
    return next(seconds for seconds, auroc in course if auroc >= level)


def compare(mine, them):
    level = min(course[-1][1] for course in (*mine, *them))
    mine_s = statistics.median(reached(course, level) for course in mine)
    them_s = statistics.median(reached(course, level) for course in them)
    released = statistics.median(course[-1][0] for course in mine)
    return {
        "epsilon": EPSILON,
        "delta": DELTA,
        "auroc_level": round(level, 4),
        "auroc_start": round(auroc_of()(MODEL.start(MODEL.spec(SITES))), 4),
        "ours": {
            "reached_s": round(mine_s, 2),
            "released_s": round(released, 2),
            "auroc_final": [round(course[-1][1], 4) for course in mine],
        },
        "stock_flower_opacus": {
            "reached_s": round(them_s, 2),
            "all_rounds_s": round(statistics.median(course[-1][0] for course in them), 2),
            "auroc_final": [round(course[-1][1], 4) for course in them],
        },
        "times_faster_to_level": round(them_s / mine_s, 1),
        "times_faster_released_to_level": round(them_s / released, 1),
        "load_average": round(os.getloadavg()[0], 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of stock Flower")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "ours").mkdir()
        data, mine = ours(Path(name) / "ours", given.runs)
        them = theirs(Path(name) / "theirs", data, given.runs, given.rounds)
    result = {"schema": "twinward/benchmark/time_to_auroc/v1", **compare(mine, them)}
    if given.json:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            print(f"{key}: {value}")


if __name__ == "__main__":
    main()
