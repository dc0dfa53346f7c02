"""How the cardiac risk model is trained: the plan with the settings that were found to work.

Full-batch descent with the norm in natural units, early stopping by few steps, and the mean of the
last half of the iterates. T, C and the learning rate were chosen on other splits of the public UCI
records (the model card says so); a study on other patients keeps them or pays for a search.
"""

from __future__ import annotations

from collections.abc import Sequence

from models import registry
from twinward.ids import OrgName, StudyId
from twinward.plan import GRID_STEPS_PER_NORM, Evaluation, Plan

MODEL = "cardiac_risk/1"
STEPS = 30
SPARE_ATTEMPTS = 3
AVERAGED_STEPS = 15
MAX_GRAD_NORM = 2.0
DELTA = 1e-5
EVALUATION = Evaluation(holdout_share=0.2, epsilon=3.0, bins=8, spare_attempts=1)
"""What a study measures its model by unless it says otherwise; ``plan`` itself leaves it out."""


def learning_rate(epsilon: float) -> float:
    """Smaller steps under more noise: 0.45 from epsilon 1 on, in proportion below."""
    return 0.45 * min(epsilon, 1.0)


def plan(
    *,
    network: str,
    study: StudyId,
    sites: Sequence[OrgName],
    divisor: int,
    purpose: str,
    grades: Sequence[str],
    epsilon: float = 1.0,
    delta: float = DELTA,
    max_patients_per_hospital: int = 4096,
    slot_seconds: float = 0.005,
    deadline_seconds: float = 1.0,
    evaluation: Evaluation | None = None,
) -> Plan:
    """The plan of a run of this model.

    ``divisor`` is a public guess at the number of patients who are trained on: it only scales the
    steps, and must not be counted from records.

    Raises:
        UsageError: TW1020, the numbers do not make a usable plan.
    """
    model = registry.get(MODEL)
    spec = model.spec(sites)
    made = Plan(
        network=network,
        study=study,
        model=MODEL,
        sites=tuple(sites),
        steps=STEPS,
        spare_attempts=SPARE_ATTEMPTS,
        averaged_steps=AVERAGED_STEPS,
        epsilon=epsilon,
        delta=delta,
        max_grad_norm=MAX_GRAD_NORM,
        learning_rate=learning_rate(epsilon),
        divisor=divisor,
        grid=MAX_GRAD_NORM / GRID_STEPS_PER_NORM,
        word_bits=64,
        max_patients_per_hospital=max_patients_per_hospital,
        slot_seconds=slot_seconds,
        deadline_seconds=deadline_seconds,
        purpose=purpose,
        grades=tuple(grades),
        model_spec=spec,
        start_weights=tuple(float(weight) for weight in model.start(spec)),
        evaluation=evaluation,
    )
    return Plan.from_document(made.to_document())
