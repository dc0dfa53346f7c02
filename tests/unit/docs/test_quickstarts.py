"""The three quickstarts of the README, run as they are written, in their order."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.docs.commands import ROOT
from twinward.demo.stage import free_ports

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
SECONDS = 240


def blocks(title):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)
    assert found, f"the README has no section {title}"
    return BLOCK.findall(found[1])


def on_free_ports(script):
    """The same commands on ports that nobody uses here; the README shows the default ones."""
    first = free_ports(4 + 6)
    for command, port in (
        ("server init coordinator", first),
        ("node init harbour", first + 4),
        ("node init meadow", first + 6),
        ("node init summit", first + 8),
    ):
        script, changed = re.subn(
            rf"(twinward {command} [^\n]*?)( --base-port \d+)?$",
            rf"\1 --base-port {port}",
            script,
            flags=re.MULTILINE,
        )
        assert changed == 1, command
    return script


def end_group(group):
    """Stop the daemons that the quickstart left running, as a person would; then make sure."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        for _ in range(100):
            time.sleep(0.1)
            os.killpg(group, 0)
        os.killpg(group, signal.SIGKILL)


@pytest.mark.slow
def test_hospital_patient_and_auditor_can_do_what_the_readme_says(tmp_path):
    found, run, look = blocks("Quickstart: hospital IT")
    one_patient, others = blocks("Quickstart: patient")
    verify, ask = blocks("Quickstart: auditor")
    answers = one_patient.replace("twinward consent grant", "yes | twinward consent grant")
    # A grant widens nothing until the ledger shows it.
    wait = "until twinward node status summit | grep -Eq '[1-9][0-9]* patients permit'; do :; done"
    script = "\n".join([on_free_ports(found), answers, others, wait, run, look, verify, ask])
    (tmp_path / "quickstart.sh").write_text("set -e\n" + script)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = subprocess.Popen(
        ["bash", "quickstart.sh"],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said = process.communicate(timeout=SECONDS)[0].decode()
    finally:
        end_group(process.pid)
        process.wait()
    assert process.returncode == 0, said[-3000:]
    assert "1 granted" in said
    assert "withdrawn-here" in said
    assert "all 3 members signed the same model" in said
    assert "evidence: verified" in said
    assert "PASS" in said
