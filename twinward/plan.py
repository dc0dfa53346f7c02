"""The plan of a study: everything that decides what is computed, as signed data.

A plan is the only thing a coordinator can ask of a hospital. It is approved once, by its digest;
runs of it are told apart by their run ids. Every constant that touches a patient's record stands
in it, so "what was done" can be recomputed from the plan and the sums.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from twinward import gdp
from twinward.canonical import tagged_hash
from twinward.errors import UsageError
from twinward.ids import OrgName, StudyId
from twinward.plan_form import PlanForm, Rule
from twinward.quorum import CLASSES, Sizes
from twinward.secsum.profile import KEPT_DIMENSION
from twinward.signing import Document

KIND = "twinward/plan/v1"
GRID_STEPS_PER_NORM = 2**16
"""The grid is this fraction of the clipping norm (facts: rounding then costs under .01 %)."""

MOST_RELEASES = 100_000
"""Noised sums over patients in one run that are still accounted."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How the finished model is measured on patients who were kept out of training.

    Every hospital keeps out ``holdout_share`` of its patients, chosen by a keyed hash of the record
    number, and adds up how many of them, ill and well, have a score in each of ``bins`` equal
    parts of 0 to 1. ``epsilon``, at the plan's delta, bounds what all ``1 + spare_attempts``
    noised sums together say about one of those patients; none of them is trained on.
    """

    holdout_share: float
    epsilon: float
    bins: int
    spare_attempts: int


@dataclass(frozen=True, slots=True)
class Sampling:
    """How patients are drawn for each attempt, and what a whole run then costs.

    Each hospital draws each of its patients with chance ``rate``, independently and in secret,
    afresh for every attempt (Poisson). ``noise_multiplier`` is the standard deviation of the summed
    noise in units of the norm, ``charged_mu`` what the book charges for the whole run. Both follow
    from the rate by numerical composition (``twinward.accounting``); every hospital computes them
    again before it takes part.
    """

    rate: float
    noise_multiplier: float
    charged_mu: float


@dataclass(frozen=True, slots=True)
class FedAvg:
    """How a hospital trains by itself between two sums (McMahan et al. 2017, with DP-SGD inside).

    Each attempt is ``local_steps`` noised steps at rate ``local_learning_rate``, each with the
    FULL noise of the claim: no one else's noise is in it, so the secure sum hides a hospital's
    update and does not reduce its noise. ``proximal`` pulls back to the round's first weights
    (FedProx, Li et al. 2020). What leaves is the change of the weights, cut to
    ``max_update_norm``; the coordinator's ``momentum`` carries part of the last move on (FedAvgM,
    Hsu et al. 2019). The sum is divided by the number of the plan's hospitals, never by a count.

    With ``visible_updates`` nothing is masked: the coordinator, and whoever has the evidence pack,
    sees what each hospital changed, and a robust ``rule`` bounds what ``hostile`` of them can do.
    Patients keep their epsilon, which is in every update; a hospital has to agree to this by name.
    """

    local_steps: int
    local_learning_rate: float
    proximal: float
    max_update_norm: float
    momentum: float
    visible_updates: bool = False
    rule: Rule = "mean"
    hostile: int = 0

    @property
    def fewest_members(self) -> int:
        """Fewer than these, and the rule cannot withstand so many hostile ones."""
        return 2 * self.hostile + (3 if self.rule == "krum" else 1)

    @property
    def grid(self) -> float:
        """What one step of an update's grid is worth, in units of the weights."""
        return self.max_update_norm / GRID_STEPS_PER_NORM


