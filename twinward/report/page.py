"""One HTML file out of a template: no script, no font, no image from anywhere else.

Every value is escaped by the template engine; only ``Svg`` made by ``plots`` goes in as it is. The
page forbids itself to load anything (its own Content-Security-Policy), so opening it tells nobody.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_SHELL = Path(__file__).parent


def render(template: str, *, folder: Path, **values: Any) -> bytes:
    """The page as bytes; the same values give the same bytes.

    Args:
        template: Name of the template, which extends ``shell.html``.
        folder: Where it lies.
        values: What it shows; a name that is missing is an error, never an empty place.
    """
    import jinja2  # noqa: PLC0415 - 60 ms that only whoever writes a report waits for

    engine = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, _SHELL]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    engine.filters |= {"figure": figure, "interval": interval, "percent": percent, "short": short}
    return engine.get_template(template).render(**values).encode()


def figure(value: float) -> str:
    """Three digits, as a reader of tables expects."""
    return f"{value:.3f}"


def interval(estimate: dict[str, float]) -> str:
    """A value with its 95 % interval."""
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


def percent(value: float) -> str:
    """A share in whole per cent."""
    return f"{100 * value:.0f}\u00a0%"


def short(value: float) -> str:
    """A setting as people write it: 3, 0.5, 1e-5."""
    return f"{value:g}".replace("e-0", "e-")
