"""From sums to weights, the same bits on every machine.

Only element-wise IEEE 754 double operations in a fixed order, no BLAS and no reductions, so the
hospitals, the coordinator and the offline verifier (which uses plain Python floats) all arrive at
identical weights and may compare them by hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from twinward.plan import Plan
from twinward.secsum.words import Integers

Weights = NDArray[np.float64]


def step(
    plan: Plan, weights: Weights, sum_words: Integers, *, before: Weights | None = None
) -> Weights:
    """One update: ``weights - (learning_rate / divisor) * (sum_words * grid)``.

    The divisor is a public constant of the plan, never the size of a cohort.

    In mode ``fedavg`` the sum is of updates and their mean over the plan's hospitals is added:
    ``weights + (learning_rate / hospitals) * (sum_words * grid)``, then ``momentum * (weights -
    before)``, where ``before`` are the weights one step earlier, None at the first.
    """
    if plan.fedavg is not None:
        rate = plan.learning_rate / len(plan.sites)
        moved = weights + rate * (sum_words.astype(np.float64) * plan.fedavg.grid)
        return moved if before is None else moved + plan.fedavg.momentum * (weights - before)
    rate = plan.learning_rate / plan.divisor
    return weights - rate * (sum_words.astype(np.float64) * plan.grid)


def follow(plan: Plan, sums: Iterable[Integers]) -> list[Weights]:
    """The weights after every step of a run, from its sums in order."""
    iterates: list[Weights] = []
    weights, before = plan.start, None
    for total in sums:
        weights, before = step(plan, weights, total, before=before), weights
        iterates.append(weights)
    return iterates


def release(plan: Plan, iterates: Sequence[Weights]) -> Weights:
    """The released weights: mean of the last ``averaged_steps`` iterates, added in order."""
    return mean(iterates[-plan.averaged_steps :])


def mean(several: Sequence[Weights]) -> Weights:
    """The mean of these weights, added in order."""
    total = np.zeros_like(several[0])
    for weights in several:
        total = total + weights
    return total / float(len(several))


def to_bytes(weights: Weights) -> bytes:
    """Little-endian float64: how weights travel."""
    return weights.astype("<f8").tobytes()


def from_bytes(data: bytes, *, dimension: int) -> Weights:
    """Parse what ``to_bytes`` made; any other length is a ``ValueError``."""
    weights = np.frombuffer(data, dtype="<f8")
    if weights.shape != (dimension,):
        raise ValueError(f"expected {dimension} weights, got {weights.size}")
    return weights.astype(np.float64)


def digest(weights: Weights) -> bytes:
    """SHA-256 of the weights as they travel; every member signs it when a run closes."""
    return hashlib.sha256(to_bytes(weights)).digest()
