"""One step of training on made-up patients, and one signed answer from the coordinator.

The same engine, sampler, noise and rounding as in a run, of a plan that nobody signed. No vector
leaves, nothing is charged, no record of this hospital is read.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hospital_node.members import ask, network
from hospital_node.privacy.clipped_sum import LogisticClippedSum
from hospital_node.privacy.mechanism import Mechanism
from ledger.tip import KIND as TIP_KIND
from models.cardiac_risk import recipe
from models.cardiac_risk.made_up import HOSPITALS, patients
from models.cardiac_risk.risk import CardiacRisk
from twinward.errors import InternalError
from twinward.founding import Founding
from twinward.ids import study_id
from twinward.plan import Plan
from twinward.signing import Document

_EXPECTED = 900


@dataclass(frozen=True, slots=True)
class DryRun:
    """What was seen. ``block`` is the newest block that the coordinator signed for."""

    patients: int
    values: int
    step_ms: float
    block: int


def dry_run(folder: Path, founding: Founding) -> DryRun:
    """Take a step on made-up patients, and ask the coordinator for a tip with our certificate.

    Raises:
        CoordinatorUnreachable: TW6001.
        IdentityError: The coordinator does not serve us, or the answer is not signed by it.
        InternalError: TW6037, the step did not give a vector.
    """
    with network(folder, founding) as stub:
        tip = Document.decode(ask(stub.Tip), kind=TIP_KIND, at="tip")
    tip.verify(founding.coordinator.identity)
    plan = recipe.plan(
        network=str(founding.chain["genesis_hash"]),
        study=study_id("dry-run"),
        sites=tuple(hospital.org for hospital in founding.hospitals),
        divisor=_EXPECTED,
        purpose="heart-research",
        grades=("signed-on-device",),
    )
    columns = patients(HOSPITALS[0])
    count = HOSPITALS[0].patients
    begun = time.perf_counter()
    values = _step(plan, columns)
    spent = 1000 * (time.perf_counter() - begun)
    return DryRun(patients=count, values=values, step_ms=spent, block=int(tip.payload["number"]))


def _step(plan: Plan, columns: dict[str, np.ndarray]) -> int:
    model = CardiacRisk()
    x = model.encode(columns, site=plan.sites[0], sites=plan.sites)
    y = model.labels(columns)
    engine = LogisticClippedSum(x, y, max_grad_norm=plan.max_grad_norm)
    everyone = np.ones(len(y), dtype=bool)
    noised = Mechanism(plan).release(engine, plan.start, everyone, len(plan.sites))
    if noised.vector.shape != (plan.dimension,):
        raise InternalError(
            "a step on made-up patients did not give a vector of the plan's length",
            code="TW6037",
            help="report it; nothing left this machine",
        )
    return plan.dimension
