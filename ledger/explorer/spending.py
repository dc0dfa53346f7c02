"""Privacy spend: what each hospital reserved, for which study, against its limit."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ledger.explorer.drawings import Bar, bars
from ledger.explorer.view import RESERVED, View
from twinward import gdp
from twinward.web.shell import Page
from twinward.web.table import Column, table

DELTA = 1e-5
CAPPED = "Provenance.CapStated"


def spending(view: View, words: Mapping[str, str]) -> Page:
    """Per hospital and study: mu² reserved, and the epsilon that it is worth at delta 1e-5."""
    del words
    spent: dict[tuple[str, str], list[int]] = {}
    for event in view.of_kind(RESERVED):
        plan = event.raw("plan")
        study = _study_of(view, plan)
        key = (view.member(event.raw("hospital")), study)
        spent.setdefault(key, []).append(event.integer("microMu2"))
    caps = {view.member(e.raw("hospital")): e for e in view.of_kind(CAPPED)}
    rows = [
        {
            "hospital": hospital,
            "study": study,
            "reservations": len(amounts),
            "mu2": sum(amounts) / 1e6,
            "epsilon": _epsilon(sum(amounts)),
        }
        for (hospital, study), amounts in sorted(spent.items())
    ]
    totals: dict[str, int] = {}
    for (hospital, _), amounts in spent.items():
        totals[hospital] = totals.get(hospital, 0) + sum(amounts)
    limits = {name: caps[name].integer("microMu2") if name in caps else None for name in totals}
    columns = (
        Column("hospital", "Hospital"),
        Column("study", "Study"),
        Column("reservations", "Reservations", "number"),
        Column("mu2", "mu² reserved", "number"),
        Column("epsilon", "as epsilon at delta 1e-5", "number"),
    )
    drawn = bars(
        [
            Bar(name, micro / 1e6, None if (cap := limits[name]) is None else cap / 1e6)
            for name, micro in sorted(totals.items())
        ],
        title="mu² reserved by each hospital",
        unit="mu²",
    )
    return Page(
        "spending.html",
        "Privacy spend",
        "explorer.privacy",
        {
            "spent": table(
                "Reserved on the ledger before anything was computed",
                columns,
                rows,
                empty="No hospital has reserved anything: no run can have taken place.",
            )
        },
        {
            "totals": {
                name: {
                    "mu2": micro / 1e6,
                    "epsilon": _epsilon(micro),
                    "limit_mu2": None if (cap := limits[name]) is None else cap / 1e6,
                }
                for name, micro in sorted(totals.items())
            },
            "delta": DELTA,
        },
        {"drawing": drawn if totals else None},
    )


def _epsilon(micro_mu2: int) -> float:
    return gdp.epsilon_of(math.sqrt(micro_mu2 / 1e6), DELTA)


def _study_of(view: View, plan: bytes) -> str:
    said = view.papers.plans.get(plan)
    if said is not None:
        return str(said["study"])
    return f"plan {plan.hex()[:12]}"
