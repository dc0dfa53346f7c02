"""How the small network is trained: as the logistic model, step for step, under the same price.

Norm, rate and number of steps of ``cardiac_risk.recipe`` were tried on the made-up patients of
``cardiac_risk.made_up`` among eight settings and kept; no real record was looked at for them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from models import registry
from models.cardiac_risk import recipe
from twinward.plan import Plan

MODEL = "mlp_risk/1"


def plan(**agreed: Any) -> Plan:
    """The plan of a run of this model; takes what ``cardiac_risk.recipe.plan`` takes.

    Raises:
        UsageError: TW1020, the numbers do not make a usable plan.
    """
    logistic = recipe.plan(**agreed)
    model = registry.get(MODEL)
    spec = model.spec(logistic.sites)
    made = replace(
        logistic,
        model=MODEL,
        model_spec=spec,
        start_weights=tuple(float(weight) for weight in model.start(spec)),
    )
    return Plan.from_document(made.to_document())
