"""What a validation of a released risk model says, on patients whom it never saw.

Exact figures stay at the node; the figures of the network's own evaluation were paid for in its
run; what is said without any patient is said on made-up ones, with the plan's own arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hospital_node.privacy import experiment
from hospital_node.twins import validation_made_up
from hospital_node.twins.validation import Release, Row, Section
from hospital_node.twins.validation_rows import TOO_FEW, auroc, between
from models import evaluation, registry
from models import validation as maths
from twinward.ids import OrgName
from twinward.plan import Plan

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

ALARM = 0.01
"""Probability below which a change is called drift, all comparisons together."""

LEAST_SLOPE, MOST_SLOPE = 0.5, 2.0
"""A calibration slope whose whole interval lies outside is an alarm."""

_BINS = 8
_HERE = "Exact, on patients of this hospital who permitted the study"
REFERENCE = "What later reports are compared with"


@dataclass(frozen=True, slots=True)
class Measured:
    """One hospital's patients under one released model.

    Attributes:
        plan: Of the model.
        org: This hospital.
        columns: Records of the patients who are measured on.
        scores: The model's probabilities for them.
        labels: 1 ill, 0 well.
        own: Encoded records and labels of the patients whom the hospital may train on, for
            comparison; None where the model is not logistic, or no such patients are here.
        weights: The released ones.
        evaluation: The network's own, from the evidence; None if it made none.
        elsewhere: Scores of a model of a run without this hospital; None if nobody brought one.
    """

    plan: Plan
    org: OrgName
    columns: Mapping[str, Floats]
    scores: Floats
    labels: Floats
    own: experiment.Cohort | None
    weights: Floats
    evaluation: Mapping[str, Any] | None
    elsewhere: Floats | None = None

    @property
    def is_outside(self) -> bool:
        """Whether no patient of this hospital was trained on."""
        return self.org not in self.plan.sites


def sections(
    found: Measured, *, before: Mapping[str, Any] | None
) -> tuple[tuple[Section, ...], tuple[str, ...]]:
    """All figures, and what is alarming about them.

    Args:
        found: What was measured.
        before: The section ``REFERENCE`` of the first report; None if this is the first.
    """
    reference = _reference(found) if before is None else before
    drifted, alarms = _drift(found, reference, is_first=before is None)
    calibrated = _calibrated(found)
    alarms += tuple(_slope_alarm(calibrated.rows))
    return (
        _ranking(found),
        calibrated,
        _in_groups(found),
        _left_out(found),
        _against_own(found),
        drifted,
        _charged(found),
        validation_made_up.section(found.plan),
        Section(
            REFERENCE,
            Release.STAYS,
            "Histograms of scores and inputs of the first report; in the file beside the page.",
            (),
            reference,
        ),
    ), alarms


def _ranking(found: Measured) -> Section:
    curves = evaluation.as_json(evaluation.ranked(found.scores, found.labels))
    return Section(
        "Does it rank patients rightly?",
        Release.STAYS,
        f"{_HERE} and were not trained on.",
        (auroc("AUROC", found.scores, found.labels),),
        {"roc": curves["roc"], "noise_sd": 0.0},
        origin=0.5,
    )


def _calibrated(found: Measured) -> Section:
    counts = evaluation.binned(found.scores, found.labels, bins=_BINS)
    line = maths.recalibration(found.scores, found.labels)
    n = found.labels.size
    names = ("intercept (0 if true)", "slope (1 if true)")
    lines = (None, None) if line is None else line
    return Section(
        "Are its probabilities true?",
        Release.STAYS,
        f"{_HERE} and were not trained on.",
        (
            *(
                between(name, each, of=n, lacking=f"{TOO_FEW}; or scores part the classes")
                for name, each in zip(names, lines, strict=True)
            ),
            between(
                "mean probability less share ill",
                maths.too_high(found.scores, found.labels),
                of=n,
                lacking="fewer than 10 patients",
            ),
        ),
        {"calibration": evaluation.as_json(counts)["calibration"], "noise_sd": 0.0},
    )


def _in_groups(found: Measured) -> Section:
    rows = []
    for name, here in maths.groups(found.columns):
        scores, labels = found.scores[here], found.labels[here]
        rows.append(auroc(f"AUROC, {name}", scores, labels))
        rows.append(
            between(
                f"mean probability less share ill, {name}",
                maths.too_high(scores, labels),
                of=labels.size if labels.size >= evaluation.FEWEST_PER_CLASS else None,
                lacking="fewer than 10 patients",
            )
        )
    return Section(
        "Is it as good for everybody?",
        Release.STAYS,
        f"{_HERE}; a group is shown from ten patients of a class on.",
        tuple(rows) or (Row("groups", None, note="the records hold neither sex nor age"),),
        origin=0.5,
    )


def _left_out(found: Measured) -> Section:
    """The figure that a hospital gets for a model that learnt nothing from it."""
    if found.is_outside:
        row = auroc("AUROC where nobody was trained on", found.scores, found.labels)
    elif found.elsewhere is not None:
        row = auroc("AUROC of the model without this hospital", found.elsewhere, found.labels)
    else:
        row = Row(
            "AUROC of a model without this hospital",
            None,
            note="this hospital gave vectors to this model; a run without it has a price of its "
            "own. Bring its evidence pack with --without to see the figure",
        )
    rows = [row]
    if found.elsewhere is not None:
        gain = maths.auroc_difference(found.scores, found.elsewhere, found.labels)
        rows.append(between("gained by taking part", gain, of=found.labels.size, lacking=TOO_FEW))
    return Section(
        "How good is it at a hospital that gave nothing to it?",
        Release.STAYS,
        f"{_HERE} and were not trained on.",
        tuple(rows),
    )


def _against_own(found: Measured) -> Section:
    """The network's model against what this hospital has alone, which never leaves it."""
    own, plan = found.own, found.plan
    title = "Is the network's model better than what this hospital has alone?"
    why = f"{_HERE}: the comparisons were trained on the others, exactly, and are kept by nobody."
    if own is None or not maths.enough(own.y):
        note = "not a logistic model, or too few patients here to train on"
        return Section(title, Release.STAYS, why, (Row("comparison", None, note=note),))
    model = registry.risk(plan.model)
    site = None if found.is_outside else found.org
    x = model.encode(found.columns, site=site, sites=plan.sites)
    rivals = {
        "the public start, no patient at all": plan.start,
        "trained here alone, without privacy": experiment.ridge(
            own, start=plan.start, strength=experiment.RIDGE
        ),
        "the network's, fitted further here": experiment.personalise(found.weights, own, plan=plan),
    }
    rows = [auroc("AUROC of the network's model", found.scores, found.labels)]
    for name, weights in rivals.items():
        scores = model.predict(weights, x)
        rows.append(auroc(f"AUROC, {name}", scores, found.labels))
        gain = maths.auroc_difference(found.scores, scores, found.labels)
        row = between(f"gain over: {name}", gain, of=found.labels.size, lacking=TOO_FEW)
        rows.append(row)
    return Section(title, Release.STAYS, why, tuple(rows), origin=0.5)


