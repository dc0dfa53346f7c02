"""The table of attacks in the documentation: each names a test that is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "tests" / "privacy" / "secsum"
TEXT = (ROOT / "docs" / "secure_sum.md").read_text(encoding="utf-8")


def documented():
    """Names of files and of tests in the table, a file's name before its first test."""
    table = TEXT[TEXT.index("| attack | test |") : TEXT.index("All are in `tests/privacy/secsum/`")]
    where = None
    for file, test in re.findall(r"`(?:(test_\w+\.py): )?(test_\w+)`", table):
        where = file or where
        yield where, test


def test_every_documented_attack_is_a_test_of_that_file():
    named = list(documented())
    assert len(named) > 30
    lost = [
        f"{file}: {test}"
        for file, test in named
        if f"def {test}(" not in (FOLDER / file).read_text(encoding="utf-8")
    ]
    assert lost == []


def test_every_file_of_attacks_is_documented():
    assert {file for file, _ in documented()} == {path.name for path in FOLDER.glob("test_*.py")}
