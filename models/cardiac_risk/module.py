"""The released model as a torch module, for whoever works in torch. Imports torch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from twinward.errors import TwinModelError


class CardiacRiskModule(nn.Module):
    """Logistic model over encoded records; ``forward`` gives log-odds, ``predict`` probabilities.

    Without a bias: the constant is one of the inputs. Float64, as the weights are released.
    """

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dimension, 1, bias=False, dtype=torch.float64)

    @classmethod
    def from_weights(cls, weights: NDArray[np.float64]) -> CardiacRiskModule:
        """The module that predicts exactly what the released weights predict.

        Raises:
            TwinModelError: TW7004, the weights are not one finite number per input.
        """
        if weights.ndim != 1 or not weights.size or not np.isfinite(weights).all():
            raise TwinModelError(
                "weights must be one finite number per input",
                code="TW7004",
                help="load the released model file again and verify its evidence pack",
            )
        module = cls(weights.size)
        with torch.no_grad():
            module.linear.weight.copy_(torch.from_numpy(weights.copy())[None, :])
        return module.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Log-odds of disease, one per row."""
        logits: Tensor = self.linear(x)
        return logits.squeeze(-1)

    @torch.no_grad()
    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of disease per row of encoded records."""
        probability: NDArray[np.float64] = torch.sigmoid(self(torch.from_numpy(x))).numpy()
        return probability
