"""A small recurrent network that forecasts glucose: what the product's own models are held against.

Gated recurrent units (Cho et al. 2014, arXiv 1406.1078) read the last hours and say the change at
each time ahead. Trained with torch, asked with numpy. Not part of the product.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.twin import Arrays

Floats = NDArray[np.float64]

UNITS = 32
_RATE = 3e-3
_BATCH = 256
_DECAY = 0.03
_JITTER = 0.04
"""Readings are shaken by 2 mg/dL in training, so that no single one is learnt by heart."""

_MIDDLE, _SPREAD = 140.0, 50.0


def sequences(lags: Floats) -> Floats:
    """Readings before each moment as what the network reads: value and whether there is one.

    Args:
        lags: Readings, mg/dL, the newest last, NaN where there is none, [n, steps].

    Returns:
        [n, steps, 2].
    """
    known = np.isfinite(lags)
    level = np.where(known, (np.nan_to_num(lags) - _MIDDLE) / _SPREAD, 0.0)
    return np.stack([level, known.astype(np.float64)], axis=2)


def trained(read: Floats, targets: Floats, *, passes: int = 8, seed: int = 1) -> Arrays:
    """Weights of a network that says these targets, with how wide each target is.

    Args:
        read: [n, steps, channels].
        targets: [n, outputs].
        passes: Over all moments.
        seed: Of first weights and order.
    """
    import torch
    from torch import nn

    unit = targets.std(axis=0) + 1e-6
    order, dice = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        gru = nn.GRU(read.shape[2], UNITS, batch_first=True)
        head = nn.Linear(UNITS, targets.shape[1])
    inputs = torch.tensor(read, dtype=torch.float32)
    wanted = torch.tensor(targets / unit, dtype=torch.float32)
    parameters = [*gru.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=_RATE, weight_decay=_DECAY)
    steps = passes * -(-len(inputs) // _BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(passes):
        shuffled = torch.tensor(order.permutation(len(inputs)))
        for begin in range(0, len(inputs), _BATCH):
            some = shuffled[begin : begin + _BATCH]
            optimiser.zero_grad()
            shaken = inputs[some] + _JITTER * torch.randn(inputs[some].shape, generator=dice)
            _, last = gru(shaken)
            loss = nn.functional.mse_loss(head(last[0]), wanted[some])
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            schedule.step()
    named = {**dict(gru.named_parameters()), **{f"head_{n}": p for n, p in head.named_parameters()}}
    return {
        **{name: each.detach().numpy().astype(np.float64) for name, each in named.items()},
        "unit": unit,
    }


def said(weights: Arrays, read: Floats) -> Floats:
    """What the network says at each moment, [n, outputs]."""
    state = np.zeros((len(read), UNITS))
    for step in range(read.shape[1]):
        ahead = read[:, step] @ weights["weight_ih_l0"].T + weights["bias_ih_l0"]
        back = state @ weights["weight_hh_l0"].T + weights["bias_hh_l0"]
        reset = _sigmoid(ahead[:, :UNITS] + back[:, :UNITS])
        update = _sigmoid(ahead[:, UNITS : 2 * UNITS] + back[:, UNITS : 2 * UNITS])
        new = np.tanh(ahead[:, 2 * UNITS :] + reset * back[:, 2 * UNITS :])
        state = (1 - update) * new + update * state
    found: Floats = (state @ weights["head_weight"].T + weights["head_bias"]) * weights["unit"]
    return found


def _sigmoid(x: Floats) -> Floats:
    half: Floats = 0.5 * (1 + np.tanh(0.5 * x))
    return half
