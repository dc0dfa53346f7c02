"""A drill: one study after the other over cables that are pulled, slow, or lose frames.

Three hospitals, coordinator, nginx and a proxy on machines of their own (network namespaces; needs
root). Every study has to be released or to end with a named cause; between them nobody lifts a
finger. Made-up patients, processes as in production. Takes about ten minutes.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.simulators.namespaces import BEHIND_PROXY, HOSPITALS, running_world

FAULTS = (
    ("nothing", "harbour", {}),
    ("50 ms", "harbour", {"delay": 0.05}),
    ("500 ms", "harbour", {"delay": 0.5}),
    ("2 s", "harbour", {"delay": 2.0}),
    ("10 % loss", "meadow", {"loss": 0.1}),
    ("10 % loss behind the proxy", BEHIND_PROXY, {"loss": 0.1}),
    ("30 % loss", "meadow", {"loss": 0.3}),
    ("pulled for 4 s", "harbour", {"cut": 4.0}),
    ("pulled for 20 s", "meadow", {"cut": 20.0}),
    ("pulled for 20 s behind the proxy", BEHIND_PROXY, {"cut": 20.0}),
    ("nothing again", "harbour", {}),
)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", help="Names of faults (repeatable).")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    chosen = [one for one in FAULTS if not options.only or one[0] in options.only]
    with (
        tempfile.TemporaryDirectory(prefix="tw-drill-") as folder,
        running_world(Path(folder)) as world,
    ):
        found = [study(world, *one) for one in chosen]
    if options.json:
        print(json.dumps({"drill": "bad_links", "studies": found}, sort_keys=True))
    else:
        for one in found:
            print(", ".join(f"{name}: {value}" for name, value in one.items()))
    return 0 if all(one["ended"] != "unexplained" for one in found) else 1


def study(world, fault, place, how):
    """One study with this fault in its way; what came of it."""
    begun = time.monotonic()
    for name in HOSPITALS:
        world.wait_healthy(name)
    healed = time.monotonic()
    with contextlib.ExitStack() as cables:
        if "delay" in how or "loss" in how:
            cables.enter_context(world.machines.bad_cable(place, **how))
        run = world.run()
        if "cut" in how:
            run.until("step", step=2)
            world.machines.cable(place, "down")
            back = threading.Timer(how["cut"], world.machines.cable, (place, "up"))
            back.start()
            cables.callback(back.join)
        outcome = run.end()
    steps = sorted(one["ms"] for one in outcome.of("step"))
    error = outcome.error or {}
    return {
        "fault": fault,
        "ended": "released" if outcome.release else error.get("code", "unexplained"),
        "members": len((outcome.release or {}).get("members", ())),
        "absent": [one for each in outcome.of("absent") for one in each["hospitals"]],
        "steps": len(steps),
        "lost": len(outcome.of("lost")),
        "median_ms": steps[len(steps) // 2] if steps else None,
        "seconds": round(time.monotonic() - healed, 1),
        "healing_seconds": round(healed - begun, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
