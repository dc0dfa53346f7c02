"""A validation report for people: one HTML file with plots, which needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hospital_node.twins.validation import Release, Report
from twinward.report import page, plots
from twinward.report.plans import Line, plans

_LETTER = 7
"""Pixels that a letter of a title takes at most, on average."""

TEMPLATES = Path(__file__).parent / "templates"


def render(report: Report, *, recorded: str | None = None) -> bytes:
    """The page; the same report gives the same bytes.

    Args:
        report: Whole, or what of it was handed out.
        recorded: What the ledger says of it, in words; None if it is not there yet.
    """
    head = report.head.payload
    return page.render(
        "validation_report.html",
        folder=TEMPLATES,
        head=head,
        digest=report.digest.hex(),
        recorded=recorded,
        kept_back=[one for one in head["sections"] if one["title"] not in report.sections],
        sections=[
            {**report.sections[one["title"]], **_plots(report.sections[one["title"]])}
            for one in head["sections"]
            if one["title"] in report.sections
        ],
        has_exact=any(body["release"] == Release.STAYS for body in report.sections.values()),
    )


def _plots(section: Mapping[str, Any]) -> dict[str, Any]:
    """A line per figure with an interval, and the curves of a risk model."""
    shown = [row for row in section["rows"] if _drawable(row)]
    curves = section["curves"]
    exact = curves.get("noise_sd", 0) == 0
    return {
        "lines": len(shown) > 1
        and plans(
            [Line(row["name"], row["value"], row["low"], row["high"], ()) for row in shown],
            title=section["title"],
            says=f"{len(shown)} figures with their 95 % intervals; the upright line is at "
            f"{section['origin']:g}.",
            across="",
            headings=(),
            origin=section["origin"],
            names=_LETTER * max(len(row["name"]) for row in shown) + 24,
        ),
        "roc": curves.get("roc") and plots.roc(curves["roc"], bars=not exact),
        "calibration": any(part["observed"] for part in curves.get("calibration", ()))
        and plots.calibration(curves["calibration"]),
    }


def _drawable(row: Mapping[str, Any]) -> bool:
    return row["drawn"] and all(row[end] is not None for end in ("value", "low", "high"))
