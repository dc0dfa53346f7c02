"""The network as a torch module, for the engines and for whoever works in torch. Imports torch."""

from __future__ import annotations

import torch
from torch import nn

from models.cardiac_ecg.beats import AFTER, BEFORE, LEADS
from models.cardiac_ecg.risk import FILTERS, GROUPS, KERNEL, POOL_FIRST, POOL_LAST


def network() -> nn.Sequential:
    """Log-odds from a middle beat, [beats, 1]; float64, as weights are released."""
    places = (BEFORE + AFTER) // POOL_FIRST // POOL_LAST
    return nn.Sequential(
        nn.AvgPool1d(POOL_FIRST),
        nn.Conv1d(len(LEADS), FILTERS, KERNEL, padding=KERNEL // 2, dtype=torch.float64),
        nn.GroupNorm(GROUPS, FILTERS, dtype=torch.float64),
        nn.ReLU(),
        nn.AvgPool1d(POOL_LAST),
        nn.Flatten(),
        nn.Linear(FILTERS * places, 1, dtype=torch.float64),
    )
