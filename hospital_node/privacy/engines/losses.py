"""Losses of one record: what an engine differentiates and which targets it accepts.

A patient's loss is the mean of these over all own records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.cardiac_risk.risk import sigmoid

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float64]
Numbers = NDArray[Any]
"""In a model's own precision."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss that is summed over the outputs of one record.

    Attributes:
        name: What a plan calls it.
        usable: Which entries of the targets mean something; others make their patient empty.
        of_records: Torch: outputs and targets [records, outputs] to one loss per record.
        residual: Numpy: its derivative by the outputs, in their precision; None keeps the closed
            forms away.
    """

    name: str
    usable: Callable[[Floats], NDArray[np.bool_]]
    of_records: Callable[[Tensor, Tensor], Tensor]
    residual: Callable[[Numbers, Numbers], Numbers] | None = None


def _is_label(targets: Floats) -> NDArray[np.bool_]:
    return np.isin(targets, (0.0, 1.0))


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    from torch.nn.functional import binary_cross_entropy_with_logits  # noqa: PLC0415 - heavy

    return binary_cross_entropy_with_logits(outputs, targets, reduction="none").sum(1)


def _half_square(outputs: Tensor, targets: Tensor) -> Tensor:
    return 0.5 * (outputs - targets).square().sum(1)


LOGISTIC = Loss("logistic", _is_label, _cross_entropy, lambda logit, y: sigmoid(logit) - y)
"""Cross-entropy of log-odds against labels 0 and 1."""

SQUARED = Loss("squared", np.isfinite, _half_square, np.subtract)
"""Half the squared difference; targets in the units of the model's outputs."""
