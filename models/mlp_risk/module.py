"""The network as a torch module, for the engines and for whoever works in torch. Imports torch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.mlp_risk.risk import UNITS
from twinward.errors import TwinModelError


def network(inputs: int, units: int = UNITS) -> nn.Sequential:
    """Log-odds of disease from encoded records, [rows, 1]; float64, as weights are released."""
    return nn.Sequential(
        nn.Linear(inputs, units, dtype=torch.float64),
        nn.Tanh(),
        nn.Linear(units, 1, dtype=torch.float64),
    )


def from_weights(weights: NDArray[np.float64]) -> nn.Sequential:
    """The network that predicts what the released weights predict.

    Raises:
        TwinModelError: TW7004, the weights are not those of such a network.
    """
    inputs, left = divmod(weights.size - 2 * UNITS - 1, UNITS)
    if weights.ndim != 1 or inputs < 1 or left or not np.isfinite(weights).all():
        raise TwinModelError(
            "weights must be those of a network with one hidden layer, all finite",
            code="TW7004",
            help="load the released model file again and verify its evidence pack",
        )
    module = network(inputs)
    nn.utils.vector_to_parameters(torch.from_numpy(weights.copy()), module.parameters())
    return module.eval()
