"""Members: what changed about them, what privacy they set aside, how they anchored their logs."""

from __future__ import annotations

import math
import re
from collections import defaultdict

from ledger.events import form, forms
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
from ledger.questions.runs import records, runs
from ledger.questions.sources import Sources
from ledger.questions.uses import JOINED
from twinward import gdp

_MEMBERSHIP = tuple(f"kind:{one.kind}" for one in forms() if one.contract == "Membership")
_CAP, _ANCHOR = "Provenance.CapStated", "AuditAnchor.Anchored"
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def _changes(sources: Sources, values: Values) -> Found:
    member = values["member"]
    identities = {one.identity: one for one in sources.members}
    rows = []
    for event in sources.history.events():
        if event.contract != "Membership" and event.kind != "Provenance.FenceRaised":
            continue
        about = identities.get(event.raw("id")) if "id" in event.values else None
        by = sources.name(event.raw("by")) if "by" in event.values else None
        name = about.name if about else by if event.name == "FenceRaised" else None
        if member is not None and sources.name(member) not in {name, by}:
            continue
        what = "new process started" if event.name == "FenceRaised" else _spelled(event.name)
        keys = event.raw("keys").hex() if "keys" in event.values else None
        rows.append(Row((utc(event.time), what, name, by, keys), (event.number,)))
    return Found(
        tuple(rows),
        f"{some(len(rows), 'change')} of members, their keys and their processes.",
        (
            (
                "A member's keys document names its TLS, Flower and ledger keys; its digest changes"
                " when one of them does."
            ),
            "Roles of persons have no source yet: they come with staff log-ins.",
        ),
    )


def _spelled(name: str) -> str:
    return _HUMP.sub(" ", name).lower()


CHANGES = Question(
    id="key-changes",
    title="Which members, keys and roles changed, when, and who agreed?",
    why="The change log of trust: who could act in the network's name since when.",
    parameters=(Parameter("member", "Member", "member"),),
    columns=(
        Column("at", "When", "UTC"),
        Column("what", "What"),
        Column("member", "Member"),
        Column("by", "By"),
        Column("keys", "Keys document (digest)"),
    ),
    topics=lambda _: (*_MEMBERSHIP, "kind:Provenance.FenceRaised"),
    run=_changes,
)


def _spend(sources: Sources, values: Values) -> Found:
    delta, wanted = values["delta"], values["member"]
    spent: dict[tuple[bytes, bytes | None], list[tuple[int, int]]] = defaultdict(list)
    for run in runs(sources.history):
        for share in run.shares:
            if wanted in {None, sources.number(share.hospital)}:
                key = (share.hospital, run.study)
                spent[key].append((share.micro_mu2, share.reserved.number))
    # A limit that was raised holds only from its own moment on; a lowered one at once.
    stated = sources.history.events(kind=_CAP)
    caps = {e.raw("hospital"): e for e in stated if e.integer("holdsFrom") <= sources.history.time}
    rows = []
    for hospital in dict.fromkeys(hospital for hospital, _ in spent):
        cap = caps.get(hospital)
        parts = {study: found for (one, study), found in spent.items() if one == hospital}
        every = [entry for found in parts.values() for entry in found]
        for study, found in [*parts.items(), *([(None, every)] if len(parts) > 1 else [])]:
            mu2 = sum(micro for micro, _ in found) / 1e6
            limit = cap.integer("microMu2") / 1e6 if cap else None
            whole = len(found) == len(every)
            cells = (
                sources.name(hospital),
                "all studies" if found is every else _study_name(sources, study),
                len(found),
                mu2,
                round(gdp.epsilon_of(math.sqrt(mu2), delta), 4),
                limit if whole else None,
                round(100 * mu2 / limit, 2) if whole and limit else None,
            )
            evidence = [number for _, number in found]
            rows.append(Row(cells, (*evidence, *([cap.number] if cap and whole else []))))
    over = [row for row in rows if isinstance(row.cells[6], float) and row.cells[6] > 100]
    return Found(
        tuple(rows),
        f"{some(len(over), 'hospital')} above a limit that it stated on the ledger."
        if caps
        else "What each hospital set aside for runs, never less than what was spent.",
        (
            (
                "The worst case of one patient at one hospital; what was set aside and not used is"
                " given back in the hospital's own book, never on the ledger."
            ),
            (
                f"epsilon is at delta {delta:g}. Training and measuring concern different patients:"
                " their sum says more than anyone can have spent."
            ),
            *(["No hospital has stated a limit on the ledger."] if not caps else []),
        ),
    )


