"""The release report for people: how good, at what price, and what none of it shows.

One HTML file that needs nothing else. Every figure carries its release class: public, or charged
with its own noise. It is a function of plan, transcripts and order, so its hash stands in the
signed release; its numbers come from ``card.json`` and ``evaluation.json``, which the offline
verifier checks. The course of the training is computed here, on made-up patients, and by anyone
again from the same sums.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twinward import gdp
from twinward.plan import Plan
from twinward.report import page, plots

TEMPLATES = Path(__file__).parent / "templates"

_ADVERSARIES = (
    ("public", "the public and auditors"),
    ("one_other_hospital", "one other hospital"),
    ("coordinator_with_colluders", "the coordinator with the hospitals assumed to collude"),
)


def render(
    card: Mapping[str, Any],
    *,
    plan: Plan,
    evaluation: Mapping[str, Any] | None,
    course: Sequence[float] | None,
    issued_at: str,
) -> bytes:
    """The report as a page.

    Args:
        card: The model card as a JSON value.
        plan: The plan of the run.
        evaluation: The content of ``evaluation.json``; None if the plan has no evaluation.
        course: AUROC before training and after each step, on public made-up patients; None if the
            model has none.
        issued_at: When the run was ordered, as the signed order says.
    """
    figures = None if evaluation is None else evaluation.get("figures")
    spent = [_spent("training", card["privacy"], mu=plan.mu, delta=plan.delta)]
    if figures is not None and evaluation is not None:
        numbers = plan.for_evaluation()
        spent.append(_spent("evaluation", evaluation["privacy"], mu=numbers.mu, delta=plan.delta))
    return page.render(
        "release_report.html",
        folder=TEMPLATES,
        card=card,
        plan=plan,
        issued_at=issued_at,
        evaluation=evaluation,
        figures=figures,
        adversaries=_ADVERSARIES,
        spent=spent,
        course=course,
        roc_plot=figures and figures["roc"] and plots.roc(figures["roc"]),
        calibration_plot=figures and plots.calibration(figures["calibration"]),
        course_plot=course and plots.course(course, low=_floor(course), high=1.0),
        budget_plot=plots.budget(
            [(one["who"], one["epsilon_charged"], one["epsilon"]) for one in spent]
        ),
    )


def _spent(what: str, privacy: Mapping[str, Any], *, mu: float, delta: float) -> dict[str, Any]:
    """What was set aside and what was charged, for the hospital that was charged most."""
    reserved = privacy["steps"] + privacy["spare_attempts"]
    charged = max(privacy["attempts_charged"].values())
    return {
        "what": what,
        "who": {"training": "patients trained on", "evaluation": "patients held out"}[what],
        "epsilon": privacy["epsilon"],
        "epsilon_charged": gdp.epsilon_of(mu * math.sqrt(charged / reserved), delta),
        "charged": charged,
        "reserved": reserved,
        "privacy": privacy,
    }


def _floor(course: Sequence[float]) -> float:
    """The upright axis starts at a tenth below the lowest value, and never above a half."""
    return min(0.5, math.floor(10 * min(course)) / 10)
