"""Many canaries in a single training: the audit for models too large to be trained often.

Each of m canaries is in or out by the toss of a coin, and each has a number of the model to itself.
After one training the adversary calls the highest scores *in* and the lowest *out*. Under
(epsilon, delta) the number of right calls is bounded in law, so too many of them refute the claim
(Steinke, Nasr, Jagielski, "Privacy auditing with one (1) training run", 2023, theorem 5.2). The
claim is a whole curve of (epsilon, delta); the bound is taken where delta is so small that the m
canaries together cannot hide behind it.

It sees gross faults only. In models of few numbers canaries drown in each other and it sees
nothing; such models train in milliseconds and are for ``canaries``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from hospital_node.privacy.audit.subject import Claim, Floats, Known, Subject
from hospital_node.privacy.keystream import KEY_BYTES, Keystream
from hospital_node.privacy.noise import Entropy
from ledger import verify
from twinward import descent
from twinward.plan import Plan

FEWEST_NUMBERS = 1000
"""Below this many numbers in a model, one training cannot hold enough canaries."""

MOST_CANARIES = 1000
_CALLED = 0.2
"""Share of the canaries called *in*, and again *out*; fixed before any score is seen."""
_LOUD = 8.0


@dataclass(frozen=True, slots=True)
class OneRun:
    """How many calls were right, and what that proves.

    ``epsilon_claimed`` is what the claim comes to at this ``delta``, ``epsilon_low`` what was
    proved at least; ``p`` is the chance of so many right calls if the claim holds.
    """

    canaries: int
    calls: int
    right: int
    delta: float
    epsilon_claimed: float
    epsilon_low: float
    confidence: float
    p: float


def one_run(
    subject: Subject, plan: Plan, *, members: int, attempts: int, confidence: float, coins: Entropy
) -> OneRun:
    """Train once with Dirac canaries and call them. ``coins``: random bytes for who is in."""
    claim = Claim.of(plan, members=members)
    count = min(MOST_CANARIES, plan.dimension)
    included = Keystream(coins(KEY_BYTES)).uniforms(count) < 0.5
    scores = _scores(subject, plan, included, members=members, attempts=attempts)
    calls = max(1, round(_CALLED * count))
    order = np.argsort(scores)
    right = int(included[order[-calls:]].sum() + (~included[order[:calls]]).sum())
    delta = (1 - confidence) / (100 * count)
    claimed = verify.epsilon_of(claim.mu, delta)
    return OneRun(
        canaries=count,
        calls=2 * calls,
        right=right,
        delta=delta,
        epsilon_claimed=claimed,
        epsilon_low=_epsilon_low(count, 2 * calls, right, delta, 1 - confidence),
        confidence=confidence,
        p=chance(count, 2 * calls, right, epsilon=claimed, delta=delta),
    )


def chance(canaries: int, calls: int, right: int, *, epsilon: float, delta: float) -> float:
    """Bound on the chance of at least ``right`` right calls under (epsilon, delta)."""
    if right <= 0:
        return 1.0
    q = float(1 / (1 + np.exp(-epsilon)))
    plain = float(stats.binom.sf(right - 1, calls, q))
    i = np.arange(1, right + 1)
    steepest = float(np.max(np.cumsum(stats.binom.pmf(right - i, calls, q)) / i))
    return min(1.0, plain + 2 * canaries * delta * steepest)


def _epsilon_low(canaries: int, calls: int, right: int, delta: float, error: float) -> float:
    def excess(epsilon: float) -> float:
        return chance(canaries, calls, right, epsilon=epsilon, delta=delta) - error

    if excess(0.0) >= 0:
        return 0.0
    high = 1.0
    while excess(high) < 0 and high < 64:
        high *= 2
    return high if excess(high) < 0 else float(optimize.brentq(excess, 0.0, high))


def _scores(
    subject: Subject, plan: Plan, included: NDArray[np.bool_], *, members: int, attempts: int
) -> Floats:
    """What each canary's own number of all sums together shows of it, higher if it seems in."""
    count = included.size
    start = plan.start[:count]
    x = np.zeros((count, plan.dimension))
    x[np.arange(count), np.arange(count)] = _LOUD * plan.max_grad_norm
    labels = np.where(start < 0, 1.0, 0.0)  # contradicts the first weights
    sum_of = subject.engine(x, labels, max_grad_norm=plan.max_grad_norm, owner=np.arange(count))
    honest = members - Claim.of(plan, members=members).colluders
    empty = Known(np.zeros(plan.dimension), plan.max_grad_norm)
    nodes = [subject.mechanism(plan) for _ in range(honest)]
    weights, scores = plan.start, np.zeros(count)
    for _ in range(attempts):
        total = nodes[0].release(sum_of, weights, included, members).vector
        for node in nodes[1:]:
            total = total + node.release(empty, weights, np.ones(1, dtype=bool), members).vector
        scores += total[:count] * plan.grid
        weights = descent.step(plan, weights, total)
    return np.where(labels == 0.0, scores, -scores)
