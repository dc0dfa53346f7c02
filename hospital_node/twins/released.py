"""A population that the network released: taken from its evidence pack, and only if that verifies.

The pack is checked offline against this hospital's own founding file: the sums are added again, the
numbers recomputed bit for bit, the record on the ledger proved. What a twin starts from is then a
function of these numbers and of the signed plan.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ledger import verify
from models import registry
from models.registry import PriorModel
from models.twin import Population
from twinward.errors import EvidenceError, TwinModelError
from twinward.plan import KIND as PLAN_KIND
from twinward.plan import Plan
from twinward.signing import Document

_RELEASE_KIND = "twinward/release/v1"


@dataclass(frozen=True, slots=True)
class Released:
    """What a release says to twins.

    Attributes:
        prior: The installed model that was trained.
        digest: Of the release, in hex; it stands on the ledger.
        population: What a twin starts from.
        noise_sd: Of each released number, in the model's own units; public.
        epsilon: What the run may say about a patient.
    """

    prior: PriorModel
    digest: str
    population: Population
    noise_sd: float
    epsilon: float


def read(pack: Path, *, founding: bytes) -> Released:
    """The population in this evidence pack.

    Raises:
        EvidenceError: TW7187, the pack does not verify against this hospital's founding file.
        TwinModelError: TW7188, what was released is nothing that a twin here starts from; TW7005,
            its constants are others than those installed here.
    """
    report = verify.verify(pack, founding=founding)
    if not report.ok:
        raise EvidenceError(
            f"this evidence pack does not verify: {report.faults[0].message}",
            code="TW7187",
            at=str(pack),
            note=f"{report.faults[0].code}, {report.faults[0].record}",
            help="ask the coordinator for the pack again; nothing was taken over",
        )
    records, _ = verify.read_archive(pack.read_bytes())
    if "model.safetensors" not in records:
        raise _no_population(pack)
    plan = Plan.from_document(Document.decode(records["plan.json"], kind=PLAN_KIND))
    prior = registry.prior(plan.model)
    if prior is None:
        raise _no_population(pack)
    registry.require_same_spec(plan.model, plan.model_spec, sites=plan.sites)
    weights = np.array(verify.read_safetensors(records["model.safetensors"]))
    sd = _noise_sd(plan, json.loads(records["card.json"])["privacy"])
    return Released(
        prior=prior,
        digest=Document.decode(records["release.json"], kind=_RELEASE_KIND).digest.hex(),
        population=prior.population(weights, noise_variance=sd**2, divisor=plan.divisor),
        noise_sd=sd,
        epsilon=plan.epsilon,
    )


def _noise_sd(plan: Plan, privacy: dict[str, float]) -> float:
    """Of each number: all shares of the members who summed, over the public number of patients."""
    shares = privacy["fewest_members"] / privacy["fewest_honest_shares"]
    per_sum: float = plan.noise_multiplier * plan.max_grad_norm * shares**0.5
    return per_sum * plan.learning_rate / plan.divisor


def _no_population(pack: Path) -> TwinModelError:
    return TwinModelError(
        "what was released in this pack is nothing that a twin here starts from",
        code="TW7188",
        at=str(pack),
        help="take the pack of a run of a prior, such as the study `glucose-prior`",
    )
