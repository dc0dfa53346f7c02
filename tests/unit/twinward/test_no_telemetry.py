"""Commands that need no network ask nobody: no name is resolved, no connection begun."""

import os
import shutil
import subprocess
import sys

import pytest

WATCHED = """
import sys
def watch(event, args):
    if event in {"socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}:
        print("ASKED", event, args, file=sys.stderr)
    if event == "socket.connect" and not isinstance(args[1], (str, bytes)):
        print("ASKED", event, args, file=sys.stderr)
sys.addaudithook(watch)
import twinward.demo.acts, hospital_node.supervise, server.supervise
from twinward.__main__ import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("demo", "--help"), None),
        (("node", "status", "{folder}"), "TW1050"),
        (("node", "support-bundle", "{folder}", "{folder}/b.zip"), "TW1050"),
    ],
)
def test_nothing_is_asked_for_outside(tmp_path, words, code):
    program = [sys.executable, "-c", WATCHED, *(w.format(folder=tmp_path) for w in words)]
    alone = [shutil.which("unshare") or "unshare", "--map-root-user", "--net"]
    if subprocess.run([*alone, "true"], capture_output=True).returncode == 0:
        program = [*alone, *program]  # a machine without any network, also for what is not Python
    environment = {key: value for key, value in os.environ.items() if "FLWR" not in key}
    done = subprocess.run(program, capture_output=True, text=True, env=environment, timeout=60)
    assert "ASKED" not in done.stderr
    if code is None:
        assert done.returncode == 0, done.stderr
    else:
        assert code in done.stdout + done.stderr
