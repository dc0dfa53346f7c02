"""From the first command to an active member: four hospitals and a coordinator on five machines.

    python tests/benchmarks/joining.py [--json]

Each stands in a network namespace with an address of its own, the coordinator behind a real nginx
on one name and one port; two of the hospitals go through a proxy that wants a password. The first
three found the network, which no token does: they are timed from `node init` to a node that is up,
healthy and seen by the coordinator. The fourth joins by its token, two endorsements included, timed
from `node join` to the same. Papers are handed over at once; what people take to read them, and to
say an identity by phone, is not in it. Of each, how much its own commands took is told beside.

The ratio is the slowest over the bar of 60 s. Needs root, nginx, tinyproxy, nftables.
"""

import argparse
import contextlib
import json
import os
import tempfile
import time
from pathlib import Path

import pytest

from tests.simulators.namespaces import (
    COORDINATOR,
    CREDENTIALS,
    DOOR,
    HOSPITALS,
    HUB,
    JOINING,
    STUDY,
    Machines,
    World,
    require_tools,
)
from tests.simulators.network import PATIENTS, eventually

BAR_SECONDS = 60.0


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    load = os.getloadavg()[0]
    try:
        require_tools()
    except pytest.skip.Exception as reason:
        print(json.dumps({"skipped": str(reason)}) if options.json else f"skipped: {reason}")
        return
    with tempfile.TemporaryDirectory(prefix="twinward-bench-") as folder:
        hospitals = measure(Path(folder))
    slowest = max(one["seconds"] for one in hospitals.values())
    report = {
        "schema": "twinward/benchmark.joining/v1",
        "load_before": round(load, 1),
        "cores": os.cpu_count(),
        "hospitals": hospitals,
        "bar_seconds": BAR_SECONDS,
        "ratio": round(slowest / BAR_SECONDS, 2),
    }
    if options.json:
        print(json.dumps(report))
        return
    for name, one in hospitals.items():
        print(
            f"{name:9} {one['how']:32} {one['seconds']:6.1f} s to active, of which own commands "
            f"{one['own_seconds']:.1f} s"
        )
    print(f"slowest over the bar of {BAR_SECONDS:.0f} s: {report['ratio']}")


def measure(folder):
    """Seconds of each hospital, by its name."""
    with Machines() as machines:
        world = World(folder, machines)
        with world.stage:
            try:
                founded = founding(world)
                return founded | {JOINING: by_token(world)}
            finally:
                world.stop_services()


def founding(world):
    """The first three: keys, one file that all sign, nodes up."""
    world.do("experiment", "virtual-hospitals", "data")
    for path in (world.folder / "data").iterdir():
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:PATIENTS]))
    world.do("server", "init", COORDINATOR, "--network", "demo", "--front-door", f"{HUB}:{DOOR}")
    began, own = {}, dict.fromkeys(HOSPITALS, 0.0)

    def at(name, *words):
        with timed(own, name):
            world.do("node", words[0], name, *words[1:])

    for name in HOSPITALS:
        began[name] = time.perf_counter()
        at(name, "init", "--name", name, "--data", data(name), "--study", STUDY)
        world.give_forwarder(name)
    requests = [f"{name}/{name}.request.json" for name in HOSPITALS]
    world.do("server", "found", COORDINATOR, *requests)
    for name in HOSPITALS:
        at(name, "sign", f"{COORDINATOR}/founding.draft.json")
    signed = [f"--signed={name}/founding.{name}.json" for name in HOSPITALS]
    world.do("server", "found", COORDINATOR, *signed)
    world.do("server", "front-door", COORDINATOR)
    world.start_services()
    world.up(COORDINATOR)
    for name in HOSPITALS:
        at(name, "accept", f"{COORDINATOR}/founding.json")
    ended = {}
    for name in HOSPITALS:
        with timed(own, name):
            active(world, name)
        ended[name] = time.perf_counter()
    return {
        name: said("founds, from `node init`", ended[name] - began[name], own[name])
        for name in HOSPITALS
    }


def by_token(world):
    """The fourth: one command, behind the proxy, and two hospitals that endorse it."""
    own = {JOINING: 0.0}
    token = world.do("server", "invite", COORDINATOR, JOINING)["token"]
    words = (
        "node", "join", JOINING, token, "--data", data(HOSPITALS[0]), "--study", STUDY,
        "--proxy", "http://proxy.test:3128", "--proxy-credentials",
        world.secret("abbey.proxy", CREDENTIALS),
    )  # fmt: skip
    began = time.perf_counter()
    process = world.stage.begin(*words)
    eventually(lambda: world.is_asking(JOINING))
    with timed(own, "endorsing"):
        (asking,) = world.do("node", "endorse", HOSPITALS[0])["candidates"]
        for name in HOSPITALS[:2]:
            world.do("node", "endorse", name, JOINING, "--identity", asking["identity"])
    assert world.stage.finish(process, words[:3])["active"]
    active(world, JOINING)
    seconds = time.perf_counter() - began
    return said("joins by token, behind a proxy", seconds, seconds - own["endorsing"])


def active(world, name):
    """Its node is up, healthy, and the coordinator hears it."""
    world.begin(name)
    world.wait_healthy(name)
    eventually(lambda: name in heard(world))


def heard(world):
    """The hospitals whose nodes call the coordinator."""
    members = world.do("server", "status", COORDINATOR)["members"]
    return {one["org"] for one in members if one["seen_seconds_ago"] is not None}


def data(name):
    return f"data/processed.{name}.data"


def said(how, seconds, own):
    return {"how": how, "seconds": round(seconds, 1), "own_seconds": round(own, 1)}


@contextlib.contextmanager
def timed(into, name):
    """Adds what a block took."""
    began = time.perf_counter()
    yield
    into[name] = into.get(name, 0.0) + time.perf_counter() - began


if __name__ == "__main__":
    main()
