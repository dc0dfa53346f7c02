"""Which engine a model gets, and why a model is not safe to train privately, with the fix.

Two independent looks. The layers are read: what is known to mix patients, to hold state or to have
no gradient per patient is refused by name. Then the model is tried on made-up records, in float64:
its outputs must depend on their own record alone and its clipped sum must equal plain autograd, one
record at a time. The second look needs no list of layers, so it also catches what nobody listed.
No patient's record is touched by either.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils.parametrize import is_parametrized

from hospital_node.privacy.clipped_sum import ClippedSum
from hospital_node.privacy.engines.choice import Engine, build, fitting
from hospital_node.privacy.engines.losses import LOGISTIC, Loss
from hospital_node.privacy.engines.patients import Floats, Indices
from hospital_node.privacy.engines.per_patient import load, weights_of
from twinward.errors import BudgetError

_MADE_UP = 4
_AGREEMENT = 2e-6
"""Relative; half of it is the slack by which engines clip below the norm."""

_TINY = 1e-12

_UNSAFE_LAYERS: Sequence[tuple[type[nn.Module], str, str]] = (
    (
        _BatchNorm,
        "normalises each patient with the other patients' values",
        "use nn.GroupNorm, which needs no other patient",
    ),
    (
        nn.RNNBase,
        "runs all time steps in one kernel, which gives no gradient per patient",
        "use opacus.layers.DPGRU, DPLSTM or DPRNN with the same arguments",
    ),
    (
        nn.MultiheadAttention,
        "is one kernel, which gives no gradient per patient",
        "use opacus.layers.DPMultiheadAttention with the same arguments",
    ),
    (
        _DropoutNd,
        "draws at random, so that its sum cannot be compared with a second computation",
        "take it out: the noise regularises already",
    ),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be known before a model is trained privately.

    Attributes:
        engine: The engine it gets; None if it is not safe.
        safe: Whether it may be trained.
        reasons: Why not, one sentence each; for a safe model why this engine.
        fix: What to change, one sentence for each reason; empty for a safe model.
    """

    engine: Engine | None
    safe: bool
    reasons: tuple[str, ...]
    fix: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Fault:
    why: str
    fix: str


def validate(
    module: nn.Module,
    *,
    record_shape: Sequence[int],
    loss: Loss = LOGISTIC,
    engine: Engine | None = None,
) -> Verdict:
    """Read the model and try it on made-up records; never raises for what the model does.

    Args:
        module: Left as it is.
        record_shape: Shape of one record, without the dimension of records.
        loss: Loss of one record.
        engine: Try this one instead of the fastest.
    """
    chosen = engine or fitting(module, loss)
    # A model that fails by its layers is not run: it might fail in less readable ways.
    faults = list(_faults(module)) or list(_trial(module, chosen, tuple(record_shape), loss))
    if faults:
        return Verdict(
            None, safe=False, reasons=tuple(f.why for f in faults), fix=tuple(f.fix for f in faults)
        )
    return Verdict(chosen, safe=True, reasons=(_WHY[chosen],), fix=())


def engine_for(
    module: nn.Module,
    x: NDArray[np.floating],
    y: Floats,
    *,
    max_grad_norm: float,
    loss: Loss = LOGISTIC,
    owner: Indices | None = None,
    engine: Engine | None = None,
) -> ClippedSum:
    """The clipped patient sum of this model over these records, by the fastest safe engine.

    Weights and sums are flat, in the order of ``module.parameters()``; see ``weights_of``.

    Raises:
        BudgetError: TW4200, the model is not safe; TW4010, arguments do not fit together; TW4011,
            too many patients; TW4201, the named engine cannot take the model; TW4202, ghost with
            several records per patient.
    """
    verdict = validate(module, record_shape=x.shape[1:], loss=loss, engine=engine)
    if verdict.engine is None:
        raise BudgetError(
            f"the model cannot be trained privately: {'; '.join(verdict.reasons)}",
            code="TW4200",
            help="; ".join(verdict.fix),
        )
    return build(verdict.engine, module, x, y, max_grad_norm=max_grad_norm, loss=loss, owner=owner)


_WHY: dict[Engine, str] = {
    "logistic": "one linear layer without intercept under the logistic loss: closed form",
    "mlp": "dense layers with tanh or relu between them: closed form",
    "layerwise": "a chain of layers each of which has a rule for gradients per record",
    "opacus": "no closed form and no rule for every layer: Opacus' hooks",
    "ghost": "asked for: Opacus' ghost clipping, one record per patient",
    "reference": "asked for: torch.func, one gradient function per patient",
}


def _faults(module: nn.Module) -> Iterator[_Fault]:
    """What the layers and parameters show without running the model."""
    for name, layer in module.named_modules():
        where = f"`{name or 'the model'}` ({type(layer).__name__})"
        for kind, why, fix in _UNSAFE_LAYERS:
            if isinstance(layer, kind):
                yield _Fault(f"{where} {why}", fix)
        if isinstance(layer, _InstanceNorm) and layer.track_running_stats:
            yield _Fault(f"{where} keeps statistics of patients", "set track_running_stats=False")
        elif not isinstance(layer, _BatchNorm) and list(layer.buffers(recurse=False)):
            yield _Fault(
                f"{where} has buffers, which training could change without noise",
                "make it a parameter, or a constant written in `forward`",
            )
        if getattr(layer, "inplace", False):
            yield _Fault(
                f"{where} overwrites what gradients per patient are made from", "set inplace=False"
            )
        if is_parametrized(layer):
            yield _Fault(
                f"{where} computes its weights from others",
                "remove the parametrisation (torch.nn.utils.parametrize.remove_parametrizations)",
            )
    yield from _parameter_faults(module)


