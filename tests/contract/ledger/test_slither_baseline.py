"""What slither says of the contracts was reviewed, line by line; `make slither` looks for more."""

import json
import re
from pathlib import Path

from ledger.contracts import slither

ROOT = Path(__file__).parents[3]
ACCEPTED = json.loads(slither.BASELINE.read_text())


def test_a_new_finding_fails_and_so_does_one_that_is_gone_or_has_no_reason():
    assert slither.compare(ACCEPTED, ACCEPTED) == []
    new = {"check": "tx-origin", "impact": "Medium", "what": "Consent.grant uses tx.origin"}
    assert slither.compare([*ACCEPTED, new], ACCEPTED) == [
        "NEW   tx-origin: Consent.grant uses tx.origin"
    ]
    assert slither.compare(ACCEPTED[1:], ACCEPTED)[0].startswith("GONE")
    first, *others = ACCEPTED
    assert slither.compare(ACCEPTED, [{**first, "why": ""}, *others])[0].startswith("NO REASON")


def test_every_accepted_finding_stands_in_the_document_with_its_reason():
    rows = re.findall(r"^\| ([a-z-]+) \| `([^`]+)`.* \| (.+) \|$", _document(), re.MULTILINE)
    shown = sorted((check, where, why) for check, where, why in rows)
    expected = sorted((one["check"], one["what"].split("(")[0], one["why"]) for one in ACCEPTED)
    assert shown == expected
    assert {one["impact"] for one in ACCEPTED} <= {"Informational", "Low", "Medium"}


def _document():
    text = (ROOT / "docs" / "ledger.md").read_text()
    return text.split("## What slither says")[1]
