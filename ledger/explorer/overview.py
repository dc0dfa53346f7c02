"""The first page: the network in figures, how far it is verified, what happened last."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from ledger.explorer.timeline import COLUMNS, row_of
from ledger.explorer.view import (
    APPROVED,
    CONSENT_CHANGED,
    JOINED,
    RECORDED,
    RESERVED,
    View,
    kind_of,
    slot_of,
)
from twinward.web.shell import Page
from twinward.web.table import table


def overview(view: View, words: Mapping[str, str]) -> Page:
    """Counts of what stands on the ledger now, and the ten newest events."""
    del words
    current = {(s.study, s.subject): s for s in map(slot_of, view.of_kind(CONSENT_CHANGED))}
    kinds = [kind_of(event) for event in view.of_kind(RECORDED)]
    now = view.history.time
    newest = islice(reversed(list(view.history.events(max(0, view.history.count - 10)))), 10)
    figures = {
        "members": sum(1 for _ in view.of_kind(JOINED)),
        "studies": kinds.count("study"),
        "plans": kinds.count("plan"),
        "approvals": sum(1 for _ in view.of_kind(APPROVED)),
        "runs": len({event.values["run"] for event in view.of_kind(RESERVED)}),
        "models": kinds.count("model"),
        "consents_granted": sum(1 for s in current.values() if s.purposes and s.expiry > now),
        "consents_ended": sum(1 for s in current.values() if not s.purposes or s.expiry <= now),
    }
    return Page(
        "overview.html",
        "Overview",
        "explorer.overview",
        {"newest": table("The newest events", COLUMNS, (row_of(e, view) for e in newest))},
        {"figures": figures, "events": view.history.count, "block": view.history.block},
    )
