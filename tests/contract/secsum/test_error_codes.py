"""The codes of secure sum: each in the documentation, each in the code."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
SOURCES = [
    *ROOT.glob("twinward/secsum/*.py"),
    *ROOT.glob("hospital_node/secure_sum*.py"),
    *ROOT.glob("server/secure_sum*.py"),
    ROOT / "server" / "transcript.py",
]


def test_every_code_that_can_be_raised_is_documented_and_the_reverse():
    raised = set()
    for path in SOURCES:
        raised |= set(re.findall(r'code="(TW\d{4})"', path.read_text()))
    text = "".join(path.read_text() for path in (ROOT / "docs").glob("errors*/*.md"))
    text += (ROOT / "docs" / "errors.md").read_text() if (ROOT / "docs/errors.md").exists() else ""
    documented = set(re.findall(r"^\| (TW61\d\d) \|", text, re.MULTILINE))
    assert raised == documented
