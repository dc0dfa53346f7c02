"""A drill: coordinator and nodes are killed or stopped at random moments while studies run.

Every study has to complete or to end with a named cause, without a manual step but starting the
process again (systemd's part); every vector that anyone holds has to be charged in book and
ledger; every release that was acknowledged has to verify. Made-up patients, processes as in
production. Takes 10 to 20 s a kill.
"""

import argparse
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from server.paths import ServerPaths
from tests.simulators.network import COORDINATOR, SLACK, running_network
from tests.simulators.resumption import (
    ENDED,
    entry,
    is_proved,
    queue,
    require_no_spend_lost,
    wait_ended,
)

AHEAD = 3
"""Studies that run or wait at any moment."""
LOOK_SECONDS = 0.1
STOP_SECONDS = 30
"""After which systemd kills what it stops, by the units in `docker/systemd`."""


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=10, help="Hospitals killed or stopped.")
    parser.add_argument("--coordinator", type=int, default=5, help="Coordinators killed.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=30.0, help="Stop killing after these.")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    with (
        tempfile.TemporaryDirectory(prefix="tw-drill-") as folder,
        running_network(Path(folder)) as network,
    ):
        found = drill(network, options)
    if options.json:
        print(json.dumps({"drill": "killed_at_random", **found}, sort_keys=True))
    else:
        print("\n".join(f"{name}: {value}" for name, value in found.items()))
    return 0 if found["unexplained"] == 0 and found["damaged"] == 0 else 1


def drill(network, options):
    """Kill so often, then let everything end; what came of it."""
    moments = random.Random(options.seed)
    blows = ["node"] * options.nodes + [COORDINATOR] * options.coordinator
    moments.shuffle(blows)
    numbers, made, late, until = [], [], 0, time.monotonic() + 60 * options.minutes
    with sealed_steps(network) as sealed:
        for blow in blows:
            if time.monotonic() > until:
                break
            keep_queue(network, numbers)
            time.sleep(moments.uniform(0.0, 6.0))
            victim = COORDINATOR if blow == COORDINATOR else moments.choice(network.hospitals)
            end = moments.choice(("kill", "stop")) if blow == "node" else "kill"
            made.append((blow, end, time.monotonic()))
            late += not ended_by(network, victim, end)
            time.sleep(moments.uniform(0.0, 2.0))
            network.up(victim)  # returns once it is healthy, however often Flower refused it
            states = [entry(network, number)["state"] for number in numbers]
            print(f"{len(made)} {end} {victim}: {states}", file=sys.stderr, flush=True)
        keep_queue(network, numbers)
        network.heal()
        ended = [wait_ended(network, number, seconds=3 * SLACK) for number in numbers]
    recovered = [
        (blow, next((step for step in sealed if step > at), None), at) for blow, _, at in made
    ]
    done = [one["run"] for one in ended if one["state"] == "done"]
    damaged = sum(not is_proved(network, run) for run in done)
    return {
        "nodes_killed": sum((blow, end) == ("node", "kill") for blow, end, _ in made),
        "nodes_stopped": sum((blow, end) == ("node", "stop") for blow, end, _ in made),
        "stopped_too_slowly": late,
        "coordinator_killed": sum(blow == COORDINATOR for blow, _, _ in made),
        "seed": options.seed,
        "studies": len(ended),
        "done": len(done),
        "done_with_figures": sum(is_measured(network, run) for run in done),
        "done_by_a_successor": sum(one["state"] == "done" and bool(one["parent"]) for one in ended),
        "parked": sorted(one["code"] or "?" for one in ended if one["state"] == "parked"),
        "unexplained": sum(one["state"] != "done" and not one["cause"] for one in ended),
        "damaged": damaged,
        "vectors_charged": require_no_spend_lost(network),
        "recovery_seconds": {
            who: in_short([step - at for blow, step, at in recovered if blow == who and step])
            for who in ("node", COORDINATOR)
        },
        "load": round(os.getloadavg()[0], 1),
    }


def ended_by(network, victim, how):
    """Kill -9, or stop as systemd does; whether it had ended when systemd loses patience."""
    if how == "stop":
        process = network.stage.running[victim]
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    in_time = how == "kill" or network.stage.running[victim].poll() is not None
    network.kill(victim)
    return in_time


def keep_queue(network, numbers):
    """Enough studies run or wait, so that a blow meets one."""
    open_ones = sum(entry(network, number)["state"] not in ENDED for number in numbers)
    for _ in range(AHEAD - open_ones):
        numbers.append(queue(network, "add", "--study", network.study)["number"])


@contextmanager
def sealed_steps(network):
    """The moments, by the monotonic clock, at which steps were found sealed; grows by itself."""
    found, counts, over = [], {}, threading.Event()
    place = ServerPaths(network.folder / COORDINATOR).transcripts

    def look():
        while not over.wait(LOOK_SECONDS):
            newest = sorted(place.glob("*.sqlite"), key=lambda path: path.stat().st_ctime)[-2:]
            for path in newest:
                count = sealed_in(path)
                if count > counts.get(path.stem, 0):
                    found.append(time.monotonic())
                    counts[path.stem] = count

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield found
    finally:
        over.set()
        looking.join()


def sealed_in(path):
    """How many steps of a run are sealed; none while its file is being made."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return db.execute("select count(*) from attempt where sum is not null").fetchone()[0]
    except sqlite3.Error:
        return 0


def is_measured(network, run):
    """Whether the model of a run was released with figures."""
    place = network.folder / COORDINATOR / "releases" / run[:16]
    return json.loads((place / "evaluation.json").read_bytes())["missing"] is None


def in_short(seconds):
    """Median and most of some times."""
    if not seconds:
        return None
    return {"median": round(statistics.median(seconds), 1), "max": round(max(seconds), 1)}


if __name__ == "__main__":
    sys.exit(main())
