"""Plans side by side: a line per plan with its interval, and shares beside it. Inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from twinward.report.plots import Svg

_NAMES, _WIDE, _SHARES, _ROW, _TOP = 210, 330, 70, 30, 46
_INK = "#0b5cad"


@dataclass(frozen=True, slots=True)
class Line:
    """One plan: its middle with the ends of its interval, and a share under each heading."""

    title: str
    middle: float
    low: float
    high: float
    shares: Sequence[float]


def plans(
    lines: Sequence[Line],
    *,
    title: str,
    says: str,
    across: str,
    headings: Sequence[str],
    origin: float = 0.0,
    names: int = _NAMES,
) -> Svg:
    """Intervals over a common axis with a line at the origin, best read from the top.

    Args:
        lines: In the order to be shown.
        title: Of the plot.
        says: What is to be seen, in a sentence.
        across: Name and unit of the axis.
        headings: Of the shares.
        origin: What the figures are compared with.
        names: Pixels for the titles of lines.
    """
    ends = [end for line in lines for end in (line.low, line.high, origin) if math.isfinite(end)]
    step = _step(max(ends) - min(ends))
    first = math.floor(min(ends) / step)
    last = max(math.ceil(max(ends) / step), first + 1)
    low, high = first * step, last * step
    middle = round(origin / step)

    def x(value: float) -> float:
        return names + _WIDE * (min(max(value, low), high) - low) / (high - low)

    bottom = _TOP + _ROW * len(lines)
    parts = [
        f'<line x1="{x(at * step):.1f}" x2="{x(at * step):.1f}" y1="{_TOP - 8}" y2="{bottom}" '
        f'stroke="currentColor" stroke-opacity="{".6" if at == middle else ".15"}"/>'
        f'<text x="{x(at * step):.1f}" y="{bottom + 18}" text-anchor="middle" '
        f'fill="currentColor">{at * step:g}</text>'
        for at in range(first, last + 1)
    ]
    parts += [
        f'<text x="{_column(number, names)}" y="{_TOP - 22}" text-anchor="end" '
        f'fill="currentColor">{escape(heading)}</text>'
        for number, heading in enumerate(headings)
    ]
    for row, line in enumerate(lines):
        y = _TOP + _ROW * row + _ROW / 2
        parts.append(
            f'<text x="{names - 12}" y="{y + 4:.1f}" text-anchor="end" '
            f'fill="currentColor">{escape(line.title)}</text>'
        )
        if all(math.isfinite(each) for each in (line.low, line.middle, line.high)):
            parts.append(
                f'<line class="interval" x1="{x(line.low):.1f}" x2="{x(line.high):.1f}" '
                f'y1="{y:.1f}" y2="{y:.1f}" stroke="{_INK}" stroke-width="3"/>'
                f'<circle cx="{x(line.middle):.1f}" cy="{y:.1f}" r="5" fill="{_INK}"/>'
            )
        parts += [
            f'<text x="{_column(number, names)}" y="{y + 4:.1f}" text-anchor="end" '
            f'fill="currentColor">{share:.0%}</text>'
            for number, share in enumerate(line.shares)
        ]
    parts.append(
        f'<text x="{names + _WIDE / 2}" y="{bottom + 40}" text-anchor="middle" '
        f'fill="currentColor">{escape(across)}</text>'
    )
    width, height = _column(len(headings) - 1, names) + 16, bottom + 54
    return Svg(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13" color="#222">'
        f"<title>{escape(title)}</title><desc>{escape(says)}</desc>{''.join(parts)}</svg>"
    )


def _column(number: int, names: int) -> int:
    return names + _WIDE + _SHARES * (number + 1)


def _step(span: float) -> float:
    """1, 2 or 5 times a power of ten, so that a span has four to ten of them."""
    power: float = 10.0 ** math.floor(math.log10(max(span, 1e-6)))
    return next((power * part for part in (0.1, 0.2, 0.5) if span <= 8 * power * part), power)
