"""What is said of a released model without any patient: made-up ones, the plan's own arithmetic."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hospital_node.privacy import experiment
from hospital_node.twins.validation import Release, Row, Section
from hospital_node.twins.validation_rows import auroc
from models import registry
from twinward.errors import TwinwardError
from twinward.ids import OrgName
from twinward.plan import Plan

Floats = NDArray[np.float64]


def section(plan: Plan) -> Section:
    """Privacy's price and a hospital left out, on made-up patients, by the plan's arithmetic."""
    title = "What privacy costs, and what a hospital left out gets"
    why = (
        "Made-up patients and this plan's own arithmetic in one process: it says that the method "
        "works, and nothing about medicine."
    )
    reference = registry.reference(plan.model)
    if reference is None or registry.risk(plan.model).module(plan.sites) is not None:
        note = "only logistic models with made-up patients of their own are compared"
        return Section(title, Release.PUBLIC, why, (Row("comparison", None, note=note),))
    train, test = experiment.split(_spread(reference, plan), 0)
    rows = [*_with_and_without(train, test, plan=plan), *_leave_one_out(train, test, plan=plan)]
    return Section(title, Release.PUBLIC, why, tuple(rows), origin=0.5)


def _with_and_without(
    train: Mapping[OrgName, experiment.Cohort],
    test: Mapping[OrgName, experiment.Cohort],
    *,
    plan: Plan,
) -> list[Row]:
    everyone = experiment.merged(train.values())
    exact = experiment.ridge(everyone, start=plan.start, strength=experiment.RIDGE)
    model, held_out = registry.risk(plan.model), experiment.merged(test.values())
    rows = [auroc("AUROC without privacy", model.predict(exact, held_out.x), held_out.y)]
    try:
        private = experiment.together(train, plan=plan)
    except TwinwardError as error:  # a plan of so few hospitals that nobody could hide
        return [*rows, Row("AUROC with privacy", None, note=error.diagnostic.message)]
    name = f"AUROC with privacy, epsilon {plan.epsilon:g}"
    return [auroc(name, model.predict(private, held_out.x), held_out.y), *rows]


def _leave_one_out(
    train: Mapping[OrgName, experiment.Cohort],
    test: Mapping[OrgName, experiment.Cohort],
    *,
    plan: Plan,
) -> list[Row]:
    rows: list[Row] = []
    model = registry.risk(plan.model)
    for out, part in test.items():
        others = {name: cohort for name, cohort in train.items() if name != out}
        title = f"AUROC at a made-up hospital left out, {len(rows) + 1}"
        try:
            weights = experiment.together(others, plan=plan)
        except TwinwardError as error:
            rows.append(Row(title, None, note=error.diagnostic.message))
            continue
        rows.append(auroc(title, model.predict(weights, part.x), part.y))
    return rows


def _spread(reference: Mapping[str, Floats], plan: Plan) -> dict[OrgName, experiment.Cohort]:
    """Made-up patients dealt to the hospitals of the plan, in order: each is a part of its own."""
    model = registry.risk(plan.model)
    count = next(iter(reference.values())).size
    ends = np.linspace(0, count, len(plan.sites) + 1).astype(np.int64)
    parts = {}
    for number, site in enumerate(plan.sites):
        here = slice(int(ends[number]), int(ends[number + 1]))
        columns = {name: values[here] for name, values in reference.items()}
        # Nobody's own level is used: a hospital that was left out has none.
        x = model.encode(columns, site=None, sites=plan.sites)
        parts[site] = experiment.Cohort(x, model.labels(columns))
    return parts
