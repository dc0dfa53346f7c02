"""What went into what: the records around one digest, the runs and who agreed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ledger.events import Event
from ledger.explorer import asked
from ledger.explorer.drawings import Node, graph
from ledger.explorer.view import APPROVED, RESERVED, View, kind_of
from ledger.explorer.words import named
from twinward.clock import iso
from twinward.plan import evaluation_run
from twinward.web.shell import Page, nothing_here
from twinward.web.table import Column, table

_COLUMNS = {"study": 0, "dataset": 0, "code": 0, "plan": 1, "run": 2, "model": 3, "pack": 4}


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a plan: reserved by hospitals before anything was computed.

    Attributes:
        run: 32 bytes.
        plan: Digest of its plan.
        reservations: In order.
        model: Digest of the release that an evidence pack ties to it, or None.
        measured: The run whose model this one measured, or None.
    """

    run: bytes
    plan: bytes
    reservations: tuple[Event, ...]
    model: bytes | None
    measured: bytes | None

    @property
    def title(self) -> str:
        """What it is called on pages."""
        if self.measured is None:
            return f"run {self.run.hex()[:12]}"
        return f"evaluation of {self.measured.hex()[:12]}"


@dataclass(frozen=True, slots=True)
class Lineage:
    """Records, runs and approvals around one digest."""

    focus: bytes
    records: Mapping[bytes, Event]
    runs: tuple[Run, ...]
    approvals: tuple[Event, ...]


def lineage_of(view: View, focus: bytes) -> Lineage:
    """Everything that the digest came from and that came of it.

    Raises:
        UsageError: TW7036, it is not on record in this scope.
    """
    records = view.recorded()
    if focus not in records:
        raise nothing_here()
    chosen = _ancestors(records, focus) | _descendants(records, focus)
    ordered = {digest: event for digest, event in records.items() if digest in chosen}
    by_run: dict[bytes, list[Event]] = {}
    for event in view.of_kind(RESERVED):
        if event.raw("plan") in chosen:
            by_run.setdefault(event.raw("run"), []).append(event)
    made = {pack.run: pack.release for pack in view.papers.releases.values()}
    measured = {evaluation_run(run): run for run in by_run}
    runs = tuple(
        Run(run, events[0].raw("plan"), tuple(events), made.get(run), measured.get(run))
        for run, events in by_run.items()
    )
    approvals = tuple(e for e in view.of_kind(APPROVED) if e.raw("digest") in chosen)
    return Lineage(focus, ordered, runs, approvals)


def asked_lineage(view: View, words: Mapping[str, str]) -> Lineage:
    """The lineage of the digest in an address.

    Raises:
        UsageError: TW7035 not a digest, TW7036 not on record in this scope.
    """
    return lineage_of(view, asked.digest(words, "digest") or b"")


def models(view: View, words: Mapping[str, str]) -> Page:
    """Every released model, and how all of them came about."""
    del words
    records = view.recorded()
    released = [event for event in records.values() if kind_of(event) == "model"]
    columns = (
        Column("name", "Model", href="/lineage/{digest}"),
        Column("recorded", "Recorded", "time"),
        Column("by", "By"),
        Column("run", "Run", "digest", "/timeline?about={run}"),
        Column("evidence", "Evidence pack"),
        Column("digest", "Release", "digest", "/lineage/{digest}"),
    )
    rows = []
    for event in released:
        digest = event.raw("digest")
        pack = view.papers.releases.get(digest)
        rows.append(
            {
                "name": view.papers.title(digest) or "no document here",
                "recorded": event.time,
                "by": view.member(event.raw("by")),
                "run": pack.run.hex() if pack else None,
                "evidence": "here, without a fault" if pack else "not here",
                "digest": digest.hex(),
            }
        )
    found = table(
        "Models on the ledger", columns, rows, empty="No model has been released in your scope."
    )
    return Page("models.html", "Models", "explorer.models", {"models": found})


