"""The first page: the network in figures, how far it is verified, what happened last."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from ledger.explorer.consents import IN_FORCE, states
from ledger.explorer.timeline import COLUMNS, row_of
from ledger.explorer.view import (
    APPROVED,
    JOINED,
    RECORDED,
    RESERVED,
    View,
    kind_of,
)
from twinward.web.shell import Page
from twinward.web.table import table


def overview(view: View, words: Mapping[str, str]) -> Page:
    """Counts of what stands on the ledger now, and the ten newest events."""
    del words
    counted = states(view, at=view.history.time)
    kinds = [kind_of(event) for event in view.of_kind(RECORDED)]
    newest = islice(reversed(list(view.history.events(max(0, view.history.count - 10)))), 10)
    figures = {
        "members": sum(1 for _ in view.of_kind(JOINED)),
        "studies": kinds.count("study"),
        "plans": kinds.count("plan"),
        "approvals": sum(1 for _ in view.of_kind(APPROVED)),
        "runs": len({event.values["run"] for event in view.of_kind(RESERVED)}),
        "models": kinds.count("model"),
        "consents_granted": sum(one.count for one in counted if one.state == IN_FORCE),
        "consents_ended": sum(one.count for one in counted if one.state != IN_FORCE),
    }
    return Page(
        "overview.html",
        "Overview",
        "explorer.overview",
        {"newest": table("The newest events", COLUMNS, (row_of(e, view) for e in newest))},
        {"figures": figures, "events": _visible(view), "block": view.history.block},
    )


def _visible(view: View) -> int:
    """How many events this visitor may see; without a scope, as many as there are."""
    return view.history.count if view.scope is None else sum(1 for _ in view.history.events())
