"""Gaps in anchoring: organisations whose audit log was silent on the ledger for too long.

An organisation anchors its own audit log. Silence is not proof of a fault, but nothing that was
logged meanwhile was fixed yet, and could have been changed unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from ledger.events import form
from ledger.explorer import asked
from ledger.explorer.drawings import Strip, strips
from ledger.explorer.view import JOINED, View
from twinward.clock import iso
from twinward.web.shell import Page
from twinward.web.table import Column, table

ANCHORED = "AuditAnchor.Anchored"
HOURS = 24


@dataclass(frozen=True, slots=True)
class Gap:
    """A silence: from an anchor, or from joining, to the next anchor, or to now."""

    member: str
    start: int
    end: int
    is_open: bool


def gaps(view: View, words: Mapping[str, str]) -> Page:
    """Every silence longer than ``hours``, with one line of time for each member."""
    hours = asked.number(words, "hours") or HOURS
    source = form(ANCHORED) is not None
    joined = {event.integer("number"): event.time for event in view.of_kind(JOINED)}
    now = view.history.time
    times: dict[int, list[int]] = {number: [] for number in joined}
    for event in view.of_kind(ANCHORED) if source else ():
        times.setdefault(event.integer("number"), []).append(event.time)
    found = [
        gap
        for number, anchored in times.items()
        for gap in silences(
            view.member(number), joined.get(number, now), anchored, now=now, limit=hours * 3600
        )
    ]
    first = min(joined.values(), default=now)
    length = max(1, now - first)
    lines = [
        Strip(
            view.member(number),
            [(time - first) / length for time in anchored],
            [
                ((gap.start - first) / length, (gap.end - first) / length)
                for gap in found
                if gap.member == view.member(number)
            ],
        )
        for number, anchored in times.items()
    ]
    columns = (
        Column("member", "Member"),
        Column("start", "Silent from", "time"),
        Column("end", "To", "time"),
        Column("hours", "Hours", "number"),
        Column("state", "State"),
    )
    rows = (
        {
            "member": gap.member,
            "start": gap.start,
            "end": gap.end,
            "hours": (gap.end - gap.start) / 3600,
            "state": "still silent" if gap.is_open else "over",
        }
        for gap in found
    )
    return Page(
        "gaps.html",
        "Gaps in anchoring",
        "explorer.gaps",
        {
            "gaps": table(
                f"Silences of more than {hours} hours",
                columns,
                rows,
                empty=f"No member was silent for more than {hours} hours.",
            )
        },
        {
            "hours": hours,
            "has_source": source,
            "anchors": sum(len(each) for each in times.values()),
            "until": iso(now),
        },
        {
            "drawing": strips(
                lines, title="Anchors and silences", ends=(iso(first)[:10], iso(now)[:10])
            )
            if source
            else None
        },
    )


def silences(member: str, joined: int, anchored: list[int], *, now: int, limit: int) -> list[Gap]:
    """The silences of one member that are longer than ``limit`` seconds."""
    points = [joined, *sorted(anchored), now]
    pairs = list(pairwise(points))
    return [
        Gap(member, start, end, is_open=place == len(pairs) - 1)
        for place, (start, end) in enumerate(pairs)
        if end - start > limit
    ]
