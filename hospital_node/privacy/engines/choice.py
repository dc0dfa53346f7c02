"""Which engine a model gets: the fastest whose arithmetic fits its layers, by type and not by name.

A closed form is taken only where the types prove it: the same layers in another ``forward`` could
compute anything. What is chosen here is then tried by ``validate`` before it meets a patient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hospital_node.privacy.clipped_sum import ClippedSum, LogisticClippedSum
from hospital_node.privacy.engines.layerwise import RULES, LayerwiseGradients
from hospital_node.privacy.engines.losses import LOGISTIC, Loss
from hospital_node.privacy.engines.mlp import MlpClippedSum
from hospital_node.privacy.engines.patients import Floats, Indices, misfit
from hospital_node.privacy.engines.per_patient import Gradients, TorchClippedSum
from models.cardiac_risk.module import CardiacRiskModule
from twinward.errors import BudgetError

Engine = Literal["logistic", "mlp", "layerwise", "opacus", "ghost", "reference"]

_STATELESS = (
    nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.LeakyReLU, nn.Softplus,
    nn.Identity, nn.Flatten, nn.AvgPool1d, nn.MaxPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d,
)  # fmt: skip


def fitting(module: nn.Module, loss: Loss = LOGISTIC) -> Engine:
    """The fastest engine for these layers."""
    layers = list(chain(module))
    return next((engine for engine, fits in _FITS.items() if fits(layers, loss)), "opacus")


def build(
    engine: Engine,
    module: nn.Module,
    x: NDArray[np.floating],
    y: Floats,
    *,
    max_grad_norm: float,
    loss: Loss = LOGISTIC,
    owner: Indices | None = None,
) -> ClippedSum:
    """That engine for this model and these records, whether or not it is the fastest.

    Raises:
        BudgetError: TW4010, arguments do not fit together; TW4011, too many patients; TW4201, the
            engine cannot take the model; TW4202, ghost with several records per patient.
    """
    require_fit(engine, module, loss)
    if engine == "logistic":
        targets = y.reshape(len(x), -1)
        if targets.shape[1] != 1:
            raise misfit("the logistic model has one output")
        return LogisticClippedSum(
            x.astype(np.float64), targets[:, 0], max_grad_norm=max_grad_norm, owner=owner
        )
    if engine == "mlp":
        layers = list(chain(module))
        dense = [layer for layer in layers if type(layer) is nn.Linear]
        return MlpClippedSum(
            x.astype(np.float64),
            y,
            hidden=[layer.out_features for layer in dense[:-1]],
            activation="relu" if nn.ReLU in {type(layer) for layer in layers} else "tanh",
            max_grad_norm=max_grad_norm,
            loss=loss,
            owner=owner,
            dtype=np.float32 if dense[0].weight.dtype == torch.float32 else np.float64,
        )
    if engine == "ghost":
        from hospital_node.privacy.engines.ghost import GhostClippedSum  # noqa: PLC0415 - heavy

        return GhostClippedSum(module, x, y, max_grad_norm=max_grad_norm, loss=loss, owner=owner)
    return TorchClippedSum(
        module,
        x,
        y,
        gradients=_source(engine),
        max_grad_norm=max_grad_norm,
        loss=loss,
        owner=owner,
    )


def require_fit(engine: Engine, module: nn.Module, loss: Loss) -> None:
    """Refuse a special engine for a model that it was not made for.

    Raises:
        BudgetError: TW4201, there is no such engine or it cannot take the model.
    """
    fits = _FITS.get(engine)
    if engine not in get_args(Engine) or not (fits is None or fits(list(chain(module)), loss)):
        raise BudgetError(
            f"the engine `{engine}` cannot take this model",
            code="TW4201",
            help="leave the choice to `engine_for`, or use `opacus`, which takes most models",
        )


def chain(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of a plain chain in order; nothing if the types do not prove it to be one."""
    if type(module) is CardiacRiskModule:
        yield module.linear
    elif type(module) is nn.Sequential:
        parts = [list(chain(part)) for part in module]
        if all(parts):
            yield from (layer for part in parts for layer in part)
    elif not list(module.children()):
        yield module


def _source(engine: Engine) -> Callable[[nn.Module, Loss], Gradients]:
    if engine == "layerwise":
        return LayerwiseGradients
    if engine == "reference":
        from hospital_node.privacy.engines.functional import (  # noqa: PLC0415 - heavy
            FunctionalGradients,
        )

        return FunctionalGradients
    from hospital_node.privacy.engines.hooks import HookGradients  # noqa: PLC0415 - heavy

    return HookGradients


def _is_logistic(layers: list[nn.Module], loss: Loss) -> bool:
    if len(layers) != 1 or loss is not LOGISTIC:
        return False
    (layer,) = layers
    return type(layer) is nn.Linear and layer.out_features == 1 and layer.bias is None


def _is_mlp(layers: list[nn.Module], loss: Loss) -> bool:
    dense, between = layers[::2], {type(layer) for layer in layers[1::2]}
    return (
        loss.residual is not None
        and len(layers) % 2 == 1
        and all(type(layer) is nn.Linear and layer.bias is not None for layer in dense)
        and between in (set(), {nn.Tanh}, {nn.ReLU})
    )


def _is_layerwise(layers: list[nn.Module], loss: Loss) -> bool:
    del loss
    return bool(layers) and all(_has_rule(layer) or type(layer) in _STATELESS for layer in layers)


def _has_rule(layer: nn.Module) -> bool:
    if type(layer) is nn.Conv1d:
        return (
            layer.groups == 1
            and layer.padding_mode == "zeros"
            and not isinstance(layer.padding, str)
        )
    return type(layer) in RULES


_FITS: Mapping[Engine, Callable[[list[nn.Module], Loss], bool]] = {
    "logistic": _is_logistic,
    "mlp": _is_mlp,
    "layerwise": _is_layerwise,
}
"""The special engines, fastest first."""
