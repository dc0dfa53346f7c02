"""One round of local training (``fedavg``): noised steps at this hospital, then one bounded update.

Every local step is a release of the Gaussian mechanism with the plan's FULL noise: drawn, clipped
per patient, noised and rounded by ``hospital_node.privacy.mechanism`` like any sum that leaves.
Everything after it is arithmetic on numbers that are private already: descent, the pull back to the
round's first weights (FedProx), the cut of the update to the plan's bound, the grid. The secure sum
that follows hides this hospital's update among the others; it makes no noise smaller.

Opacus' own noise and accountant are not used: its generator is mt19937, which can be predicted.
Opacus may supply gradients per patient (``hospital_node.privacy.engines``).

Sources: McMahan et al., AISTATS 2017 (FedAvg); Li et al., MLSys 2020 (FedProx); Abadi et al., CCS
2016 (DP-SGD).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hospital_node.privacy.clipped_sum import ClippedSum
from hospital_node.privacy.mechanism import Mechanism
from twinward.plan import GRID_STEPS_PER_NORM, FedAvg, Plan

Floats = NDArray[np.float64]


def update(
    plan: Plan,
    local: FedAvg,
    *,
    mechanism: Mechanism,
    clipped_sum: ClippedSum,
    weights: Floats,
    permitted: NDArray[np.bool_],
    members: int,
) -> NDArray[np.int64]:
    """This hospital's change of the weights, in grid steps of its bound; fresh noise every time.

    A noised sum is divided by the patients whom the plan expects in one sum at one hospital, a
    public number. Nothing else of the patients is read, and nothing leaves from here.

    Args:
        plan: The plan.
        local: Its local training.
        mechanism: Of this plan.
        clipped_sum: Over this hospital's patients.
        weights: The network's current weights.
        permitted: Who may be used in this round.
        members: How many hospitals sum.

    Raises:
        TrainingError: TW6100, too few members to hide among.
        BudgetError: What ``Mechanism.release`` raises.
    """
    expected = plan.divisor / len(plan.sites)
    here = weights.copy()
    for _ in range(local.local_steps):
        noised = mechanism.release(clipped_sum, here, permitted, members).vector
        gradient = noised * (plan.grid / expected) + local.proximal * (here - weights)
        here -= local.local_learning_rate * gradient
    return _bounded(here - weights, local)


def _bounded(change: Floats, local: FedAvg) -> NDArray[np.int64]:
    """Cut to the bound, whatever it was, and put on the grid: no coordinate beyond 2^16."""
    length = max(float(np.linalg.norm(change)), local.grid)
    steps = np.rint(change * (min(1.0, local.max_update_norm / length) / local.grid))
    return np.clip(steps, -GRID_STEPS_PER_NORM, GRID_STEPS_PER_NORM).astype(np.int64)
