"""Small plots as inline SVG: readable at 320 pixels, in print, without colour, and when read aloud.

Every plot has a title and a sentence that says what is seen; the page has the numbers in a table
beside it. Marks differ by shape and dash, not by colour alone. Coordinates are shares from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

Estimate = dict[str, float]
_LEFT, _TOP, _SIDE = 52, 14, 250
_WIDTH, _HEIGHT = _LEFT + _SIDE + 18, _TOP + _SIDE + 46


class Svg(str):
    """Markup that this module made; templates put it in as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        """Tells the template engine that it is markup already."""
        return str(self)


def roc(points: Sequence[dict[str, Any]], *, bars: bool = True) -> Svg:
    """Found ill patients over false alarms, one mark per threshold, with 95 % bars."""
    ordered = sorted(points, key=lambda p: -p["threshold"])
    # Noise can make the marks fall back where counts cannot: the line is their running maximum.
    path, x, y = [], 0.0, 0.0
    for point in ordered:
        x = max(x, point["false_alarms"]["value"])
        y = max(y, point["sensitivity"]["value"])
        path.append((x, y))
    marks = [_line(path, kind="curve")]
    for point in ordered[1:-1] if bars else ():
        alarms, found = point["false_alarms"], point["sensitivity"]
        at = (alarms["value"], found["value"])
        marks += [
            _line([(alarms["low"], at[1]), (alarms["high"], at[1])], kind="bar"),
            _line([(at[0], found["low"]), (at[0], found["high"])], kind="bar"),
            _dot(*at),
        ]
    return _plot(
        marks,
        title="ROC curve",
        says=f"{len(points)} thresholds; the further the line lies above the dashed diagonal of "
        "guessing, the better the model ranks. Bars are 95 % intervals.",
        across="false alarms: share of the well called ill",
        up="share of the ill that is found",
    )


def calibration(parts: Sequence[dict[str, Any]]) -> Svg:
    """Observed share of ill patients over the predicted one, a mark per part, with 95 % bars."""
    marks = []
    shown = [part for part in parts if part["observed"] is not None]
    for part in shown:
        middle, seen = part["predicted"], part["observed"]
        marks += [
            _line([(part["low"], seen["value"]), (part["high"], seen["value"])], kind="bin"),
            _line([(middle, seen["low"]), (middle, seen["high"])], kind="bar"),
            _dot(middle, seen["value"]),
        ]
    return _plot(
        marks,
        title="Calibration",
        says=f"{len(shown)} parts of the scale hold enough patients. On the dashed diagonal the "
        "predicted probability is the observed share. Bars are 95 % intervals.",
        across="predicted probability of disease",
        up="observed share with disease",
    )


def course(values: Sequence[float], *, low: float, high: float) -> Svg:
    """A value per step, from ``low`` to ``high`` on the upright axis."""
    last = max(1, len(values) - 1)
    path = [(i / last, min(1.0, max(0.0, (v - low) / (high - low)))) for i, v in enumerate(values)]
    marks = [_line(path, kind="curve"), *(_dot(x, y, small=True) for x, y in path)]
    return _plot(
        marks,
        title="AUROC after each step",
        says=f"From {values[0]:.3f} before training to {values[-1]:.3f} after {last} steps.",
        across="step",
        up="AUROC",
        diagonal=False,
        ticks_across=[(i / 5, f"{round(i * last / 5)}") for i in range(6)],
        ticks_up=[(i / 5, f"{low + i * (high - low) / 5:.2f}") for i in range(6)],
    )


def budget(parts: Sequence[tuple[str, float, float]]) -> Svg:
    """Per line: its name, what was charged, and what was set aside, as epsilon."""
    largest = max(reserved for _, _, reserved in parts)
    rows, width = [], 300
    for row, (name, charged, reserved) in enumerate(parts):
        y, full = 22 + 52 * row, width * reserved / largest
        used = width * min(charged, reserved) / largest
        rows.append(
            f'<text x="0" y="{y}">{escape(name)}</text>'
            f'<rect class="aside" x="0.5" y="{y + 7}" width="{full:.1f}" height="18" rx="3"/>'
            f'<rect class="used" x="0.5" y="{y + 7}" width="{used:.1f}" height="18" rx="3"/>'
        )
    says = "; ".join(f"{n}: {c:.2f} of {r:g} set aside" for n, c, r in parts)
    return Svg(
        f'<svg class="plot" viewBox="0 0 {width + 2} {52 * len(parts) + 6}" role="img">'
        f"<title>Privacy spent, as epsilon</title><desc>{escape(says)}</desc>{''.join(rows)}</svg>"
    )


_FIFTHS = [(i / 5, f"{i / 5:.1f}") for i in range(6)]


def _plot(
    marks: Sequence[str],
    *,
    title: str,
    says: str,
    across: str,
    up: str,
    diagonal: bool = True,
    ticks_across: Sequence[tuple[float, str]] = (),
    ticks_up: Sequence[tuple[float, str]] = (),
) -> Svg:
    frame = [
        f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}"/>',
        *(
            f'<text class="tick" x="{_x(at):.1f}" y="{_TOP + _SIDE + 16}" '
            f'text-anchor="middle">{label}</text>'
            for at, label in ticks_across or _FIFTHS
        ),
        *(
            f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + _SIDE}" '
            f'y1="{_y(at):.1f}" y2="{_y(at):.1f}"/>'
            f'<text class="tick" x="{_LEFT - 6}" y="{_y(at) + 4:.1f}" '
            f'text-anchor="end">{label}</text>'
            for at, label in ticks_up or _FIFTHS
        ),
        f'<text x="{_LEFT + _SIDE / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{across}</text>',
        (
            f'<text transform="translate(13 {_TOP + _SIDE / 2}) rotate(-90)" '
            f'text-anchor="middle">{up}</text>'
        ),
    ]
    if diagonal:
        frame.append(_line([(0, 0), (1, 1)], kind="guess"))
    return Svg(
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f"<title>{escape(title)}</title><desc>{escape(says)}</desc>"
        f"{''.join([*frame, *marks])}</svg>"
    )


def _line(path: Sequence[tuple[float, float]], *, kind: str) -> str:
    points = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in path)
    return f'<polyline class="{kind}" points="{points}"/>'


def _dot(x: float, y: float, *, small: bool = False) -> str:
    return f'<circle class="dot" cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="{1.8 if small else 3.6}"/>'


def _x(share: float) -> float:
    return _LEFT + share * _SIDE


def _y(share: float) -> float:
    return _TOP + (1 - share) * _SIDE
