"""How a prior of twins is learnt: one noised sum of bounded vectors, and no second attempt.

A spare attempt would have to be charged beforehand, and would make the noise of the one that counts
larger; a run that is lost is started again, and paid for again.
"""

from __future__ import annotations

from collections.abc import Sequence

from models import registry
from models.registry import PriorModel
from twinward.errors import TwinModelError
from twinward.ids import OrgName, StudyId
from twinward.plan import GRID_STEPS_PER_NORM, Evaluation, Plan

DELTA = 1e-5


def plan(
    *,
    prior: PriorModel,
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
    """The plan of a run of this prior; ``divisor`` is a public guess at the number of patients.

    Raises:
        TwinModelError: TW7135, a prior has no evaluation; TW7138, too few patients for this
            epsilon.
        UsageError: TW1020, the numbers do not make a usable plan.
    """
    if evaluation is not None:
        raise registry.no_risk(prior.name)
    if divisor * epsilon < prior.fewest:
        raise TwinModelError(
            f"{divisor} patients at epsilon {epsilon:g} are too few: the noise would outweigh "
            "what is learnt",
            code="TW7138",
            help=f"patients times epsilon must be at least {prior.fewest:g} for `{prior.name}`; "
            "the public start needs none",
        )
    spec = prior.spec(sites)
    made = Plan(
        network=network,
        study=study,
        model=prior.name,
        sites=tuple(sites),
        steps=1,
        spare_attempts=0,
        averaged_steps=1,
        epsilon=epsilon,
        delta=delta,
        max_grad_norm=prior.length,
        learning_rate=1.0,
        divisor=divisor,
        grid=prior.length / GRID_STEPS_PER_NORM,
        word_bits=64,
        max_patients_per_hospital=max_patients_per_hospital,
        slot_seconds=slot_seconds,
        deadline_seconds=deadline_seconds,
        purpose=purpose,
        grades=tuple(grades),
        model_spec=spec,
        start_weights=tuple(float(weight) for weight in prior.start(spec)),
    )
    return Plan.from_document(made.to_document())
