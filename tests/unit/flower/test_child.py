"""Child processes: what they inherit, and that nothing of them is left."""

import time
from pathlib import Path

from twinward.child import Child, scrubbed_environment


def test_no_secret_and_no_proxy_is_passed_on(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("A_TOKEN", "secret")
    given = scrubbed_environment({"FLWR_HOME": "/home"})
    assert {"HTTPS_PROXY", "PYTHONPATH", "A_TOKEN"}.isdisjoint(given)
    assert given["FLWR_HOME"] == "/home"
    assert "PATH" in given


def test_a_module_beside_the_child_does_not_replace_an_installed_one(tmp_path):
    (tmp_path / "this.py").write_text("print('shadowed')\n")  # the standard library has one too
    child = Child(
        "this", environment=scrubbed_environment({}), log=tmp_path / "log", folder=tmp_path
    )
    child.start()
    deadline = time.monotonic() + 20
    while child.exit_status() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    child.kill()
    assert child.exit_status() == 0
    assert "Beautiful is better" in (tmp_path / "log").read_text()
    assert "shadowed" not in (tmp_path / "log").read_text()
    assert (tmp_path / "log").stat().st_mode & 0o077 == 0


def test_after_stop_nothing_of_its_session_is_left(tmp_path):
    """A child that will not end when asked, and that started a process of its own."""
    program = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "other = os.fork()\n"
        "print(other, flush=True) if other else None\n"
        "time.sleep(60)"
    )
    child = Child(
        "timeit",  # of the standard library: runs the code that it is given
        ["-n", "1", "-r", "1", program],
        environment=scrubbed_environment({}),
        log=tmp_path / "log",
        folder=tmp_path,
    )
    child.start()
    deadline = time.monotonic() + 20
    while not (tmp_path / "log").read_text().strip() and time.monotonic() < deadline:
        time.sleep(0.02)
    pid, other = child.pid, int((tmp_path / "log").read_text())
    assert alive(pid)
    assert alive(other)
    child.stop(grace=0.3)
    assert child.pid is None
    while alive(other) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pid)
    assert not alive(other)
    child.stop()  # nothing to do is success
    child.wake()  # a dead child hears nothing, and nobody minds


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