def _drift(
    found: Measured, reference: Mapping[str, Any], *, is_first: bool
) -> tuple[Section, tuple[str, ...]]:
    title = "Have the patients changed since the first report?"
    why = "Histograms of this hospital's patients who permit the study, then and now."
    if is_first:
        note = "this is the first report here; later ones are compared with it"
        return Section(title, Release.STAYS, why, (Row("drift", None, note=note),)), ()
    rows, alarms = [], []
    histograms = reference["histograms"]
    limit = ALARM / max(len(histograms), 1)
    for name, before in histograms.items():
        values = found.scores if name == "score" else found.columns.get(name)
        if values is None:
            continue
        chance = maths.same_share(before["counts"], maths.histogram(values, before["borders"]))
        changed = chance is not None and chance < limit
        if changed:
            alarms.append(f"`{name}` has changed since the first report (p = {chance:.1g})")
        rows.append(
            Row(
                f"{name}: probability of so much change by chance",
                chance,
                note="too few patients to tell" if chance is None else "DRIFT" if changed else "",
            )
        )
    return Section(title, Release.STAYS, why, tuple(rows)), tuple(alarms)


def _reference(found: Measured) -> dict[str, Any]:
    tables = {"score": found.scores, **found.columns}
    borders = {name: maths.borders_of(values) for name, values in tables.items()}
    return {
        "histograms": {
            name: {"borders": borders[name], "counts": maths.histogram(values, borders[name])}
            for name, values in sorted(tables.items())
            if borders[name]
        }
    }


def _charged(found: Measured) -> Section:
    """The pooled figures of the run, noised and paid for: the only ones of patients that leave."""
    title = "What the network's own evaluation found"
    figures = (found.evaluation or {}).get("figures")
    if found.evaluation is None or figures is None:
        why = "A noised histogram over the hospitals, paid for in the run."
        note = "the plan of this run has no evaluation, or it could not be made"
        return Section(title, Release.CHARGED, why, (Row("AUROC, pooled", None, note=note),))
    privacy = found.evaluation["privacy"]
    why = (
        f"A histogram over the patients kept out at all hospitals, at epsilon "
        f"{privacy['epsilon']:g} and delta {privacy['delta']:g} for each of them; noise included."
    )
    ranking = figures["auroc"]
    row = Row("AUROC, pooled", None, note="too few patients stand out of the noise")
    if ranking is not None:
        row = Row("AUROC, pooled", ranking["value"], ranking["low"], ranking["high"])
    curves = {name: figures[name] for name in ("roc", "calibration", "noise_sd")}
    return Section(title, Release.CHARGED, why, (row,), curves, origin=0.5)


def _slope_alarm(rows: Sequence[Row]) -> list[str]:
    slope = next(row for row in rows if row.name.startswith("slope"))
    if slope.low is None or slope.high is None:
        return []
    if slope.high < LEAST_SLOPE or slope.low > MOST_SLOPE:
        return [f"the calibration slope is {slope.value:.2f}, far from 1"]
    return []
