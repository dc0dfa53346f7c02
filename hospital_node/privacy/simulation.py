"""Many trainings of the logistic model at once, on data that is all in one place.

For tables and attacks that need thousands of trainings on public data. The arithmetic is that of
the network (clipped patient gradients, noise on the sum, grid, descent), for all trainings in one
matrix product per step. Only the sum is formed: how its noise was shared among hospitals and how
their patients are divided cannot be seen in it, so K hospitals are a number and not a loop. Noise
comes from the node's own generator. A test holds a single training equal to ``ClippedSum``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hospital_node.privacy.clipped_sum import SLACK, Floats
from hospital_node.privacy.noise import gaussian
from models.cardiac_risk.risk import sigmoid
from twinward.plan import Plan
from twinward.secsum.profile import colluders


@dataclass(frozen=True, slots=True)
class Setting:
    """How one training differs from the plan: noise on the sum, and how far a step goes.

    ``noise_sd`` is in units of the gradient, for the whole sum of one step.
    """

    noise_sd: float
    learning_rate: float


def distributed_noise(plan: Plan, *, hospitals: int) -> float:
    """Noise on the sum when honest hospitals share it and colluders' shares are not counted on.

    Beyond 64 hospitals this is what a larger network would have; secure sum ends there today.
    """
    honest = hospitals - colluders(hospitals)
    return plan.noise_multiplier * plan.max_grad_norm * math.sqrt(hospitals / honest)


def local_noise(plan: Plan, *, hospitals: int) -> float:
    """Noise on the sum when every hospital publishes its own vector and so noises it in full.

    Nobody's loss costs an attempt then, so no spare ones are paid for.
    """
    full = math.sqrt(plan.steps) / plan.mu * plan.max_grad_norm
    return full * math.sqrt(hospitals)


def train_many(
    x: Floats,
    y: Floats,
    *,
    plan: Plan,
    settings: Sequence[Setting],
    include: NDArray[np.bool_] | None = None,
) -> Floats:
    """One training per setting; the released weights, [settings, inputs].

    Args:
        x: Encoded records of all patients, one each: [patients, inputs].
        y: Labels 0 or 1.
        plan: Norm, steps, averaging, divisor, grid and start; its noise and rate are not used.
        settings: Noise and learning rate of each training.
        include: Who takes part in which training, [patients, settings]; everyone by default.
    """
    rates = np.array([each.learning_rate for each in settings]) / plan.divisor
    sds = np.array([each.noise_sd for each in settings])
    norms = np.sqrt(np.einsum("nd,nd->n", x, x))
    most = plan.max_grad_norm * (1 - SLACK) / np.maximum(norms, np.finfo(np.float64).tiny)
    bound = np.broadcast_to(most[:, None], (len(y), len(settings)))
    if include is not None:
        bound = np.where(include, bound, 0.0)
    weights = np.repeat(plan.start[:, None], len(settings), axis=1)
    released = np.zeros_like(weights)
    for step in range(plan.steps):
        residual = sigmoid(x @ weights) - y[:, None]
        total = x.T @ np.clip(residual, -bound, bound)
        total += gaussian(total.size, sd=1.0).reshape(total.shape) * sds
        weights = weights - rates * (np.rint(total / plan.grid) * plan.grid)
        if step >= plan.steps - plan.averaged_steps:
            released += weights
    return (released / plan.averaged_steps).T
