"""Which models there are: a name with a version, the arithmetic, and the words of the model card.

A hospital trains only what its installed code has here; a plan names a model and carries its
specification, and the two must be equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.baseline.population import VITALS_START, WELLNESS_START
from models.cardiac_ecg.risk import ABNORMALITY, INFARCTION
from models.cardiac_risk import made_up
from models.cardiac_risk.inputs import COLUMNS
from models.cardiac_risk.risk import CardiacRisk
from models.census.population import WardCounts
from models.deployment import Deployment
from models.glucose.population import GlucosePrior
from models.glucose_forecast.population import GlucoseForecastStep
from models.mlp_risk.risk import MlpRisk
from models.twin import Population, Series
from twinward.errors import TwinModelError
from twinward.ids import OrgName

if TYPE_CHECKING:
    from torch import nn

Floats = NDArray[np.float64]


class Model(Protocol):
    """What a network can train: flat weights in a fixed order, and the words of its card."""

    @property
    def name(self) -> str:
        """Name and version: ``cardiac_risk/1``."""
        ...

    @property
    def kind(self) -> str:
        """``risk``: a statement about groups, never called a twin; ``prior``: where twins start."""
        ...

    @property
    def title(self) -> str:
        """What a reader of the model card calls it."""
        ...

    @property
    def intended_use(self) -> str:
        """For whom and for what; printed on the model card."""
        ...

    @property
    def limits(self) -> tuple[str, ...]:
        """What it must not be used for and why; printed on the model card."""
        ...

    def spec(self, sites: Sequence[OrgName]) -> dict[str, Any]:
        """Every public constant, as JSON values."""
        ...

    def names(self, sites: Sequence[OrgName]) -> tuple[str, ...]:
        """What each weight belongs to, in order."""
        ...

    def start(self, spec: Mapping[str, Any]) -> Floats:
        """First weights, from public knowledge only."""
        ...


class RiskModel(Model, Protocol):
    """A model from encoded inputs to a probability."""

    def module(self, sites: Sequence[OrgName]) -> nn.Module | None:
        """The model in torch, parameters in the order of the weights; imports torch.

        None for a logistic model, one weight per input: its closed form needs no torch.
        """
        ...

    def record_shape(self, sites: Sequence[OrgName]) -> tuple[int, ...]:
        """Of one encoded record."""
        ...

    def encode(
        self, columns: Mapping[str, Floats], *, site: OrgName | None, sites: Sequence[OrgName]
    ) -> Floats:
        """Records to rows of finite, bounded numbers."""
        ...

    def labels(self, columns: Mapping[str, Floats]) -> Floats:
        """1.0, 0.0, or NaN where not recorded."""
        ...

    def predict(self, weights: Floats, x: Floats) -> Floats:
        """Probability per encoded row."""
        ...


class PriorModel(Model, Protocol):
    """What many patients' histories teach the twin of one: a sum of bounded vectors, made once."""

    @property
    def twin(self) -> str:
        """The twin that starts from it."""
        ...

    @property
    def length(self) -> float:
        """Each patient's vector is at most this long."""
        ...

    def vectors(self, histories: Sequence[Series]) -> Floats:
        """What each patient says, [patients, weights]; a row depends on that patient alone."""
        ...

    @property
    def fewest(self) -> float:
        """Patients times epsilon below which noise outweighs what is learnt (measured)."""
        ...

    def population(self, weights: Floats, *, noise_variance: float, divisor: int) -> Population:
        """What a twin starts from; costs no privacy.

        Args:
            weights: As released: the sum of the vectors over the divisor, with its noise.
            noise_variance: Of each of these numbers; public.
            divisor: The plan's public guess at the number of patients.
        """
        ...

    def deployed(self, released: Population | None, histories: Sequence[Series]) -> Deployment:
        """What this hospital's twins start from: the release as it helps here, or what is public.

        Args:
            released: What ``population`` made of a release; None if none was taken over.
            histories: Of this hospital's patients; nothing of them leaves.

        Raises:
            TwinModelError: TW7186, too few patients to judge; TW7139, it is no help here.
        """
        ...


_RISKS: Mapping[str, RiskModel] = {
    model.name: model for model in (CardiacRisk(), MlpRisk(), INFARCTION, ABNORMALITY)
}
_PRIORS: Mapping[str, PriorModel] = {
    model.name: model
    for model in (
        GlucosePrior(),
        GlucoseForecastStep(),
        VITALS_START,
        WELLNESS_START,
        WardCounts(),
    )
}
_MAY_LACK: Mapping[str, frozenset[str]] = {
    name: frozenset(column.name for column in COLUMNS) for name in (CardiacRisk.name, MlpRisk.name)
}
_REFERENCES: Mapping[str, Callable[[], Mapping[str, Floats]]] = {
    CardiacRisk.name: made_up.reference,
    MlpRisk.name: made_up.reference,
}


def names() -> tuple[str, ...]:
    """The models that are installed here."""
    return (*_RISKS, *_PRIORS)


def get(name: str) -> Model:
    """The installed model of this name and version.

    Raises:
        TwinModelError: TW7001, it is not installed here.
    """
    return prior(name) or risk(name)


def prior(name: str) -> PriorModel | None:
    """The installed prior of this name; None if it is none."""
    return _PRIORS.get(name)


def risk(name: str) -> RiskModel:
    """The installed risk model of this name and version.

    Raises:
        TwinModelError: TW7001, it is not installed here; TW7135, it is no risk model.
    """
    if name in _PRIORS:
        raise no_risk(name)
    try:
        return _RISKS[name]
    except KeyError as error:
        raise TwinModelError(
            f"the model `{name}` is not installed here",
            code="TW7001",
            help=f"use one of: {', '.join(names())}; or install the release that has it",
        ) from error


def prior_of(twin: str) -> PriorModel | None:
    """The prior that this twin starts from; None if it is taught by nobody."""
    return next((each for each in _PRIORS.values() if each.twin == twin), None)


def no_risk(name: str) -> TwinModelError:
    """The refusal to treat a prior as a model of risk."""
    return TwinModelError(
        f"`{name}` is where twins start, and no model of risk",
        code="TW7135",
        help="leave its evaluation out; how well twins do with it is measured at each hospital",
    )


def reference(name: str) -> Mapping[str, Floats] | None:
    """Made-up records that this model can be shown on in public; None if it has none."""
    make = _REFERENCES.get(name)
    return None if make is None else make()


def require_may_lack(name: str, columns: Iterable[str]) -> None:
    """Require that the model reads a record in which these columns were never recorded.

    Raises:
        TwinModelError: TW7006, it needs one of them.
    """
    needed = sorted(set(columns) - _MAY_LACK.get(name, frozenset()))
    if needed:
        raise TwinModelError(
            f"`{name}` cannot do without `{needed[0]}`, so no patient can leave it out",
            code="TW7006",
            at=f"columns {', '.join(needed)}",
            help="make a study whose optional categories hold only what the model can do without",
        )


def require_same_spec(name: str, spec: Mapping[str, Any], *, sites: Sequence[OrgName]) -> Model:
    """The installed model, if its constants are exactly those of the plan.

    Raises:
        TwinModelError: TW7001, not installed; TW7005, its constants differ from the plan's.
    """
    model = get(name)
    if model.spec(sites) != dict(spec):
        raise TwinModelError(
            f"the plan's constants of `{name}` are not those of the installed model",
            code="TW7005",
            help="install the release that the plan was made with, or ask for a new plan",
        )
    return model
