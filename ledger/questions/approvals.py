"""Who agreed to what before it was done, and what was in force on a day."""

from __future__ import annotations

from ledger.events import Event
from ledger.provenance import Kind
from ledger.questions.question import (
    MEMBERS,
    Column,
    Found,
    NoSource,
    Parameter,
    Question,
    Row,
    Values,
    some,
    utc,
)
from ledger.questions.runs import TOPICS as RUNS
from ledger.questions.runs import runs
from ledger.questions.sources import Sources
from ledger.questions.uses import JOINED

_RECORDED, _APPROVED = "kind:Provenance.Recorded", "kind:Provenance.Approved"


def _approvals(sources: Sources) -> dict[tuple[bytes, bytes], Event]:
    """The approval of each document by each account."""
    found = sources.history.events(kind="Provenance.Approved")
    return {(event.raw("digest"), event.raw("by")): event for event in found}


def _without(sources: Sources, values: Values) -> Found:
    del values
    approvals = _approvals(sources)
    rows, shares = [], 0
    for run in runs(sources.history):
        for share in run.shares:
            shares += 1
            agreed = approvals.get((run.plan, share.hospital))
            if agreed is None or agreed.number > share.reserved.number:
                cells = (
                    utc(share.reserved.time),
                    sources.name(share.hospital),
                    run.id.hex(),
                    run.plan.hex(),
                    utc(agreed.time) if agreed else None,
                )
                late = (agreed.number,) if agreed else ()
                rows.append(Row(cells, (share.reserved.number, *late)))
    return Found(
        tuple(rows),
        f"Hospitals joined runs {some(shares, 'time')}; {some(len(rows), 'time')} before approval.",
    )


WITHOUT = Question(
    id="runs-without-approval",
    title="Did a hospital take part in a run whose plan it had not approved?",
    why="Must be empty: each row is a run that a hospital joined before its own approval.",
    parameters=(),
    columns=(
        Column("at", "Joined", "UTC"),
        Column("hospital", "Hospital"),
        Column("run", "Run"),
        Column("plan", "Plan"),
        Column("approved", "Approved only", "UTC"),
    ),
    topics=lambda _: (JOINED, *RUNS, _APPROVED),
    run=_without,
    empty_is_pass=True,
)


def _duties(sources: Sources, values: Values) -> Found:
    del values
    recorded = {e.raw("digest"): e for e in sources.history.events(kind="Provenance.Recorded")}
    approvals = _approvals(sources)
    rows = []
    for (digest, by), agreed in approvals.items():
        record = recorded[digest]
        if record.raw("by") == by:
            cells = (
                utc(agreed.time),
                sources.name(by),
                Kind(record.integer("kind")).name.lower(),
                digest.hex(),
            )
            rows.append(Row(cells, (record.number, agreed.number)))
    return Found(
        tuple(rows),
        f"{some(len(approvals), 'approval')}; {len(rows)} by the member that had submitted it.",
        (
            (
                "Members are told apart, persons are not: who acted for a member stands in that"
                " member's own audit log."
            ),
        ),
    )


DUTIES = Question(
    id="separation-of-duties",
    title="Did anybody approve what they had submitted themselves?",
    why="Must be empty: each row is a document with the same member on both sides.",
    parameters=(),
    columns=(
        Column("at", "Approved", "UTC"),
        Column("member", "Member"),
        Column("kind", "What"),
        Column("digest", "Digest"),
    ),
    topics=lambda _: (JOINED, _RECORDED, _APPROVED),
    run=_duties,
    empty_is_pass=True,
)


def _in_force(sources: Sources, values: Values) -> Found | NoSource:
    day = values["date"]
    if day > sources.history.time:
        return NoSource(
            f"the ledger after {utc(sources.history.time)}: this copy does not reach {utc(day)}"
        )
    approvals = [e for e in _approvals(sources).values() if e.time <= day]
    rows = []
    for event in sources.history.events(kind="Provenance.Recorded"):
        kind, digest = event.integer("kind"), event.raw("digest")
        if event.time > day or kind not in {Kind.STUDY, Kind.PLAN}:
            continue
        agreed = [one for one in approvals if one.raw("digest") == digest]
        known = sources.studies if kind == Kind.STUDY else sources.documents.plans
        payload = known.get(digest, {})
        cells = (
            Kind(kind).name.lower(),
            str(payload.get("name") or payload.get("study") or "") or None,
            digest.hex(),
            utc(event.time),
            sources.name(event.raw("by")),
            ", ".join(sources.name(one.raw("by")) for one in agreed),
            event.integer("quorum") if "quorum" in event.values else None,
        )
        rows.append(Row(cells, (event.number, *(one.number for one in agreed))))
    return Found(
        tuple(rows),
        f"{len(rows)} studies and plans stood on the ledger at {utc(day)}.",
        (
            "A plan is never changed: another version has another digest.",
            "A study's digest covers the text that patients are shown; each grant names it too.",
        ),
    )


IN_FORCE = Question(
    id="in-force",
    title="Which study texts and plans were in force on this day, and who had agreed?",
    why="The version of every policy document at a date.",
    parameters=(Parameter("date", "Day or moment", "date", required=True),),
    columns=(
        Column("kind", "What"),
        Column("study", "Study", release=MEMBERS),
        Column("digest", "Digest"),
        Column("recorded", "Since", "UTC"),
        Column("by", "Submitted by"),
        Column("approved", "Approved by, until then"),
        Column("quorum", "Needed", "approvals"),
    ),
    topics=lambda _: (JOINED, _RECORDED, _APPROVED),
    run=_in_force,
)