def _parameter_faults(module: nn.Module) -> Iterator[_Fault]:
    named = list(module.named_parameters(remove_duplicate=False))
    if not named:
        yield _Fault("the model has no parameters", "there is nothing to train")
    seen: dict[int, str] = {}
    for name, parameter in named:
        first = seen.setdefault(id(parameter), name)
        if not _same_layer(first, name):
            yield _Fault(
                f"`{name}` and `{first}` are one tied parameter, counted twice when clipping",
                "give each layer its own parameter",
            )
        if isinstance(parameter, nn.UninitializedParameter):
            yield _Fault(f"`{name}` has no size yet", "run the model once, or name its size")
        if not parameter.requires_grad:
            yield _Fault(
                f"`{name}` is frozen, but weights and sums hold a number for each parameter",
                "train it too, or compute the frozen part once and train on its outputs",
            )
    if {parameter.dtype for _, parameter in named} not in (
        set(), {torch.float32}, {torch.float64},
    ):  # fmt: skip
        yield _Fault("parameters differ in precision or are half precise", "use float32 or float64")


def _same_layer(first: str, second: str) -> bool:
    """Whether a parameter's two names are a layer's and its part's, as Opacus' recurrent layers do.

    Whoever uses one under both names all the same is found by the trial.
    """
    a, b = ("".join(name.rpartition(".")[:2]) for name in (first, second))
    return a.startswith(b) or b.startswith(a)


def _trial(
    module: nn.Module, engine: Engine, shape: tuple[int, ...], loss: Loss
) -> Iterator[_Fault]:
    """What made-up records show: alone and together, engine and plain autograd, must agree."""
    x = _made_up((_MADE_UP, *shape))
    try:
        exact = copy.deepcopy(module).double().train()
        # Moved, since models often start with zeros, where many gradients vanish.
        start = weights_of(exact)
        load(list(exact.parameters()), start + 0.1 * _made_up(start.shape).numpy())
        outputs = exact(x)
        if not isinstance(outputs, Tensor) or outputs.shape[:1] != (_MADE_UP,):
            yield _Fault("the model gives no row of outputs per record", "return one tensor")
            return
        if not outputs.isfinite().all():
            yield _Fault("the model's outputs are not finite", "start from finite weights")
            return
        if not torch.equal(outputs, exact(x)):
            yield _Fault("the model answers differently the second time", "hold no state in it")
            return
        if _mixes(exact, x):
            yield _Fault(
                "an output depends on other patients' records",
                "compute each record on its own: no statistics over the first dimension",
            )
            return
        y = np.resize([0.0, 1.0, 1.0], outputs.reshape(_MADE_UP, -1).shape)
        agree = _agree(exact, engine, x, y, loss)
    except BudgetError as refusal:
        yield _Fault(refusal.diagnostic.message, refusal.diagnostic.help)
        return
    except Exception as error:  # noqa: BLE001 - a model is foreign code and may raise anything
        yield _Fault(
            f"the model fails on made-up records of shape {shape}: {type(error).__name__}: {error}",
            "mend the model, or the shape of its records",
        )
        return
    if not agree:
        yield _Fault(
            f"the engine `{engine}` and plain autograd give different sums",
            "use each parameter once, through a standard layer, and leave graphs whole",
        )


def _mixes(module: nn.Module, x: Tensor) -> bool:
    """Whether the first record's output changes with any other record."""
    asked = x.clone().requires_grad_()
    first = module(asked)[0].sum()
    (influence,) = torch.autograd.grad(first, asked, allow_unused=True)
    alone = torch.cat([module(x[each : each + 1]) for each in range(len(x))])
    return (influence is not None and bool(influence[1:].any())) or not torch.allclose(
        alone, module(x), rtol=1e-9, atol=1e-9
    )


def _agree(module: nn.Module, engine: Engine, x: Tensor, y: Floats, loss: Loss) -> bool:
    """Whether the engine's sum is that of plain autograd, all clipped and none clipped."""
    one_by_one = torch.stack(
        [
            _gradient(module, x[each : each + 1], torch.from_numpy(y[each : each + 1]), loss)
            for each in range(len(x))
        ]
    )
    norms = torch.linalg.vector_norm(one_by_one, dim=1)
    everyone = np.ones(len(x), dtype=bool)
    for norm in (max(float(norms.min()) / 2, _TINY), max(2 * float(norms.max()), _TINY)):
        factor = (norm / norms).clamp(max=1.0)
        expected = (factor @ one_by_one).numpy()
        sums = build(engine, module, x.numpy(), y, max_grad_norm=norm, loss=loss)
        error = np.linalg.norm(sums(weights_of(module), everyone) - expected)
        if not error <= _AGREEMENT * np.linalg.norm(expected):
            return False
    return True


def _gradient(module: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> Tensor:
    outputs = module(x)
    total = loss.of_records(outputs.reshape(y.shape), y).sum()
    gradients = torch.autograd.grad(total, list(module.parameters()), materialize_grads=True)
    return torch.cat([each.reshape(-1) for each in gradients])


def _made_up(shape: tuple[int, ...]) -> Tensor:
    """Numbers like nobody's: all different, between -1 and 1, the same every time."""
    numbers = torch.arange(int(np.prod(shape)), dtype=torch.float64)
    return torch.sin(1.0 + 0.7 * numbers).reshape(shape)
