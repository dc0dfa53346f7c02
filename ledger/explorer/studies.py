"""Studies: what patients were asked, which plans were approved, what ran, what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ledger.events import Event
from ledger.explorer import asked
from ledger.explorer.consents import IN_FORCE, WITHDRAWN, states
from ledger.explorer.view import (
    APPROVED,
    RESERVED,
    View,
    kind_of,
)
from twinward.web.shell import Page, nothing_here
from twinward.web.table import Column, table


def studies(view: View, words: Mapping[str, str]) -> Page:
    """Every study on the ledger."""
    del words
    records = view.recorded()
    counted = states(view, at=view.history.time)
    rows = []
    for digest, event in records.items():
        if kind_of(event) != "study":
            continue
        paper = view.papers.studies.get(digest)
        here = [one for one in counted if paper and one.study == paper.number]
        rows.append(
            {
                "digest": digest.hex(),
                "name": paper.name if paper else None,
                "title": paper.payload["title"] if paper else "its document is not here",
                "recorded": event.time,
                "plans": sum(1 for _ in _children(records, digest, "plan")),
                "in_force": sum(one.count for one in here if one.state == IN_FORCE),
                "withdrawn": sum(one.count for one in here if one.state == WITHDRAWN),
            }
        )
    columns = (
        Column("name", "Study", href="/studies/{digest}"),
        Column("title", "What patients read"),
        Column("recorded", "Recorded", "time"),
        Column("plans", "Plans", "number"),
        Column("in_force", "Consents in force", "number"),
        Column("withdrawn", "Withdrawn", "number"),
        Column("digest", "Digest", "digest", "/studies/{digest}"),
    )
    found = table(
        "Studies on the ledger", columns, rows, empty="No study is on the ledger in your scope."
    )
    return Page("studies.html", "Studies", "explorer.studies", {"studies": found})


def study(view: View, words: Mapping[str, str]) -> Page:
    """One study with everything that came of it."""
    digest = asked.digest(words, "digest") or b""
    records = view.recorded()
    record = records.get(digest)
    if record is None or kind_of(record) != "study":
        raise nothing_here()
    paper = view.papers.studies.get(digest)
    plans = {e.raw("digest"): e for e in _children(records, digest, "plan")}
    models = [e for plan in plans for e in _children(records, plan, "model")]
    approvals = [e for e in view.of_kind(APPROVED) if e.raw("digest") in plans]
    reserved = [e for e in view.of_kind(RESERVED) if e.raw("plan") in plans]
    said = dict(paper.payload) if paper else {}
    return Page(
        "study.html",
        str(said.get("title") or f"Study {digest.hex()[:12]}"),
        "explorer.study",
        {
            "plans": table(
                "Plans of this study",
                (
                    Column("digest", "Plan", "digest", "/lineage/{digest}"),
                    Column("recorded", "Recorded", "time"),
                    Column("epsilon", "Epsilon of a run", "number"),
                    Column("delta", "Delta", "number"),
                    Column("model", "Model"),
                    Column("approved", "Approved by"),
                ),
                (_plan(view, plan, event, approvals) for plan, event in plans.items()),
                empty="No plan has been recorded: nothing can run.",
            ),
            "runs": table(
                "Runs, as hospitals reserved privacy for them before anything was computed",
                (
                    Column("run", "Run", "digest", "/timeline?about={run}"),
                    Column("first", "First reservation", "time"),
                    Column("hospitals", "Hospitals"),
                    Column("mu2", "mu² reserved by each", "number"),
                ),
                _runs(view, reserved),
                empty="No hospital has reserved anything: nothing ran.",
            ),
            "models": table(
                "Released models",
                (
                    Column("digest", "Release", "digest", "/lineage/{digest}"),
                    Column("name", "Model"),
                    Column("recorded", "Recorded", "time"),
                ),
                (
                    {
                        "digest": event.raw("digest").hex(),
                        "name": view.papers.title(event.raw("digest")),
                        "recorded": event.time,
                    }
                    for event in models
                ),
                empty="No model has been released.",
            ),
            "consents": table(
                "Consents now, by the hospital that relayed them",
                (
                    Column("hospital", "Hospital"),
                    Column("state", "State"),
                    Column("grade", "Last change"),
                    Column("count", "Subjects", "number"),
                ),
                (
                    {
                        "hospital": view.member(one.relay),
                        "state": one.state,
                        "grade": one.grade,
                        "count": one.count,
                    }
                    for one in states(view, at=view.history.time)
                    if paper and one.study == paper.number
                ),
                empty="No consent is on the ledger for this study.",
            ),
        },
        {
            "digest": digest.hex(),
            "number": paper.number.hex() if paper else None,
            "recorded": record.time,
            "recorded_by": view.member(record.raw("by")),
            "document": said or None,
        },
    )


def _children(records: Mapping[bytes, Event], parent: bytes, kind: str) -> Iterator[Event]:
    return (e for e in records.values() if kind_of(e) == kind and parent in e.parts("parents"))


def _plan(view: View, digest: bytes, record: Event, approvals: list[Event]) -> dict[str, Any]:
    said = view.papers.plans.get(digest, {})
    by = [view.member(e.raw("by")) for e in approvals if e.raw("digest") == digest]
    return {
        "digest": digest.hex(),
        "recorded": record.time,
        "epsilon": said.get("epsilon"),
        "delta": said.get("delta"),
        "model": said.get("model"),
        "approved": ", ".join(sorted(by)) or "nobody",
    }


def _runs(view: View, reserved: list[Event]) -> Iterator[dict[str, Any]]:
    by_run: dict[bytes, list[Event]] = {}
    for event in reserved:
        by_run.setdefault(event.raw("run"), []).append(event)
    for run, events in by_run.items():
        yield {
            "run": run.hex(),
            "first": events[0].time,
            "hospitals": ", ".join(sorted(view.member(e.raw("hospital")) for e in events)),
            "mu2": max(e.integer("microMu2") for e in events) / 1e6,
        }
