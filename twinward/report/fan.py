"""A fan: what may come, as bands around a line, beside what else may come. Inline SVG.

Bands differ by hatching as well as by colour, lines by dashes; the words say what is to be seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from twinward.report.plots import Svg

_LEFT, _TOP, _WIDE, _HIGH = 56, 16, 560, 280
_INKS = ("#0b5cad", "#b03a00", "#2f6b2f", "#6b2f6b", "#5a5a5a")
_DASHES = ("", "7 4", "2 3", "9 3 2 3", "1 4")


@dataclass(frozen=True, slots=True)
class Band:
    """One course: its name, its middle, and the ends of its interval; infinite where unknown."""

    title: str
    middle: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def fan(
    minutes: Sequence[float],
    bands: Sequence[Band],
    *,
    title: str,
    says: str,
    up: str,
    seen: Sequence[tuple[float, float]] = (),
    safe: tuple[float, float] | None = None,
) -> Svg:
    """Courses over the minutes from now.

    Args:
        minutes: From now, rising.
        bands: At most five.
        title: Of the plot.
        says: What is to be seen, in a sentence.
        up: Name and unit of the upright axis.
        seen: (minutes from now, value) observed before.
        safe: The range that is aimed at.
    """
    first = min([minutes[0], *(at for at, _ in seen)])
    values = [value for _, value in seen if math.isfinite(value)]
    for band in bands:
        values += [*band.middle, *band.low, *band.high]
    finite = [value for value in values if math.isfinite(value)] + list(safe or ())
    low, high = math.floor(min(finite) / 20) * 20, math.ceil(max(finite) / 20) * 20
    low = max(low, 0)

    def x(minute: float) -> float:
        return _LEFT + _WIDE * (minute - first) / (minutes[-1] - first)

    def y(value: float) -> float:
        inside = min(max(value, low), high)
        return _TOP + _HIGH * (high - inside) / (high - low)

    parts = [_hatches()]
    if safe is not None:
        parts.append(
            f'<rect x="{_LEFT}" y="{y(safe[1]):.1f}" width="{_WIDE}" '
            f'height="{y(safe[0]) - y(safe[1]):.1f}" fill="#888" fill-opacity=".10"/>'
        )
    parts += _axes(x, y, across=(first, minutes[-1]), upright=(low, high), up=up)
    for number, band in enumerate(bands):
        ink = _INKS[number]
        if all(math.isfinite(each) for each in (*band.low, *band.high)):
            edge = [(x(m), y(v)) for m, v in zip(minutes, band.high, strict=True)]
            edge += [(x(m), y(v)) for m, v in zip(minutes, band.low, strict=True)][::-1]
            parts.append(
                f'<polygon points="{_points(edge)}" fill="{ink}" fill-opacity=".13"/>'
                f'<polygon points="{_points(edge)}" fill="url(#hatch{number})" fill-opacity=".35"/>'
            )
    for number, band in enumerate(bands):
        line = [(x(m), y(v)) for m, v in zip(minutes, band.middle, strict=True)]
        dash = f' stroke-dasharray="{_DASHES[number]}"' if _DASHES[number] else ""
        parts.append(
            f'<polyline class="middle" points="{_points(line)}" fill="none" '
            f'stroke="{_INKS[number]}" stroke-width="2.5"{dash}/>'
        )
    parts += [
        f'<circle cx="{x(at):.1f}" cy="{y(value):.1f}" r="2" fill="currentColor"/>'
        for at, value in seen
        if math.isfinite(value)
    ]
    parts += _legend(bands)
    height = _TOP + _HIGH + 52 + 22 * len(bands)
    return Svg(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDE + 30} {height}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="13" color="#222">'
        f"<title>{escape(title)}</title><desc>{escape(says)}</desc>{''.join(parts)}</svg>"
    )


def _axes(
    x: Callable[[float], float],
    y: Callable[[float], float],
    *,
    across: tuple[float, float],
    upright: tuple[int, int],
    up: str,
) -> list[str]:
    (first, last), (low, high) = across, upright
    ink = 'fill="currentColor"'
    step = 20 if high - low <= 160 else 50
    parts = [
        f'<line x1="{_LEFT}" x2="{_LEFT + _WIDE}" y1="{y(value):.1f}" y2="{y(value):.1f}" '
        f'stroke="currentColor" stroke-opacity=".15"/>'
        f'<text x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end" {ink}>{value}</text>'
        for value in range(math.ceil(low / step) * step, high + 1, step)
    ]
    hour = math.ceil(first / 60) * 60
    while hour <= last:
        name = "now" if hour == 0 else f"{hour // 60:+d} h"
        parts.append(
            f'<text x="{x(hour):.1f}" y="{_TOP + _HIGH + 20}" text-anchor="middle" {ink}>'
            f"{name}</text>"
        )
        hour += 60
    if first < 0:
        parts.append(
            f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="{_TOP}" y2="{_TOP + _HIGH}" '
            f'stroke="currentColor" stroke-opacity=".5" stroke-dasharray="3 3"/>'
        )
    parts.append(f'<text x="{_LEFT}" y="{_TOP - 4}" {ink}>{escape(up)}</text>')
    return parts


def _legend(bands: Sequence[Band]) -> list[str]:
    parts = []
    for number, band in enumerate(bands):
        at = _TOP + _HIGH + 50 + 22 * number
        dash = f' stroke-dasharray="{_DASHES[number]}"' if _DASHES[number] else ""
        parts.append(
            f'<line x1="{_LEFT}" x2="{_LEFT + 36}" y1="{at - 4}" y2="{at - 4}" '
            f'stroke="{_INKS[number]}" stroke-width="2.5"{dash}/>'
            f'<text x="{_LEFT + 46}" y="{at}" fill="currentColor">{escape(band.title)}</text>'
        )
    return parts


def _hatches() -> str:
    turns = (45, -45, 0, 90, 20)
    patterns = "".join(
        f'<pattern id="hatch{number}" width="7" height="7" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate({turn})"><line x1="0" y1="0" x2="0" y2="7" '
        f'stroke="{_INKS[number]}" stroke-width="1"/></pattern>'
        for number, turn in enumerate(turns)
    )
    return f"<defs>{patterns}</defs>"


def _points(path: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{across:.1f},{up:.1f}" for across, up in path)
