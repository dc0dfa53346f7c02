"""One table, four ways to read it: page, JSON, CSV, print; the same rows in each."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from twinward.clock import iso

Kind = Literal["text", "number", "time", "digest"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        key: Its name in JSON and CSV.
        title: Its heading for people, with the unit if it has one.
        kind: ``time`` holds Unix seconds; ``digest`` lower-case hex, shortened on pages.
        href: Where a cell leads on a page: an address with ``{key}`` of the same row.
    """

    key: str
    title: str
    kind: Kind = "text"
    href: str | None = None

    def shown(self, row: Mapping[str, Any]) -> str:
        """A cell for people."""
        value = row.get(self.key)
        if value is None:
            return ""
        if self.kind == "time":
            return iso(value).replace("T", " ").replace("Z", " UTC")
        if self.kind == "number":
            return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
        return str(value)

    def leads_to(self, row: Mapping[str, Any]) -> str | None:
        """The address behind a cell, if there is something to see."""
        if self.href is None or row.get(self.key) in {None, ""}:
            return None
        given = {key: quote(str(value)) for key, value in row.items() if value not in {None, ""}}
        try:
            return self.href.format_map(given)
        except KeyError:  # this row has nothing behind its cell
            return None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with named columns. ``caption`` says what a row is; ``empty`` what no rows mean."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Any], ...]
    empty: str = "Nothing is on record."

    def as_json(self) -> list[dict[str, Any]]:
        """The rows for machines; times in ISO 8601."""
        return [
            {column.key: _plain(column, row.get(column.key)) for column in self.columns}
            for row in self.rows
        ]

    def as_csv(self) -> str:
        """RFC 4180, with a heading line; no cell can be taken for a formula by a spreadsheet."""
        text = io.StringIO(newline="")
        lines = csv.writer(text)
        lines.writerow([column.key for column in self.columns])
        lines.writerows(
            [_harmless(_plain(column, row.get(column.key))) for column in self.columns]
            for row in self.rows
        )
        return text.getvalue()


def table(
    caption: str,
    columns: Iterable[Column],
    rows: Iterable[Mapping[str, Any]],
    *,
    empty: str = "Nothing is on record.",
) -> Table:
    """A table of whatever gives rows."""
    return Table(caption, tuple(columns), tuple(rows), empty)


def _plain(column: Column, value: Any) -> Any:
    return iso(value) if column.kind == "time" and value is not None else value


def _harmless(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value
