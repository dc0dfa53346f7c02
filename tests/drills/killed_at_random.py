"""A drill: the coordinator, or a node, is killed at random moments while a queue of studies runs.

Every study has to complete or to end with a named cause, without a manual step but starting the
killed process again (systemd's part); every vector that anyone holds has to be charged in book and
ledger; every release that was acknowledged has to verify. Made-up patients, processes as in
production. Takes 10 to 20 s a kill.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.simulators.network import COORDINATOR, SLACK, running_network
from tests.simulators.resumption import (
    ENDED,
    entry,
    is_proved,
    queue,
    require_no_spend_lost,
    wait_ended,
)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--who", choices=("coordinator", "nodes"), default="coordinator")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=6.0, help="Stop killing after these.")
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
    numbers, kills, victims = [], 0, []
    until = time.monotonic() + 60 * options.minutes
    while kills < options.kills and time.monotonic() < until:
        if not numbers or entry(network, numbers[-1])["state"] in ENDED:
            numbers.append(queue(network, "add", "--study", network.study)["number"])
        time.sleep(moments.uniform(0.0, 6.0))
        victim = COORDINATOR
        if options.who == "nodes":
            victim = moments.choice(network.hospitals)
        network.kill(victim)
        time.sleep(moments.uniform(0.0, 2.0))
        network.up(victim)  # returns once it is healthy, however often Flower refused it
        victims.append(victim)
        kills += 1
    network.heal()
    ended = [wait_ended(network, number, seconds=3 * SLACK) for number in numbers]
    damaged = sum(not is_proved(network, one["run"]) for one in ended if one["state"] == "done")
    return {
        "who": options.who,
        "kills": kills,
        "studies": len(ended),
        "done": sum(one["state"] == "done" for one in ended),
        "parked": sorted(one["code"] or "?" for one in ended if one["state"] == "parked"),
        "unexplained": sum(one["state"] != "done" and not one["cause"] for one in ended),
        "damaged": damaged,
        "vectors_charged": require_no_spend_lost(network),
    }


if __name__ == "__main__":
    sys.exit(main())
