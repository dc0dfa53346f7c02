"""The systemd units: what systemd itself says of them, and that they start commands that exist."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hospital_node.cli import node
from server.cli import server

UNITS = sorted((Path(__file__).parents[3] / "docker" / "systemd").glob("*.service"))
ANALYZE = shutil.which("systemd-analyze")
WORST_EXPOSURE = 15
"""Tenths, of 100: what systemd calls OK ends at 50."""


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_it_starts_a_command_that_exists_and_starts_it_again(unit):
    text = unit.read_text()
    (words,) = re.findall(r"^ExecStart=/opt/twinward/bin/twinward (.+)$", text, re.MULTILINE)
    role, command, folder = words.split()
    assert command in {"server": server, "node": node}[role].commands
    assert folder.startswith("/var/lib/twinward/")
    for line in ("Restart=always", "StartLimitIntervalSec=0", "IPAddressDeny=any"):
        assert line in text.splitlines()


@pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze on this machine")
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_systemd_takes_it_and_finds_little_exposed(unit, tmp_path):
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/twinward/bin/twinward", sys.executable))
    checked = subprocess.run([ANALYZE, "verify", copy], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    rated = subprocess.run(
        [ANALYZE, "security", "--offline=true", f"--threshold={WORST_EXPOSURE}", copy],
        capture_output=True, text=True,
    )  # fmt: skip
    assert rated.returncode == 0, rated.stdout[-400:] + rated.stderr


def test_there_is_one_for_each_role():
    assert [unit.stem for unit in UNITS] == ["twinward-node", "twinward-server"]