def _study_name(sources: Sources, digest: bytes | None) -> str | None:
    payload = sources.studies.get(digest or b"")
    return str(payload["name"]) if payload else digest.hex() if digest else None


SPEND = Question(
    id="privacy-spend",
    title="How much privacy did each hospital set aside, against which limit?",
    why="The privacy budget of every hospital and study as the ledger holds it.",
    parameters=(
        Parameter("member", "Hospital", "member"),
        Parameter("delta", "delta for epsilon", "delta", default="1e-5"),
    ),
    columns=(
        Column("hospital", "Hospital"),
        Column("study", "Study", release=MEMBERS),
        Column("runs", "Runs and evaluations", "runs"),
        Column("mu2", "Set aside", "mu^2"),
        Column("epsilon", "Set aside", "epsilon"),
        Column("limit", "Limit stated on the ledger", "mu^2"),
        Column("used", "Of the limit", "%"),
    ),
    topics=lambda _: (JOINED, *RUNS, *([f"kind:{_CAP}"] if form(_CAP) else [])),
    run=_spend,
)


def _gaps(sources: Sources, values: Values) -> Found | NoSource:
    if form(_ANCHOR) is None:
        return NoSource("anchors: they come with the contract `AuditAnchor` and audit logs")
    anchors: dict[int, list[tuple[int, int]]] = {one.number: [] for one in sources.members}
    for event in sources.history.events(kind=_ANCHOR):
        anchors.setdefault(event.integer("number"), []).append((event.time, event.number))
    if not any(anchors.values()):
        return NoSource("anchors: no member of this network has anchored its audit log yet")
    limit, now = values["hours"] * 3600, sources.history.time
    rows = []
    for number, times in anchors.items():
        if not times:
            rows.append(Row((sources.name(number), None, utc(now), None), ()))
            continue
        for (start, first), (end, last) in zip(times, [*times[1:], (now, 0)], strict=True):
            if end - start > limit:
                cells = (sources.name(number), utc(start), utc(end), round((end - start) / 3600, 2))
                rows.append(Row(cells, (first, last) if last else (first,)))
    return Found(
        tuple(rows),
        f"{some(len(rows), 'gap')} of more than {values['hours']:g} h until {utc(now)}.",
        ("A gap without a beginning is a member that never anchored.",),
    )


GAPS = Question(
    id="anchoring-gaps",
    title="Which members left their audit log without an anchor for too long?",
    why="Must be empty: in a gap a member could still have rewritten its own log.",
    parameters=(Parameter("hours", "Longest allowed gap", "hours", default="24"),),
    columns=(
        Column("member", "Member"),
        Column("from", "From", "UTC"),
        Column("until", "Until", "UTC"),
        Column("hours", "Length", "h"),
    ),
    topics=lambda _: (JOINED, *([f"kind:{_ANCHOR}"] if form(_ANCHOR) else [])),
    run=_gaps,
    empty_is_pass=True,
)


def _code(sources: Sources, values: Values) -> Found | NoSource:
    del values
    rows = [
        Row((utc(e.time), e.raw("digest").hex(), sources.name(e.raw("by"))), (e.number,))
        for e in records(sources.history, Kind.CODE)
    ]
    if not rows:
        return NoSource(
            "releases of code on the ledger: they come with signed installation kits; until then"
            " each node accepts one exact Flower bundle, which holds no code"
        )
    return Found(
        tuple(rows),
        f"{some(len(rows), 'release')} of code on the ledger.",
        ("What a hospital executed stands in its own audit log.",),
    )


CODE = Question(
    id="code-approved",
    title="Which code was approved, and was exactly that executed?",
    why="Compares the code that ran with the code that was agreed.",
    parameters=(),
    columns=(
        Column("at", "Recorded", "UTC"),
        Column("code", "Code (digest)"),
        Column("by", "By"),
    ),
    topics=lambda _: (JOINED, "kind:Provenance.Recorded"),
    run=_code,
)
