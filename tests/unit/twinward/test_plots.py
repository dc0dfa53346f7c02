"""Plots: what they draw is where the numbers say, and a curve of noised counts does not fall."""

import re

import numpy as np

from models import evaluation
from twinward.report import plots


def curve(svg):
    (points,) = re.findall(r'<polyline class="curve" points="([^"]*)"', svg)
    return np.array([[float(n) for n in pair.split(",")] for pair in points.split()])


def test_a_roc_line_never_falls_though_noised_marks_do():
    rows = np.array([[3.0, -4, 12, 18, 27, 42], [42.0, 27, 18, -6, 9, 3]])
    points = evaluation.as_json(evaluation.Counts(rows[0], rows[1], 3.0))["roc"]
    across = [p["false_alarms"]["value"] for p in points]
    assert sorted(across, reverse=True) != across  # they do fall
    drawn = curve(plots.roc(points))
    assert (np.diff(drawn[:, 0]) >= 0).all()
    assert (np.diff(drawn[:, 1]) <= 0).all()  # upwards on a screen


def test_exact_counts_are_drawn_as_they_are():
    counts = evaluation.Counts(np.array([5.0, 15.0]), np.array([15.0, 5.0]))
    drawn = curve(plots.roc(evaluation.as_json(counts)["roc"]))
    side = drawn[-1, 0] - drawn[0, 0]
    assert drawn[1, 0] == drawn[0, 0] + side * 0.25
    assert drawn[1, 1] == drawn[0, 1] - side * 0.75


def test_bars_of_what_was_spent_are_in_proportion_and_told_in_words():
    svg = plots.budget([("trained <on>", 0.5, 1.0), ("held out", 3.0, 3.0)])
    widths = [float(w) for w in re.findall(r'class="used"[^>]* width="([0-9.]+)"', svg)]
    assert widths == [50.0, 300.0]
    assert "trained &lt;on&gt;: 0.50 of 1 set aside; held out: 3.00 of 3 set aside" in svg
    assert "<on>" not in svg
