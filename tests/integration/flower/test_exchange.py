"""One exchange over a real SuperLink and four real SuperNodes: TLS, node keys, code-less bundle."""

import contextlib
import os
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    # Flower imports an older typer, which imports a name that click has announced to remove.
    pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning"),
]


def mapped_files(pid):
    return Path(f"/proc/{pid}/maps").read_text()


def session_of(pid):
    """Every process of the child's session: the launcher, its executor, its apps."""
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _session(int(entry.name)) == pid
    ]


def _session(pid):
    with contextlib.suppress(OSError):
        if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
            return os.getsid(pid)
    return None


def test_every_node_gets_the_opening_and_every_closing_comes_back(network, sites):
    run, _ = network.run(wanted=4)
    assert network.stand_in.finished.wait(60)
    assert network.stand_in.openings >= 1
    assert network.stand_in.closed == ["aa", "bb", "cc", "dd"]
    for site in sites:
        assert [request for _, request in site.daemon.calls] == [network.stand_in.opening]
    network.wait_finished(run, seconds=45)


def test_a_second_run_goes_the_same_way(network, sites):
    run, _ = network.run(wanted=4)
    assert network.stand_in.finished.wait(60)
    assert network.stand_in.closed == ["aa", "bb", "cc", "dd"]
    network.wait_finished(run, seconds=45)


def test_no_process_that_flower_starts_loads_torch(network, sites):
    sites[0].daemon.expect(seconds=5.0)  # while every process is looked at
    run, _ = network.run(wanted=4)
    assert sites[0].daemon.called.wait(60)
    processes = session_of(sites[0].node.pid) + session_of(network.superlink.pid)
    assert len(processes) >= 5  # two launchers, two executors, the app of the waiting node
    for pid in processes:
        assert "/torch/" not in mapped_files(pid)
    assert network.stand_in.finished.wait(60)
    network.wait_finished(run, seconds=45)


def test_no_secret_stands_on_a_command_line_or_in_the_world_readable(network, sites):
    token = sites[0].address.token_file.read_text()
    for pid in session_of(sites[0].node.pid):
        assert token not in Path(f"/proc/{pid}/cmdline").read_text()
    for folder in (sites[0].home.folder / "flower", network.coordinator.folder / "flower"):
        assert folder.stat().st_mode & 0o077 == 0
        assert (folder / "executor.secret").stat().st_mode & 0o077 == 0


def test_the_phone_home_switches_are_off_in_every_process(network, sites):
    for pid in session_of(sites[0].node.pid) + session_of(network.superlink.pid):
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        assert b"FLWR_TELEMETRY_ENABLED=0" in environment
        assert b"FLWR_DISABLE_UPDATE_CHECK=1" in environment
        assert not [line for line in environment if b"PROXY" in line.upper()]


def test_a_refusal_of_one_daemon_tells_the_coordinator_no_reason(network, sites):
    sites[3].daemon.expect(refusal="only 7 patients consented")
    run, _ = network.run(wanted=9)
    network.wait_finished(run, seconds=45)  # everyone has answered: nobody is waited for
    assert network.stand_in.closed == ["aa", "bb", "cc"]
    assert sites[3].daemon.called.is_set()
    log = (network.coordinator.folder / "flower" / "superlink.log").read_text()
    database = (network.coordinator.folder / "flower" / "superlink.db").read_bytes()
    wal = network.coordinator.folder / "flower" / "superlink.db-wal"
    seen = log.encode() + database + (wal.read_bytes() if wal.exists() else b"")
    assert b"7 patients" not in seen
    assert "only 7 patients" in (sites[3].home.folder / "flower" / "supernode.log").read_text()


def test_a_run_that_the_coordinator_stops_ends_at_flower_too(network, sites):
    for site in sites:
        site.daemon.expect(seconds=3)
    run, _ = network.run(wanted=4)
    assert sites[0].daemon.called.wait(60)
    network.superlink.stop_run(run)
    network.wait_finished(run, seconds=45)
    network.superlink.stop_run(run)  # nothing to do is success
    assert network.stand_in.closings == []
    time.sleep(3.5)  # the daemons' answers go nowhere
    assert network.stand_in.closings == []


def test_registering_again_changes_nothing(network, sites):
    network.superlink.enrol({site.org: site.public_key for site in sites})
    assert network.superlink.online() == {site.org for site in sites}
