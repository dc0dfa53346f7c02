"""The table of what the source papers ask for says nothing that is not there."""

import re

import pytest

from tests.unit.docs.commands import ROOT

PAGE = ROOT / "docs" / "coverage.md"
STANDINGS = {"built", "partly", "refused", "not built yet"}
ROWS = [
    [cell.strip() for cell in line.strip("|\n ").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if re.match(r"\| S\d ", line)
]


def links(text):
    return re.findall(r"\]\(([^)]+)\)", text)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1][:40])
def test_each_item_has_a_test_or_a_reason(row):
    _, item, standing, where = row
    assert item
    assert standing in STANDINGS
    words = re.sub(r"\]\([^)]+\)", "", where)
    if standing in {"built", "partly"}:
        assert any("tests/" in link for link in links(where))
    else:
        assert len(words.split()) >= 5, "say why"
    if standing == "partly":
        assert re.search(r"missing|refused|\bno\b|\bnot\b", words), "say what is missing"
    for link in links(where):
        assert (PAGE.parent / link).resolve().is_file(), link


def test_nothing_of_the_sources_is_left_out():
    assert {source for row in ROWS for source in re.findall(r"S\d", row[0] + row[1])} == {
        "S0", "S1", "S2", "S3", "S4",
    }  # fmt: skip
    assert {row[2] for row in ROWS} <= STANDINGS
    assert len(ROWS) >= 40