@dataclass(frozen=True)
class Plan:
    """What every hospital does in a run of this study, and at what price in privacy.

    Units: ``slot_seconds`` and ``deadline_seconds`` in seconds; ``grid`` in units of the gradient;
    weights are float64. ``epsilon`` and ``delta`` bound what a whole run says about one patient at
    one hospital (zero-out adjacency), all ``steps + spare_attempts`` attempts charged.
    """

    network: str
    study: StudyId
    model: str
    sites: tuple[OrgName, ...]
    steps: int
    spare_attempts: int
    averaged_steps: int
    epsilon: float
    delta: float
    max_grad_norm: float
    learning_rate: float
    divisor: int
    grid: float
    word_bits: int
    max_patients_per_hospital: int
    slot_seconds: float
    deadline_seconds: float
    purpose: str
    grades: tuple[str, ...]
    model_spec: Mapping[str, Any]
    start_weights: tuple[float, ...]
    aggregate: str = "secure_sum"
    evaluation: Evaluation | None = None
    sampling: Sampling | None = None
    fedavg: FedAvg | None = None
    sizes: Sizes | None = None
    shards: int | None = None
    """In how many parts a hospital's patients are trained on, one part in a run; None is whole."""

    @cached_property
    def start(self) -> NDArray[np.float64]:
        """The first weights; public."""
        return np.array(self.start_weights, dtype=np.float64)

    @property
    def dimension(self) -> int:
        """How many numbers one hospital sends per step."""
        return len(self.start_weights)

    @property
    def attempts(self) -> int:
        """Vectors that may leave a hospital in one run, each charged: T + R."""
        return self.steps + self.spare_attempts

    @property
    def releases(self) -> int:
        """Noised sums over patients in one run: several for each attempt where steps are local."""
        return self.attempts * (1 if self.fedavg is None else self.fedavg.local_steps)

    @property
    def visible_updates(self) -> bool:
        """Whether vectors leave without masks."""
        return self.fedavg is not None and self.fedavg.visible_updates

    @property
    def sample_rate(self) -> float:
        """Chance of a patient to be in one attempt; 1 is everyone who permits it."""
        return 1.0 if self.sampling is None else self.sampling.rate

    @cached_property
    def mu(self) -> float:
        """Gaussian-DP parameter that a whole run is charged at (Dong, Roth, Su 2022)."""
        if self.sampling is not None:
            return self.sampling.charged_mu
        return gdp.mu_of(self.epsilon, self.delta)

    @property
    def mu2_per_attempt(self) -> float:
        """What one attempt costs in mu^2, the currency that adds up."""
        return self.mu**2 / self.attempts

    @property
    def divisible(self) -> bool:
        """Whether a part of a run costs its share: not when patients are sampled."""
        return self.sampling is None

    @property
    def noise_multiplier(self) -> float:
        """Standard deviation of the noise of one release, in units of the norm.

        Of the noise of all hospitals together; of each one's own where steps are local.
        """
        if self.sampling is not None:
            return self.sampling.noise_multiplier
        return math.sqrt(self.releases) / self.mu

    @property
    def max_abs_sum(self) -> int:
        """The largest honest coordinate of a sum, in grid steps: beyond it a sum is refused.

        Every patient of every hospital at full norm plus twelve standard deviations of noise
        (twice the total, because the share is calibrated for ``|U| - c`` hospitals). Updates of
        local training are cut to their norm after the noise.
        """
        if self.fedavg is not None:
            return len(self.sites) * GRID_STEPS_PER_NORM
        patients = len(self.sites) * self.max_patients_per_hospital * self.max_grad_norm
        noise = 24.0 * self.noise_multiplier * self.max_grad_norm
        return math.ceil((patients + noise) / self.grid)

    @property
    def quorum(self) -> int:
        """How many of its hospitals must approve it, on the ledger, before anyone reserves."""
        return len(self.sites) // 2 + 1

    def enough(self, present: Collection[str]) -> bool:
        """Whether these of its hospitals may make a step together, by their declared sizes."""
        return self.sizes is None or self.sizes.enough(self.sites, present)

    @property
    def holdout_share(self) -> float:
        """The part of each hospital's patients that is kept out of training; 0 if nobody is."""
        return 0.0 if self.evaluation is None else self.evaluation.holdout_share

    def for_evaluation(self) -> Plan:
        """The numbers of the evaluation, as a plan of one step over 2 * bins counts.

        One patient is one count of 1, so the norm is 1 exactly and nothing is ever clipped. It is
        not a plan that anyone approves: the evaluation runs under the digest of the whole plan.
        """
        if self.evaluation is None:
            raise ValueError("this plan has no evaluation")
        return replace(
            self,
            aggregate="secure_sum",
            fedavg=None,
            steps=1,
            spare_attempts=self.evaluation.spare_attempts,
            averaged_steps=1,
            epsilon=self.evaluation.epsilon,
            max_grad_norm=1.0,
            grid=1.0 / GRID_STEPS_PER_NORM,
            start_weights=(0.0,) * (2 * self.evaluation.bins),
            evaluation=None,
            sampling=None,
            sizes=None,
        )

    def to_document(self) -> Document:
        """The plan as an unsigned document."""
        payload = asdict(self)
        for name in ("sites", "grades", "start_weights"):
            payload[name] = list(payload[name])
        for name in ("sizes", "shards"):
            if payload[name] is None:
                del payload[name]  # a plan without them is spelled as before there were any
        if self.sizes is not None:
            payload["sizes"]["classes"] = list(self.sizes.classes)
        return Document(KIND, payload)

    @cached_property
    def digest(self) -> bytes:
        """32 bytes that name the plan: what hospitals approve and the ledger records."""
        return self.to_document().digest

    @classmethod
    def from_document(cls, document: Document) -> Plan:
        """Read a plan, refusing anything that is not completely and consistently one.

        Raises:
            UsageError: TW1020.
        """
        try:
            form = PlanForm.model_validate(dict(document.payload))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise _bad_plan(f"{place}: {first['msg']}") from error
        fields = form.model_dump()
        fields["sites"] = tuple(OrgName(site) for site in form.sites)
        if form.evaluation is not None:
            fields["evaluation"] = Evaluation(**form.evaluation.model_dump())
        if form.sampling is not None:
            fields["sampling"] = Sampling(**form.sampling.model_dump())
        if form.fedavg is not None:
            fields["fedavg"] = FedAvg(**form.fedavg.model_dump())
        if form.sizes is not None:
            fields["sizes"] = Sizes(**form.sizes.model_dump())
        plan = cls(**fields)
        plan.require_consistent()
        if plan.digest != document.digest:
            raise _bad_plan("numbers are not spelled in their canonical form")
        return plan

    def require_consistent(self) -> None:
        """Refuse a plan whose numbers contradict each other.

        Raises:
            UsageError: TW1020.
        """
        if len(set(self.sites)) != len(self.sites):
            raise _bad_plan("a hospital is named twice in `sites`")
        self._require_consistent_mode()
        if self.sizes is not None and (
            len(self.sizes.classes) != len(self.sites) or not set(self.sizes.classes) <= {*CLASSES}
        ):
            raise _bad_plan("`sizes` must give every hospital a class of 1, 2, 4, 8 or 16")
        if self.shards is not None and (self.evaluation or self.sampling or self.fedavg):
            raise _bad_plan("`shards` go with neither `evaluation`, `sampling` nor `fedavg`")
        if self.averaged_steps > self.steps:
            raise _bad_plan("`averaged_steps` is larger than `steps`")
        if self.grid != self.max_grad_norm / GRID_STEPS_PER_NORM:
            raise _bad_plan("`grid` must be `max_grad_norm` / 65536")
        if self.max_abs_sum >= 2 ** (self.word_bits - 1):
            raise _bad_plan("sums can exceed the word; use 64 bits or a smaller cap on patients")
        if self.deadline_seconds < 2 * self.slot_seconds:
            raise _bad_plan("`deadline_seconds` must be at least twice `slot_seconds`")
        if not all(math.isfinite(weight) for weight in self.start_weights):
            raise _bad_plan("`start_weights` must be finite")
        if self.evaluation is not None:
            self.for_evaluation().require_consistent()

    def _require_consistent_mode(self) -> None:
        if (self.aggregate == "fedavg") != (self.fedavg is not None):
            raise _bad_plan("`fedavg` belongs to the mode `fedavg`, and only there")
        if self.fedavg is None:
            return
        if self.fedavg.local_learning_rate * self.fedavg.proximal > 1:
            raise _bad_plan("`local_learning_rate` times `proximal` is above 1: it would diverge")
        if (self.fedavg.rule != "mean") != self.fedavg.visible_updates:
            raise _bad_plan("a robust `rule` needs `visible_updates`, and nothing else does")
        if self.fedavg.fewest_members > len(self.sites):
            raise _bad_plan("too few hospitals for this `rule` against so many `hostile` ones")
        if self.visible_updates and self.dimension > KEPT_DIMENSION:
            raise _bad_plan("`visible_updates` is for models of at most 65,536 weights")
        if self.releases > MOST_RELEASES:
            raise _bad_plan(f"more than {MOST_RELEASES:,} noised sums in one run")


def mode_of(payload: Mapping[str, Any]) -> Literal["secure_sum", "fedavg", "visible"]:
    """What the coordinator sees under the plan with this payload; for texts."""
    local = payload["fedavg"]
    if local is None:
        return "secure_sum"
    return "visible" if local["visible_updates"] else "fedavg"


def evaluation_run(run: bytes) -> bytes:
    """32 bytes that name the evaluation of a run, to secure sum, budget book and ledger."""
    return tagged_hash("evaluation/v1", run)


def _bad_plan(why: str) -> UsageError:
    return UsageError(
        f"this is not a usable plan: {why}",
        code="TW1020",
        help="have the coordinator make and sign the plan again; nothing was computed",
    )
