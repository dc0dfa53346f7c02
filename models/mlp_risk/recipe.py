"""How the small network is trained: by one sum per step, or by steps inside each hospital.

``plan``: as the logistic model, step for step, under the same price. ``local_plan``: federated
averaging, which needs fewer sums and more noise. The numbers of both were tried on the made-up
patients of ``cardiac_risk.made_up`` and no real record was looked at for them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from models import registry
from models.cardiac_risk import recipe
from twinward.plan import FedAvg, Plan

MODEL = "mlp_risk/1"
ROUNDS, SPARE_ROUNDS, AVERAGED_ROUNDS = 6, 1, 3
LOCAL = FedAvg(
    local_steps=3, local_learning_rate=0.45, proximal=0.1, max_update_norm=2.0, momentum=0.3
)

ROBUST = replace(LOCAL, visible_updates=True, rule="trimmed_mean", hostile=1)
"""The same with updates in sight, so that one hospital cannot spoil the model."""


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


def local_plan(*, local: FedAvg = LOCAL, **agreed: Any) -> Plan:
    """The plan of a run of this model by federated averaging; takes what ``plan`` takes.

    Raises:
        UsageError: TW1020, the numbers do not make a usable plan.
    """
    made = replace(
        plan(**agreed),
        aggregate="fedavg",
        steps=ROUNDS,
        spare_attempts=SPARE_ROUNDS,
        averaged_steps=AVERAGED_ROUNDS,
        learning_rate=1.0,
        fedavg=local,
    )
    return Plan.from_document(made.to_document())
