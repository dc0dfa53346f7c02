"""A study whose members stand on machines of their own: front door, proxy, and bad cables."""

import contextlib
import json
import re
import socket
import subprocess
import sys

import pytest

from tests.simulators.namespaces import BEHIND_PROXY, COORDINATOR, HOSPITALS, PROXY, run
from tests.simulators.network import SLACK

pytestmark = pytest.mark.slow
NOT_CONNECTED = 7  # of curl


def heal(world):
    for name in HOSPITALS:
        world.wait_healthy(name)


def test_a_study_runs_through_the_front_door_and_for_one_through_a_proxy_with_a_password(world):
    heal(world)
    outcome = world.run().end()
    assert outcome.release, outcome.last
    assert set(outcome.release["members"]) == set(HOSPITALS)
    # The one behind the proxy has come by no other way, and the password is in no log.
    log = (world.folder / COORDINATOR / "front_door" / "access.log").read_text()
    seen = dict(re.findall(r'(?m)^\S+ (\S+) "CN=(\w+)"', log))
    ways = {name: {a for a, who in seen.items() if who == name} for name in HOSPITALS}
    assert ways[BEHIND_PROXY] == {world.machines.address(PROXY)}
    for path in world.folder.rglob("*.log"):
        assert b"opensesame" not in path.read_bytes(), path


def test_what_is_in_the_way_of_a_hospital_is_named(world):
    def way_out(name):
        words = (sys.executable, "-m", "twinward", "node", "way-out", name, "--json")
        done = subprocess.run(
            [*world.machines.exec_at(name), *words],
            cwd=world.folder,
            capture_output=True,
            text=True,
            timeout=SLACK,
        )
        return done.returncode, json.loads(done.stdout)

    status, found = way_out(BEHIND_PROXY)
    assert status == 0
    assert found["open"]
    secret = world.folder / BEHIND_PROXY / "secrets" / "proxy"
    right = secret.read_text()
    secret.write_text("hospital:wrong\n")
    try:
        status, found = way_out(BEHIND_PROXY)
    finally:
        secret.write_text(right)
    assert (status, found["error"]["code"]) == (5, "TW6064")


def test_firewall_rules_that_are_shipped_let_the_node_out_to_one_place_only(world):
    machines, name = world.machines, "harbour"
    files = world.do("node", "firewall", name, "--user", "nobody", "--out", "rules")["files"]
    rules = world.folder / files[0]

    def reaches(place, port):
        words = [*machines.exec_at(name), "setpriv", "--reuid", "nobody", "--clear-groups"]
        words += [
            "curl",
            "-s",
            "-o",
            "/dev/null",
            "-m",
            "3",
            f"http://{machines.address(place)}:{port}",
        ]
        return run(*words, check=False).returncode != NOT_CONNECTED

    with contextlib.closing(machines.within(PROXY, lambda: socket.create_server(("", 443)))):
        before = [reaches(COORDINATOR, 443), reaches(PROXY, 443), reaches(PROXY, 3128)]
        run(*machines.exec_at(name), "nft", "-f", str(rules))
        try:
            after = [reaches(COORDINATOR, 443), reaches(PROXY, 443), reaches(PROXY, 3128)]
        finally:
            run(*machines.exec_at(name), "nft", "delete", "table", "inet", "twinward")
    assert before == [True, True, True]
    assert after == [True, False, False]
    unit = (world.folder / files[1]).read_text()
    assert f"IPAddressAllow={machines.address(COORDINATOR)}" in unit
    assert "IPAddressDeny=any" in unit