def lineage(view: View, words: Mapping[str, str]) -> Page:
    """One digest's lineage: a drawing, and the same as a list."""
    found = asked_lineage(view, words)
    focus = found.records[found.focus]
    steps = table(
        "The same in words, in the order of the ledger",
        (
            Column("what", "What", href="/lineage/{digest}"),
            Column("kind", "Kind"),
            Column("at", "Time", "time"),
            Column("who", "By"),
            Column("came_from", "Came from"),
            Column("digest", "Digest", "digest", "/timeline?about={digest}"),
        ),
        [*_rows(view, found), *_run_rows(view, found)],
    )
    agreed = table(
        "Who agreed to it",
        (
            Column("what", "What"),
            Column("who", "Hospital"),
            Column("at", "Time", "time"),
            Column("number", "Event", "number", "/events/{number}"),
        ),
        (
            {
                "what": named(event.raw("digest"), view),
                "who": view.member(event.raw("by")),
                "at": event.time,
                "number": event.number,
            }
            for event in found.approvals
        ),
        empty="Nobody approved anything here.",
    )
    nodes, edges = _drawn(view, found)
    title = view.papers.title(found.focus)
    return Page(
        "lineage.html",
        f"Lineage of {title}" if title else f"Lineage of {found.focus.hex()[:12]}",
        "explorer.lineage",
        {"steps": steps, "approvals": agreed},
        {"digest": found.focus.hex(), "kind": kind_of(focus), "edges": [list(e) for e in edges]},
        {"drawing": graph(nodes, edges, title="What went into what, from left to right")},
    )


def _rows(view: View, found: Lineage) -> Iterable[dict[str, object]]:
    for digest, event in found.records.items():
        yield {
            "what": view.papers.title(digest) or digest.hex()[:12],
            "kind": kind_of(event),
            "at": event.time,
            "who": view.member(event.raw("by")),
            "came_from": ", ".join(named(parent, view) for parent in event.parts("parents")),
            "digest": digest.hex(),
        }


def _run_rows(view: View, found: Lineage) -> Iterable[dict[str, object]]:
    for run in found.runs:
        hospitals = (view.member(event.raw("hospital")) for event in run.reservations)
        yield {
            "what": run.title,
            "kind": "run",
            "at": run.reservations[0].time,
            "who": ", ".join(sorted(hospitals)),
            "came_from": named(run.plan, view),
            "digest": None,
        }


def _drawn(view: View, found: Lineage) -> tuple[list[Node], list[tuple[str, str]]]:
    nodes, edges = [], []
    tied = {run.model for run in found.runs if run.model}
    for digest, event in found.records.items():
        kind = kind_of(event)
        title = view.papers.title(digest) or digest.hex()[:12]
        note = f"{kind}, {iso(event.time)[:10]}"
        nodes.append(Node(digest.hex(), _COLUMNS.get(kind, 0), kind, title, note))
        edges += [
            (parent.hex(), digest.hex())
            for parent in event.parts("parents")
            if parent in found.records and digest not in tied
        ]
    for run in found.runs:
        key = f"run {run.run.hex()}"
        note = f"{len(run.reservations)} hospitals, {iso(run.reservations[0].time)[:10]}"
        nodes.append(Node(key, _COLUMNS["run"], "run", run.title, note))
        edges.append((run.plan.hex(), key))
        if run.model in found.records and run.model is not None:
            edges.append((key, run.model.hex()))
    return nodes, edges


def _ancestors(records: Mapping[bytes, Event], focus: bytes) -> set[bytes]:
    found, rest = set(), [focus]
    while rest:
        digest = rest.pop()
        if digest in records and digest not in found:
            found.add(digest)
            rest += records[digest].parts("parents")
    return found


def _descendants(records: Mapping[bytes, Event], focus: bytes) -> set[bytes]:
    found = {focus}
    for digest, event in records.items():  # a parent is always recorded before its child
        if found.intersection(event.parts("parents")):
            found.add(digest)
    return found
