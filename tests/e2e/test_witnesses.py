"""Hospitals' own ledger nodes in a whole network: they follow, co-sign, and compare."""

import json
import os
import signal

import pytest

from ledger import verify
from tests.simulators.network import command_line, eventually, twinward

pytestmark = pytest.mark.slow


def own_ledger(network, name):
    """Process id of the following ledger node of a hospital; None while there is none."""
    children = network.children_of(network.pid(name))
    return next((pid for pid in children if "--follow" in command_line(pid)), None)


def all_co_sign(network):
    """Every hospital sees every hospital's signature over the newest block."""

    def agreed():
        found = [network.status(name)["ledger"] for name in network.hospitals]
        return all(
            one["witnesses"] == len(network.hospitals) and one["witness"]["trouble"] is None
            for one in found
        )

    eventually(agreed, note=lambda: [network.status(n)["ledger"] for n in network.hospitals])


def test_every_hospital_executes_and_co_signs_and_the_pack_says_so(network):
    all_co_sign(network)
    run = network.complete_run()
    data = (network.folder / run.release["pack"]).read_bytes()
    report = verify.verify_bytes(data)
    assert report.ok
    (note,) = [note for note in report.notes if "1 operator" in note]
    names = ", ".join(sorted(network.hospitals))
    assert note.endswith(f"1 operator, 4 witnesses ({names})")
    log = (network.folder / network.hospitals[0] / "state" / "egress.jsonl").read_text()
    assert any(json.loads(line)["kind"] == "co-signature" for line in log.splitlines())


def test_a_killed_follower_is_started_again_and_goes_on(network):
    all_co_sign(network)
    name = network.hospitals[0]
    pid = own_ledger(network, name)
    before = network.status(name)["ledger"]["witness"]["block"]
    os.kill(pid, signal.SIGKILL)
    network.withdraw(network.granted(name)[0])
    eventually(lambda: own_ledger(network, name) not in {pid, None})
    eventually(lambda: network.status(name)["ledger"]["witness"]["block"] > before)
    all_co_sign(network)


def test_two_hospitals_compare_what_they_were_shown(network):
    all_co_sign(network)
    one, two = network.hospitals[:2]
    for name in (one, two):
        status, found = twinward(
            network.folder, "node", "statements", name, "--out", f"{name}.statements"
        )
        assert status == 0, found
        assert found["tips"] > 0
        assert found["headers"] > 0
    words = (f"{one}.statements", f"{two}.statements", "--founding", f"{one}/founding.json")
    status, found = twinward(network.folder, "ledger", "fork", *words, "--out", "evidence.zip")
    assert (status, found["fork"]) == (0, False)
    assert not (network.folder / "evidence.zip").exists()


def test_the_check_of_a_running_nodes_ledger_finds_nothing(network):
    for place in ("coordinator/state/ledger", f"{network.hospitals[0]}/state/ledger"):
        status, found = twinward(network.folder, "ledger", "check", place)
        assert status == 0, found
