"""Drawings as SVG made here: styled by the site's sheet, beside a table that says the same.

Marks carry text, so nothing depends on colour. Markup is built with an XML library, which escapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

_ROW, _LABEL, _WIDTH, _VALUE = 32, 92, 210, 132


class Svg(str):
    """Markup that this module made; templates put it in as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        """Tells the template engine that it is markup already."""
        return str(self)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; ``limit`` is what it may not pass, if there is such a thing."""

    name: str
    value: float
    limit: float | None


def bars(rows: Sequence[Bar], *, title: str, unit: str) -> Svg:
    """Horizontal bars with their values; a limit is the outline that a bar fills."""
    highest = max((max(row.value, row.limit or 0) for row in rows), default=0) or 1
    drawing = _drawing(
        _LABEL + _WIDTH + _VALUE,
        _ROW * max(1, len(rows)) + 8,
        title=title,
        says="; ".join(f"{row.name} {_amount(row)} {unit}" for row in rows),
        kind="fit",
    )
    for place, row in enumerate(rows):
        top = 4 + place * _ROW
        _text(drawing, _LABEL - 10, top + 20, row.name, anchor="end")
        if row.limit is not None:
            _rect(drawing, _LABEL, top + 4, _WIDTH * row.limit / highest, kind="track")
        _rect(drawing, _LABEL, top + 4, max(2, _WIDTH * row.value / highest), kind="bar")
        end = _LABEL + _WIDTH * max(row.value, row.limit or 0) / highest
        _text(drawing, end + 8, top + 20, f"{_amount(row)} {unit}", kind="faint")
    return _markup(drawing)


@dataclass(frozen=True, slots=True)
class Node:
    """A box of a graph: ``column`` from 0 on the left; two lines of text."""

    key: str
    column: int
    kind: str
    title: str
    note: str


_BOX, _HIGH, _ACROSS, _DOWN = 220, 52, 268, 76


def graph(nodes: Sequence[Node], edges: Sequence[tuple[str, str]], *, title: str) -> Svg:
    """Boxes in columns, arrows from what came first to what came of it."""
    columns: dict[int, list[Node]] = {}
    for node in nodes:
        columns.setdefault(node.column, []).append(node)
    tallest = max((len(column) for column in columns.values()), default=1)
    order = {column: place for place, column in enumerate(sorted(columns))}
    height = tallest * _DOWN + 8
    says = f"{len(nodes)} boxes and {len(edges)} arrows; the list below says the same in words."
    drawing = _drawing(len(order) * _ACROSS - _ACROSS + _BOX + 4, height, title=title, says=says)
    at: dict[str, tuple[float, float]] = {}
    for column, members in columns.items():
        gap = (height - len(members) * _HIGH) / (len(members) + 1)
        for place, node in enumerate(members):
            at[node.key] = (2 + order[column] * _ACROSS, gap + place * (_HIGH + gap))
    for start, end in edges:
        _arrow(drawing, at[start], at[end])
    for node in nodes:
        left, top = at[node.key]
        _rect(drawing, left, top, _BOX, high=_HIGH, kind=f"node {node.kind}", round_by=8)
        _text(drawing, left + 12, top + 21, _cut(node.title, 26))
        _text(drawing, left + 12, top + 40, _cut(node.note, 28), kind="faint")
    return _markup(drawing)


@dataclass(frozen=True, slots=True)
class Strip:
    """A line of time: marks where something happened, gaps where it should have; shares 0 to 1."""

    name: str
    marks: Sequence[float]
    gaps: Sequence[tuple[float, float]]


def strips(rows: Sequence[Strip], *, title: str, ends: tuple[str, str]) -> Svg:
    """One line of time for each row."""
    drawing = _drawing(
        _LABEL + _WIDTH + 12,
        _ROW * len(rows) + 34,
        title=title,
        says="; ".join(f"{r.name}: {len(r.marks)} anchors, {len(r.gaps)} gaps" for r in rows),
        kind="fit",
    )
    for place, row in enumerate(rows):
        top = 4 + place * _ROW
        _text(drawing, _LABEL - 10, top + 20, row.name, anchor="end")
        _rect(drawing, _LABEL, top + 4, _WIDTH, kind="track")
        for start, end in row.gaps:
            wide = max(3, (end - start) * _WIDTH)
            _rect(drawing, _LABEL + start * _WIDTH, top + 4, wide, kind="gap")
        for mark in row.marks:
            _rect(drawing, _LABEL + mark * _WIDTH - 1, top + 4, 3, kind="bar")
    low = 4 + len(rows) * _ROW + 18
    _text(drawing, _LABEL, low, ends[0], kind="faint")
    _text(drawing, _LABEL + _WIDTH, low, ends[1], kind="faint", anchor="end")
    return _markup(drawing)


def _drawing(wide: float, high: float, *, title: str, says: str, kind: str = "") -> ET.Element:
    return ET.Element(
        "svg",
        {
            "viewBox": f"0 0 {wide:.0f} {high:.0f}",
            "width": f"{wide:.0f}",
            "height": f"{high:.0f}",
            "class": kind,
            "role": "img",
            "aria-label": f"{title}. {says}",
        },
    )


def _rect(
    parent: ET.Element,
    left: float,
    top: float,
    wide: float,
    *,
    kind: str,
    high: float = 22,
    round_by: float = 3,
) -> None:
    values = {"x": left, "y": top, "width": wide, "height": high, "rx": round_by}
    ET.SubElement(parent, "rect", {"class": kind, **_numbers(values)})


def _text(
    parent: ET.Element,
    left: float,
    base: float,
    text: str,
    *,
    kind: str = "",
    anchor: str = "start",
) -> None:
    made = ET.SubElement(
        parent, "text", {"class": kind, "text-anchor": anchor, **_numbers({"x": left, "y": base})}
    )
    made.text = text


def _arrow(parent: ET.Element, start: tuple[float, float], end: tuple[float, float]) -> None:
    x1, y1 = start[0] + _BOX, start[1] + _HIGH / 2
    x2, y2 = end[0] - 7, end[1] + _HIGH / 2
    middle = (x1 + x2) / 2
    path = f"M{x1:.1f} {y1:.1f} C{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    ET.SubElement(parent, "path", {"class": "edge", "d": path})
    tip = f"M{x2 + 6:.1f} {y2:.1f} l-8 -4 v8 z"
    ET.SubElement(parent, "path", {"class": "arrow", "d": tip})


def _numbers(values: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{value:.1f}".removesuffix(".0") for name, value in values.items()}


def _amount(row: Bar) -> str:
    return f"{row.value:.4g}" + ("" if row.limit is None else f" of {row.limit:.4g}")


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _markup(drawing: ET.Element) -> Svg:
    return Svg(ET.tostring(drawing, encoding="unicode"))
