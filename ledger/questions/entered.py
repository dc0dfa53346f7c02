"""What questions to an audit log share: their columns, their remarks, how they are asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ledger.questions.logbook import Logbook, Logged
from ledger.questions.question import (
    NODE,
    Column,
    Found,
    NoSource,
    Question,
    Row,
    Values,
    some,
    utc,
)
from ledger.questions.sources import Sources

_ELSEWHERE = (
    "it stands in the audit log of each organisation, which will answer it: ask in that"
    " organisation's folder, or with the copy that it exported (`--log`)"
)
CLOCK = "Times are those of the organisation's own clock; the ledger bounds them by its heads."
ENTERED = (
    "The proof shows that nothing in the log was kept back, not that everything was written into it"
)


def to_log(
    name: str,
    run: Callable[[Logbook, Values], Found],
    *,
    title: str,
    why: str,
    entries: Sequence[str],
    columns: tuple[Column, ...],
) -> Question:
    """A question that is a function of the entries of these topics of one audit log."""

    def asked(sources: Sources, values: Values) -> Found | NoSource:
        return NoSource(_ELSEWHERE) if sources.logbook is None else run(sources.logbook, values)

    return Question(
        id=name,
        title=title,
        why=why,
        parameters=(),
        columns=columns,
        topics=lambda _: (),
        run=asked,
        entries=tuple(entries),
    )


def column(name: str, title: str, unit: str = "") -> Column:
    """A column that goes to whom the organisation shows it."""
    return Column(name, title, unit, NODE)


WHEN = column("at", "When", "UTC")


def rows_of(
    entries: Sequence[Logged], cells: Callable[[Logged], tuple[str | None, ...]]
) -> tuple[Row, ...]:
    """One row for each entry: when, and these cells."""
    return tuple(Row((utc(one.time), *cells(one)), (one.seq,)) for one in entries)


def withheld(entries: Sequence[Logged]) -> tuple[str, ...]:
    """The remark on bodies that are not open; none if all are."""
    closed = sum(one.body is None for one in entries)
    if not closed:
        return ()
    return (
        f"{some(closed, 'body')}".replace("bodys", "bodies")
        + " erased or not shown: their times and topics are proved, who and why are not told.",
    )
