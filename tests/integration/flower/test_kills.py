"""kill -9 of what Flower runs: nobody waits for Flower's time-outs, everything comes back."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hospital_node.launcher import NODE_ID

pytestmark = [
    pytest.mark.slow,
    # Flower imports an older typer, which imports a name that click has announced to remove.
    pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning"),
]


def until(condition, *, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_killed_supernode_is_not_waited_for_and_is_back_for_the_next_run(network, sites):
    for site in sites[:3]:
        site.daemon.expect(seconds=1.0)
    sites[3].daemon.expect(seconds=600)
    run, _ = network.run(wanted=3)
    assert sites[3].daemon.called.wait(60)
    dead, killed = sites[3].node.pid, time.monotonic()
    os.kill(dead, signal.SIGKILL)
    assert network.stand_in.finished.wait(60)
    network.wait_finished(run, seconds=45)
    assert time.monotonic() - killed < 40  # Flower itself gives a dead node 50 s and more
    assert network.stand_in.closed == ["aa", "bb", "cc"]
    assert sites[3].daemon.cancelled.wait(30)  # its app ended with it

    until(lambda: sites[3].node.pid != dead and sites[3].node.is_online, seconds=60)
    for site in sites:
        site.daemon.expect()
    run, _ = network.run(wanted=4)
    assert network.stand_in.finished.wait(60)
    assert network.stand_in.closed == ["aa", "bb", "cc", "dd"]
    network.wait_finished(run, seconds=45)


def test_a_restart_that_the_superlink_refuses_is_tried_again(network, sites):
    """HTTP 412: Flower still believes in the killed session; here its id is lost for a while."""
    node, folder = sites[2].node, sites[2].home.folder / "flower"
    session, dead, log = (folder / NODE_ID).read_text(), node.pid, folder / "supernode.log"
    said, restarts = log.stat().st_size, node.restarts
    (folder / NODE_ID).unlink()
    os.kill(dead, signal.SIGKILL)

    def refusals():
        return log.read_text()[said:].count("Failed to initialize the connection")

    until(lambda: refusals() >= 1, seconds=60)
    (folder / NODE_ID).write_text(session)  # found again: the next start releases that session
    until(lambda: node.is_online, seconds=60)
    assert node.restarts >= restarts + 2
    run, _ = network.run(wanted=4)
    assert network.stand_in.finished.wait(60)
    network.wait_finished(run, seconds=45)


def test_a_killed_app_process_costs_one_reply_and_the_next_run_has_all(network, sites):
    """Flower alone sits a minute over the lost answer, deaf to the next message."""
    sites[1].daemon.expect(seconds=600)
    run, _ = network.run(wanted=3)
    assert sites[1].daemon.called.wait(60)
    launcher = sites[1].node.pid
    executor = children(launcher)[0]
    for app in children(executor):
        os.kill(app, signal.SIGKILL)
    assert network.stand_in.finished.wait(60)
    network.wait_finished(run, seconds=45)
    assert sites[1].daemon.cancelled.wait(30)

    until(lambda: sites[1].node.pid != launcher and sites[1].node.is_online, seconds=60)
    sites[1].daemon.expect()
    run, _ = network.run(wanted=4)
    assert network.stand_in.finished.wait(60)
    assert network.stand_in.closed == ["aa", "bb", "cc", "dd"]
    network.wait_finished(run, seconds=45)


def children(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def test_nothing_survives_the_death_of_the_daemon_that_started_it(network, sites, tmp_path):
    """kill -9 of the daemon: launcher, executor and SuperNode end by themselves."""
    orphan = network.add_site("orphan")
    network.superlink.enrol({site.org: site.public_key for site in [*sites, orphan]})
    program = f"""
import time
from pathlib import Path
from hospital_node.supervise import SuperNode
from twinward.rpc.local import LocalAddress
node = SuperNode(
    Path({str(tmp_path / "flower")!r}),
    superlink={network.superlink.address!r},
    ca=Path({str(network.coordinator.tls.ca)!r}),
    key=Path({str(orphan.home.flower_key)!r}),
    port={orphan.runtime_port},
    daemon=LocalAddress.of(Path({str(tmp_path)!r})),
)
node.start()
node.wait_online()
print(node.pid, flush=True)
time.sleep(60)
"""
    daemon = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    launcher = int(daemon.stdout.readline())
    executor = children(launcher)[0]
    assert "orphan" in network.superlink.online()
    daemon.kill()
    daemon.wait()
    daemon.stdout.close()
    until(lambda: not alive(launcher) and not alive(executor), seconds=60)
    assert "orphan" not in network.superlink.online()  # it said goodbye
    network.superlink.enrol({site.org: site.public_key for site in sites})


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
