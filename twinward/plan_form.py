"""The edge of a plan: what its document must look like before anything trusts it.

Shapes and ranges only; what fields say together is checked by ``twinward.plan``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Rule = Literal["mean", "norm_bound", "median", "trimmed_mean", "krum"]
"""How updates become one: their mean through a secure sum, or a robust mean of visible ones."""

_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}[a-z0-9]$")]
_Hex32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Positive = Annotated[float, Field(gt=0, lt=1e9, allow_inf_nan=False)]


class _EvaluationForm(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    holdout_share: Annotated[float, Field(gt=0, le=0.5, allow_inf_nan=False)]
    epsilon: Annotated[float, Field(gt=0, le=20, allow_inf_nan=False)]
    bins: Annotated[int, Field(ge=2, le=64)]
    spare_attempts: Annotated[int, Field(ge=0, le=10)]


class _SamplingForm(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    rate: Annotated[float, Field(ge=1e-4, lt=1, allow_inf_nan=False)]
    noise_multiplier: Annotated[float, Field(ge=0.2, le=1e5, allow_inf_nan=False)]
    charged_mu: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]


class _FedAvgForm(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    local_steps: Annotated[int, Field(ge=1, le=1_000)]
    local_learning_rate: _Positive
    proximal: Annotated[float, Field(ge=0, lt=1e6, allow_inf_nan=False)]
    max_update_norm: _Positive
    momentum: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
    visible_updates: bool
    rule: Rule
    hostile: Annotated[int, Field(ge=0, le=31)]


class _SizesForm(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: Annotated[
        tuple[Annotated[int, Field(strict=True, ge=1, le=16)], ...],
        Field(min_length=3, max_length=64),
    ]
    least_percent: Annotated[int, Field(strict=True, ge=1, le=100)]


class PlanForm(BaseModel):
    """All fields of a plan; none may be added, and none missing but what is absent when unused."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    network: _Hex32
    study: _Name
    model: Annotated[str, StringConstraints(pattern=r"^[a-z_]+/[0-9]+$")]
    aggregate: Literal["secure_sum", "fedavg"]
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
    evaluation: _EvaluationForm | None
    sampling: _SamplingForm | None
    fedavg: _FedAvgForm | None
    sizes: _SizesForm | None = None
    shards: Annotated[int, Field(strict=True, ge=2, le=16)] | None = None
