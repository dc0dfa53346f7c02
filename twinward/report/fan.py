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
_MOST_NAMES = 12
_DASHES = ("", "7 4", "2 3", "9 3 2 3", "1 4")


HOURS, DAYS = (60.0, "h"), (1440.0, "d")
"""What the axis counts: minutes, and the letter of the unit."""


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
    every: tuple[float, str] = HOURS,
    marked: Sequence[tuple[float, float]] = (),
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
        every: What the axis counts.
        marked: Those of ``seen`` that stand out, in a ring.
    """
    first = min([minutes[0], *(at for at, _ in seen)])
    values = [value for _, value in seen if math.isfinite(value)]
    for band in bands:
        values += [*band.middle, *band.low, *band.high]
    finite = [value for value in values if math.isfinite(value)] + list(safe or ())
    step = _step(max(finite) - min(finite))
    low, high = math.floor(min(finite) / step) * step, math.ceil(max(finite) / step) * step
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
    upright = range(low, high + 1, step)
    parts += _axes(x, y, across=(first, minutes[-1]), upright=upright, up=up, every=every)
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
        middle = zip(minutes, band.middle, strict=True)
        line = [(x(m), y(v)) for m, v in middle if math.isfinite(v)]
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
    parts += [
        f'<circle class="marked" cx="{x(at):.1f}" cy="{y(value):.1f}" r="6" fill="none" '
        f'stroke="{_INKS[1]}" stroke-width="2"/>'
        for at, value in marked
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
    upright: range,
    up: str,
    every: tuple[float, str],
) -> list[str]:
    (first, last), (unit, letter) = across, every
    ink = 'fill="currentColor"'
    parts = [
        f'<line x1="{_LEFT}" x2="{_LEFT + _WIDE}" y1="{y(value):.1f}" y2="{y(value):.1f}" '
        f'stroke="currentColor" stroke-opacity=".15"/>'
        f'<text x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end" {ink}>{value}</text>'
        for value in upright
    ]
    apart = max(1, math.ceil((last - first) / unit / _MOST_NAMES))
    for count in range(math.ceil(first / unit / apart) * apart, math.floor(last / unit) + 1, apart):
        name = "now" if count == 0 else f"{count:+d} {letter}"
        parts.append(
            f'<text x="{x(count * unit):.1f}" y="{_TOP + _HIGH + 20}" text-anchor="middle" {ink}>'
            f"{name}</text>"
        )
    if first < 0:
        parts.append(
            f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="{_TOP}" y2="{_TOP + _HIGH}" '
            f'stroke="currentColor" stroke-opacity=".5" stroke-dasharray="3 3"/>'
        )
    parts.append(f'<text x="{_LEFT}" y="{_TOP - 4}" {ink}>{escape(up)}</text>')
    return parts


def _step(span: float) -> int:
    """1, 2 or 5 times a power of ten, so that a span has at most nine of them."""
    power: int = 10 ** max(0, math.floor(math.log10(max(span, 1.0))) - 1)
    return next(power * part for part in (1, 2, 5, 10, 20) if span <= 8 * power * part)


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
