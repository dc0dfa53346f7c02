"""The plan of a study: everything that decides what is computed, as signed data.

A plan is the only thing a coordinator can ask of a hospital. It is approved once, by its digest;
runs of it are told apart by their run ids. Every constant that touches a patient's record stands
in it, so "what was done" can be recomputed from the plan and the sums.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from twinward import gdp
from twinward.errors import UsageError
from twinward.ids import OrgName, StudyId
from twinward.signing import Document

KIND = "twinward/plan/v1"
GRID_STEPS_PER_NORM = 2**16
"""The grid is this fraction of the clipping norm (facts: rounding then costs under .01 %)."""

_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}[a-z0-9]$")]
_Hex32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Positive = Annotated[float, Field(gt=0, lt=1e9, allow_inf_nan=False)]


class _PlanForm(BaseModel):
    """The edge: what a plan document must look like before anything trusts it."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    network: _Hex32
    study: _Name
    model: Annotated[str, StringConstraints(pattern=r"^[a-z_]+/[0-9]+$")]
    aggregate: Literal["secure_sum"]
    sites: Annotated[tuple[_Name, ...], Field(min_length=3, max_length=64)]
    steps: Annotated[int, Field(ge=1, le=10_000)]
    spare_attempts: Annotated[int, Field(ge=0, le=1_000)]
    averaged_steps: Annotated[int, Field(ge=1)]
    epsilon: Annotated[float, Field(gt=0, le=20, allow_inf_nan=False)]
    delta: Annotated[float, Field(gt=0, lt=0.01, allow_inf_nan=False)]
    max_grad_norm: _Positive
    learning_rate: _Positive
    divisor: Annotated[int, Field(ge=1, le=10**9)]
    grid: _Positive
    word_bits: Literal[32, 64]
    max_patients_per_hospital: Annotated[int, Field(ge=1, le=10**7)]
    slot_seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
    deadline_seconds: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
    purpose: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    grades: Annotated[tuple[str, ...], Field(min_length=1)]
    model_spec: dict[str, Any]
    start_weights: Annotated[tuple[float, ...], Field(min_length=1, max_length=10_000_000)]


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

    @cached_property
    def mu(self) -> float:
        """Gaussian-DP parameter of a whole run (Dong, Roth, Su 2022)."""
        return gdp.mu_of(self.epsilon, self.delta)

    @property
    def mu2_per_attempt(self) -> float:
        """What one attempt costs in mu^2, the currency that adds up."""
        return self.mu**2 / self.attempts

    @property
    def noise_multiplier(self) -> float:
        """Standard deviation of the summed noise of one attempt, in units of the norm."""
        return math.sqrt(self.attempts) / self.mu

    @property
    def max_abs_sum(self) -> int:
        """The largest honest coordinate of a sum, in grid steps: beyond it a sum is refused.

        Every patient of every hospital at full norm plus twelve standard deviations of noise
        (twice the total, because the share is calibrated for ``|U| - c`` hospitals).
        """
        patients = len(self.sites) * self.max_patients_per_hospital * self.max_grad_norm
        noise = 24.0 * self.noise_multiplier * self.max_grad_norm
        return math.ceil((patients + noise) / self.grid)

    def to_document(self) -> Document:
        """The plan as an unsigned document."""
        payload = asdict(self)
        for name in ("sites", "grades", "start_weights"):
            payload[name] = list(payload[name])
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
            form = _PlanForm.model_validate(dict(document.payload))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise _bad_plan(f"{place}: {first['msg']}") from error
        fields = form.model_dump()
        fields["sites"] = tuple(OrgName(site) for site in form.sites)
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
        if self.averaged_steps > self.steps:
            raise _bad_plan("`averaged_steps` is larger than `steps`")
        if self.grid != self.max_grad_norm / GRID_STEPS_PER_NORM:
            raise _bad_plan("`grid` must be `max_grad_norm` / 65536")
        if self.max_abs_sum >= 2 ** (self.word_bits - 1):
            raise _bad_plan("sums can exceed the word; use 64 bits or a smaller cap on patients")
        if not all(math.isfinite(weight) for weight in self.start_weights):
            raise _bad_plan("`start_weights` must be finite")


def _bad_plan(why: str) -> UsageError:
    return UsageError(
        f"this is not a usable plan: {why}",
        code="TW1020",
        help="have the coordinator make and sign the plan again; nothing was computed",
    )
