"""The state of consents at any moment: counts per study and hospital, and one pseudonym's history.

Counts are made by the database: a million subjects are one query. Nothing here says who a subject
is; only the hospital that invited them can, on its own machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ledger.consents import ATTESTED, BY_STAFF
from ledger.explorer import asked
from ledger.explorer.view import CONSENT_CHANGED, View, grade_of
from ledger.questions.permissions import slot_of
from twinward.clock import iso
from twinward.web.shell import Page, nothing_here
from twinward.web.table import Column, table

IN_FORCE, WITHDRAWN, EXPIRED = "in force", "withdrawn", "expired"

_STATES = """
select study, substr(slot, 29, 2) as relay,
       case when substr(slot, 1, 16) = zeroblob(16) then 'withdrawn'
            when substr(slot, 17, 8) <= ?1 then 'expired' else 'in force' end as state,
       substr(slot, 31, 2) as flags, substr(slot, 1, 16) >= ?3 as by_staff, count(*)
from (select study, subject, slot, max(event) from consent_consent_changed
      where event <= ?2 group by study, subject)
group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5"""
"""The layout is `ledger.consents.Slot`; big-endian numbers compare as bytes, and the mark of what
staff wrote down is the highest bit of the purposes."""

_LAST_EVENT = """
select coalesce(max(number), 0) from events join blocks using (block) where time <= ?"""


_MOST_KEPT = 200


@dataclass(frozen=True, slots=True)
class Count:
    """How many subjects of one study and hospital are in one state.

    Attributes:
        study: The study's 32 bytes in consents.
        relay: Member number of the hospital that relayed the grant; 0 for none.
        state: ``in force``, ``withdrawn`` or ``expired``.
        grade: Who answers for the last change.
        count: Subjects.
    """

    study: bytes
    relay: int
    state: str
    grade: str
    count: int


def states(view: View, *, at: float) -> tuple[Count, ...]:
    """Every count at a moment, by block time; later changes are as if they had not been.

    A million subjects take seconds, so what was counted is kept until another block comes.
    """
    db = view.history.db
    (last,) = db.execute(_LAST_EVENT, (at,)).fetchone()
    asked_for = ("states", view.scope, len(view.history.rewound), last, int(at))
    if asked_for not in view.kept:
        if len(view.kept) >= _MOST_KEPT:
            view.kept.clear()
        moment = max(0, int(at)).to_bytes(8, "big")
        rows = db.execute(_STATES, (moment, last, BY_STAFF.to_bytes(16, "big")))
        view.kept[asked_for] = tuple(map(_count, rows))
    found: tuple[Count, ...] = view.kept[asked_for]
    return found


def _count(row: tuple[bytes, bytes, str, bytes, int, int]) -> Count:
    study, relay, state, flags, by_staff, count = row
    attested = by_staff or int.from_bytes(flags, "big") & ATTESTED
    grade = "attested by staff" if attested else "signed by the subject"
    return Count(bytes(study), int.from_bytes(relay, "big"), state, grade, count)


def consents(view: View, words: Mapping[str, str]) -> Page:
    """Counts at the end of a day, or now."""
    at = asked.end_of_day(words, "date") or float(view.history.time)
    wanted = asked.word(words, "study")
    rows = [
        {
            "study": view.study(one.study),
            "hospital": view.member(one.relay),
            "state": one.state,
            "grade": one.grade,
            "count": one.count,
        }
        for one in states(view, at=at)
        if wanted in {"", view.study(one.study)}
    ]
    columns = (
        Column("study", "Study"),
        Column("hospital", "Hospital that relayed it"),
        Column("state", "State"),
        Column("grade", "Last change"),
        Column("count", "Subjects", "number"),
    )
    found = table(
        f"Subjects by state at {iso(at).replace('T', ' ').replace('Z', ' UTC')}",
        columns,
        rows,
        empty="No consent was on the ledger then.",
    )
    return Page(
        "consents.html",
        "Consents",
        "explorer.consents",
        {"states": found},
        {"at": iso(at)},
        {
            "names": sorted(one.name for one in view.papers.studies.values()),
            "asked": {name: asked.word(words, name) for name in ("study", "date")},
        },
    )


def subject(view: View, words: Mapping[str, str]) -> Page:
    """Every change of one pseudonym, and how it stood at a moment."""
    who = asked.digest(words, "subject")
    at = asked.end_of_day(words, "date") or float(view.history.time)
    if who is None:
        return _no_subject()
    events = view.history.having("subject", who, kind=CONSENT_CHANGED)
    if not events:
        raise nothing_here()
    rows, now = [], {}
    for event in events:
        slot = slot_of(event)
        granted = slot.purposes != 0
        rows.append(
            {
                "number": event.number,
                "at": event.time,
                "study": view.study(slot.study),
                "change": "granted" if granted else "withdrew",
                "expires": slot.expiry if granted else None,
                "grade": grade_of(slot),
                "hospital": view.member(slot.relay),
                "digest": slot.digest.hex() if any(slot.digest) else None,
            }
        )
        if event.time <= at:
            ended = EXPIRED if slot.expiry <= at else IN_FORCE
            now[slot.study] = ended if granted else WITHDRAWN
    columns = (
        Column("number", "Event", "number", "/events/{number}"),
        Column("at", "Time", "time"),
        Column("study", "Study"),
        Column("change", "Change"),
        Column("expires", "Granted until", "time"),
        Column("grade", "Who answers for it"),
        Column("hospital", "Through"),
        Column("digest", "What was signed", "digest"),
    )
    return Page(
        "subject.html",
        f"Subject {who.hex()[:12]}",
        "explorer.subject",
        {"changes": table("Every change, oldest first", columns, rows)},
        {
            "subject": who.hex(),
            "at": iso(at),
            "state": {view.study(number): state for number, state in now.items()},
        },
        {"asked": {"date": asked.word(words, "date")}},
    )


def _no_subject() -> Page:
    return Page(
        "find_subject.html", "Find a subject", "explorer.subject", {}, {}, {"asked": {"date": ""}}
    )
