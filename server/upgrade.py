"""Whether this release can take over a coordinator's folder; looks, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from twinward import forms

FORMS: Final[Mapping[str, int]] = {
    "state/ledger/chain.sqlite": 1,
    "state/members/register.sqlite": 0,
    "state/queue/queue.sqlite": 0,
    "state/audit/audit.sqlite": 1,
    "state/audit/heads.sqlite": 1,
    "state/audit/bodies.sqlite": 0,
    "state/audit/keys.sqlite": 0,
    "state/checkpoints/history.sqlite": 0,
    "state/checkpoints/network-log*.sqlite": 1,
    "state/transcripts/*.sqlite": 2,
    "state/evaluations/*.sqlite": 2,
}
"""The newest form of each database that this release reads; a test holds them to what it writes."""


def require_known(folder: Path) -> None:
    """Require that no database of the coordinator is of a newer release; before one is opened.

    Raises:
        EvidenceError: TW7408.
    """
    forms.require_known(folder, FORMS)
