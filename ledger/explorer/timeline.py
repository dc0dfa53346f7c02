"""The timeline: every event, newest first, filtered by what an auditor looks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

from ledger.events import Event, forms
from ledger.explorer import asked
from ledger.explorer.view import View
from ledger.explorer.words import sentence, title_of
from twinward.web.shell import Page, nothing_here
from twinward.web.table import Column, table

ROWS = 30
_WINDOW = 2_000
_WINDOWS = 20
_BYTES = ("subject", "digest", "run", "plan", "study", "hospital", "by", "id", "account")
COLUMNS = (
    Column("number", "No.", "number", "/events/{number}"),
    Column("at", "Time", "time"),
    Column("kind", "Kind"),
    Column("what", "What happened"),
    Column("block", "Block", "number"),
)


def timeline(view: View, words: Mapping[str, str]) -> Page:
    """Thirty events at a time; ``before`` goes on where the last page ended."""
    kind, about = asked.word(words, "kind"), asked.digest(words, "about")
    until = asked.end_of_day(words, "until")
    before = asked.number(words, "before") or view.history.count + 1
    rows, searched_to = _search(view, kind=kind, about=about, until=until, before=before)
    older = None
    if searched_to > 1:
        kept = {name: words[name] for name in ("kind", "about", "until") if words.get(name)}
        older = "/timeline?" + urlencode({**kept, "before": searched_to})
    found = table(
        f"Events before {before:,}, newest first",
        COLUMNS,
        (row_of(event, view) for event in rows),
        empty="No event fits. "
        + ("Older ones have not been searched yet." if older else "All have been searched."),
    )
    return Page(
        "timeline.html",
        "Timeline",
        "explorer.timeline",
        {"events": found},
        {"older": older, "in_all": view.history.count},
        {
            "kinds": [(one.kind, title_of(one.kind)) for one in forms()],
            "asked": {name: asked.word(words, name) for name in ("kind", "about", "until")},
        },
    )


def event_page(view: View, words: Mapping[str, str]) -> Page:
    """One event with every value that it holds."""
    number = asked.number(words, "number") or 0
    found = next(view.history.events(number - 1, number), None)
    if found is None:
        raise nothing_here()
    fields = table(
        "Values as they stand on the ledger",
        (Column("name", "Name"), Column("value", "Value", "digest", "/timeline?about={about}")),
        (
            {"name": name, "value": text, "about": text if leads else None}
            for name, value in found.values.items()
            for text, leads in _spelled(name, value)
        ),
    )
    return Page(
        "event.html",
        f"Event {number:,}",
        "explorer.event",
        {"fields": fields},
        {
            "number": found.number,
            "block": found.block,
            "position": found.position,
            "time": found.time,
            "transaction": found.transaction.hex(),
            "kind": found.kind,
            "what": sentence(found, view),
        },
        {"kind_title": title_of(found.kind)},
    )


def row_of(event: Event, view: View) -> dict[str, object]:
    """An event as a row of `COLUMNS`."""
    return {
        "number": event.number,
        "at": event.time,
        "kind": title_of(event.kind),
        "what": sentence(event, view),
        "block": event.block,
    }


def _search(
    view: View, *, kind: str, about: bytes | None, until: float | None, before: int
) -> tuple[list[Event], int]:
    """Up to thirty events and the number from which the next page searches on; 1 at the end."""
    found: list[Event] = []
    if about is not None:
        everything = {e.number: e for name in _BYTES for e in view.history.having(name, about)}
        source: Iterator[list[Event]] = iter(
            [[everything[n] for n in sorted(everything) if n < before]]
        )
    else:
        source = _windows(view, kind=kind, before=before)
    lowest = before
    for window in source:
        for event in reversed(window):
            lowest = event.number
            if (kind and event.kind != kind) or (until is not None and event.time > until):
                continue
            if len(found) == ROWS:
                return found, found[-1].number
            found.append(event)
    if about is not None:
        return found, 1
    return found, max(1, min(lowest, before - _WINDOW * _WINDOWS))


def _windows(view: View, *, kind: str, before: int) -> Iterator[list[Event]]:
    """The events below a number in windows, the newest window first."""
    last = before - 1
    for _ in range(_WINDOWS):
        if last <= 0:
            return
        first = max(0, last - _WINDOW)
        yield list(view.history.events(first, last, kind=kind or None))
        last = first


def _spelled(name: str, value: object) -> list[tuple[str, bool]]:
    """A value as text, and whether other events can be looked up by it."""
    if isinstance(value, tuple):
        return [(each.hex(), True) for each in value] or [("none", False)]
    if isinstance(value, bytes):
        return [(value.hex(), True)]
    if name == "slot" and isinstance(value, int):
        return [(f"{value:064x}", False)]
    return [(str(value), False)]
