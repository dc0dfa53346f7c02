"""How the models over the electrocardiogram are trained: one sum per step, or steps at hospitals.

``plan``: full-batch descent under one price, as the logistic model. ``local_plan``: federated
averaging, with fewer exchanges and more noise. Steps, rates and norm were tried on other splits of
the public PTB-XL records than those that figures are given of.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from models import registry
from models.cardiac_ecg.risk import INFARCTION
from models.cardiac_risk import recipe
from twinward.plan import GRID_STEPS_PER_NORM, FedAvg, Plan

STEPS, SPARE_ATTEMPTS, AVERAGED_STEPS = 16, 2, 8
MAX_GRAD_NORM = 1.0
LEARNING_RATE = 0.5
ROUNDS, SPARE_ROUNDS, AVERAGED_ROUNDS = 8, 1, 4
LOCAL = FedAvg(
    local_steps=3, local_learning_rate=0.5, proximal=0.1, max_update_norm=2.0, momentum=0.3
)


def plan(*, model: str = INFARCTION.name, **agreed: Any) -> Plan:
    """The plan of a run of this model; takes what ``cardiac_risk.recipe.plan`` takes.

    Raises:
        UsageError: TW1020, the numbers do not make a usable plan.
        TwinModelError: TW7001, there is no such model.
    """
    logistic = recipe.plan(**agreed)
    installed = registry.get(model)
    spec = installed.spec(logistic.sites)
    made = replace(
        logistic,
        model=model,
        model_spec=spec,
        start_weights=tuple(float(weight) for weight in installed.start(spec)),
        steps=STEPS,
        spare_attempts=SPARE_ATTEMPTS,
        averaged_steps=AVERAGED_STEPS,
        max_grad_norm=MAX_GRAD_NORM,
        grid=MAX_GRAD_NORM / GRID_STEPS_PER_NORM,
        learning_rate=LEARNING_RATE,
    )
    return Plan.from_document(made.to_document())


def local_plan(*, model: str = INFARCTION.name, **agreed: Any) -> Plan:
    """The plan of a run of this model by federated averaging; takes what ``plan`` takes.

    Raises:
        UsageError: TW1020, the numbers do not make a usable plan.
        TwinModelError: TW7001, there is no such model.
    """
    made = replace(
        plan(model=model, **agreed),
        aggregate="fedavg",
        steps=ROUNDS,
        spare_attempts=SPARE_ROUNDS,
        averaged_steps=AVERAGED_ROUNDS,
        learning_rate=1.0,
        fedavg=LOCAL,
    )
    return Plan.from_document(made.to_document())
