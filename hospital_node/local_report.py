"""The hospital's own report on a released model: exact, on its own patients, never sent anywhere.

``state/reports/RUN.html``, readable by the node's user alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hospital_node.paths import NodePaths
from hospital_node.settings import FILE, NodeSettings
from models import evaluation, registry
from twinward.files import write_atomic
from twinward.ids import OrgName, RunId
from twinward.plan import Plan
from twinward.report import page, plots
from twinward.settings import load

TEMPLATES = Path(__file__).parent / "templates"
_BINS = 8


def write(
    folder: Path,
    plan: Plan,
    *,
    run: RunId,
    scores: NDArray[np.float64],
    labels: NDArray[np.float64],
) -> Path:
    """Write the report on these patients, replacing one of the same run; returns where it lies.

    Raises:
        OSError: The disk did not take it; the old report, if any, is whole.
    """
    org = load(NodeSettings, folder / FILE).org
    path = NodePaths(folder).reports / f"{run}.html"
    write_atomic(path, render(plan, org=org, run=run, scores=scores, labels=labels), mode=0o600)
    return path


def render(
    plan: Plan,
    *,
    org: OrgName,
    run: RunId,
    scores: NDArray[np.float64],
    labels: NDArray[np.float64],
) -> bytes:
    """The report as a page."""
    exact = evaluation.as_json(evaluation.ranked(scores, labels))
    parts = evaluation.as_json(evaluation.binned(scores, labels, bins=_BINS))["calibration"]
    ranking = exact["auroc"]
    return page.render(
        "local_report.html",
        folder=TEMPLATES,
        title=registry.get(plan.model).title,
        org=org,
        study=plan.study,
        run=run,
        fewest=evaluation.FEWEST_PER_CLASS,
        auroc=ranking and ranking["value"],
        low=ranking and ranking["low"],
        high=ranking and ranking["high"],
        roc_plot=plots.roc(exact["roc"], bars=False),
        calibration=parts,
        calibration_plot=plots.calibration(parts),
    )
