"""A hospital behind a proxy that wants a password joins through the front door, in one command."""

import json
import subprocess
import sys
import time

import pytest

from tests.simulators.namespaces import COORDINATOR, CREDENTIALS, JOINING, PROXY
from tests.simulators.network import SLACK, eventually

pytestmark = pytest.mark.slow
BAR_SECONDS = 60.0
ENDORSING = ("harbour", "meadow")


def ask(world, *words):
    """A command of the joining hospital, on its machine: exit status and object."""
    done = subprocess.run(
        [*world.machines.exec_at(JOINING), sys.executable, "-m", "twinward", *words, "--json"],
        cwd=world.folder,
        capture_output=True,
        text=True,
        timeout=SLACK,
    )
    return done.returncode, json.loads(done.stdout)


def checks(world):
    _, found = ask(world, "node", "doctor", JOINING)
    return {one["check"]: (one["result"], one["code"]) for one in found["checks"]}


def test_a_hospital_behind_a_proxy_joins_in_one_command_and_its_doctor_goes_the_same_way(world):
    join = ("node", "join", JOINING)
    token = world.do("server", "invite", COORDINATOR, JOINING)["token"]
    words = (*join, token, "--data", "data/processed.harbour.data", "--study", "heart-risk")
    proxied = (*words, "--proxy", "http://proxy.test:3128", "--proxy-credentials")
    # What is in the way is named before anything is made; the token is not used up by it.
    assert ask(world, *words)[1]["error"]["code"] == "TW6021"
    wrong = world.secret("wrong.proxy", "hospital:wrong\n")
    status, found = ask(world, *proxied, wrong)
    assert (status, found["error"]["code"]) == (5, "TW6064")
    assert not (world.folder / JOINING / "secrets").exists()

    begun = time.monotonic()
    process = world.stage.begin(*proxied, world.secret("abbey.proxy", CREDENTIALS))
    eventually(lambda: world.is_asking(JOINING))
    process.kill()
    process.communicate()
    process = world.stage.begin(*join)  # goes on, by what `node.toml` says now
    (asking,) = world.do("node", "endorse", ENDORSING[0])["candidates"]
    for name in ENDORSING:
        world.do("node", "endorse", name, JOINING, "--identity", asking["identity"])
    found = world.stage.finish(process, join)
    seconds = time.monotonic() - begun
    assert found["active"]
    assert [one["check"] for one in found["faults"]] == []
    assert seconds < BAR_SECONDS
    print(f"joined through proxy and front door in {seconds:.1f} s, two endorsements included")

    # Nothing of it came by another way, and the doctor says which way it is.
    seen = (world.folder / COORDINATOR / "front_door" / "access.log").read_text()
    by = {line.split()[1] for line in seen.splitlines() if f"CN={JOINING}" in line}
    assert by == {world.machines.address(PROXY)}
    found = checks(world)
    assert {found[name] for name in ("names", "way out", "coordinator TLS", "clock", "ledger")} == {
        ("ok", None)
    }
    (world.folder / "abbey.proxy").write_text("hospital:wrong\n")
    found = checks(world)
    assert found["way out"] == ("fault", "TW6064")
    assert found["ledger"] == ("not checked", None)
    for path in world.folder.rglob("*.log"):
        assert b"opensesame" not in path.read_bytes(), path
