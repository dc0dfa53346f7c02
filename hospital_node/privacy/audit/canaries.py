"""The game of the definition, played many times: was the canary patient in the training or not?

An adversary who sees every sum, knows all other patients and the noise of the assumed colluders
projects each sum on the gradient that the canary would have, which is the best there is against
Gaussian noise of one width (Nasr et al. 2023, "Tight auditing of differentially private machine
learning", white-box with Dirac gradients). Over many trainings with and without the canary, the
distance of the two means in standard deviations estimates mu. Under the claimed mu the statistic
has a known law (noncentral t), so the confidence of a verdict is exact and no constant is tuned.

The canaries are made up; nothing here reads a record.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from hospital_node.privacy.audit.subject import Claim, Contributor, Floats, Known, Subject
from hospital_node.privacy.clipped_sum import ClippedSum
from hospital_node.privacy.keystream import Keystream
from twinward import descent
from twinward.errors import BudgetError
from twinward.plan import Plan

_OTHERS = 8
_ONE = np.ones(1, dtype=bool)
_WEIGHTS = 40
_LOUD = 8.0
"""A canary's record is this many clipping norms long: half of it is clipped at any prediction."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A made-up patient, chosen to be as visible as the claim allows, or more if it can."""

    name: str
    x: Floats
    y: Floats


def loud(subject: Subject, plan: Plan, *, records: int = 1) -> Canary:
    """A patient who contradicts the first weights, so that every gradient has the full norm.

    All records say the same: clipped once per patient they weigh C, once per record they weigh
    ``records`` times C.
    """
    start = plan.start
    length = float(np.linalg.norm(start))
    direction = np.append(1.0, np.zeros(subject.width(plan) - 1))
    if length and subject.inputs is None:
        direction = start / length
    x = np.tile(_LOUD * plan.max_grad_norm * direction, (records, 1))
    return Canary(f"loud, {records} record{'s' * (records > 1)}", x, np.zeros(records))


def hostile(subject: Subject, plan: Plan) -> tuple[Canary, ...]:
    """Patients whose records break arithmetic: not a number, infinite, overflowing, no label."""

    def one(name: str, value: float, label: float = 1.0) -> Canary:
        x = np.full((1, subject.width(plan)), plan.max_grad_norm)
        x[0, 0] = value
        return Canary(name, x, np.array([label]))

    return (
        one("not a number", np.nan),
        one("infinite", np.inf),
        one("overflowing", 1e300),
        one("no label", 1.0, np.nan),
    )


@dataclass(frozen=True, slots=True)
class Scores:
    """One number per training; infinite where the node refused or what left was no number."""

    present: Floats
    absent: Floats


def play(
    subject: Subject, plan: Plan, canary: Canary, *, trainings: int, attempts: int, members: int
) -> Scores:
    """Train ``trainings`` times with the canary and as often without; fresh noise every time."""
    game = _Game(subject, plan, canary, attempts=attempts, members=members)
    return Scores(
        np.array([game.train(present=True) for _ in range(trainings)]),
        np.array([game.train(present=False) for _ in range(trainings)]),
    )


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the scores say about mu. ``p`` is the chance of such scores if the claim holds."""

    mu_hat: float
    mu_low: float
    confidence: float
    p: float


def estimate(scores: Scores, *, claim: Claim, confidence: float) -> Estimate:
    """The estimate of mu, its lower bound at this one-sided confidence, and the test of the claim.

    Trainings that ended in a refusal are counted instead of measured: where the node is silent
    only if the patient is there, silence is the answer.
    """
    if not (np.isfinite(scores.present).all() and np.isfinite(scores.absent).all()):
        return _from_refusals(scores, claim=claim, confidence=confidence)
    n = scores.present.size
    pooled = float(np.sqrt((scores.present.var(ddof=1) + scores.absent.var(ddof=1)) / 2))
    if pooled == 0.0:  # no noise at all: either nothing of the patient leaves, or everything does
        same = bool(scores.present.mean() == scores.absent.mean())
        found = 0.0 if same else np.inf
        return Estimate(found, found, confidence, float(same))
    mu_hat = float(scores.present.mean() - scores.absent.mean()) / pooled
    t, df, root = mu_hat * np.sqrt(n / 2), 2 * n - 2, np.sqrt(n / 2)

    def p_at(mu: float) -> float:
        return float(stats.nct.sf(t, df, mu * root))

    low = 0.0
    if p_at(0.0) < 1 - confidence:
        low = optimize.brentq(lambda mu: p_at(mu) - (1 - confidence), 0.0, mu_hat)
    return Estimate(mu_hat, float(low), confidence, p_at(claim.mu))


def estimate_sampled(scores: Scores, *, plan: Plan, claim: Claim, confidence: float) -> Estimate:
    """As ``estimate`` for a sampled plan, whose scores follow no simple law: they are cut in two.

    The cut lies half way to what the canary adds on average, and is fixed before any training. On
    which side a training falls is an event like a refusal, which stands on the upper side.
    """
    cut = 0.5 * plan.attempts * plan.sample_rate * plan.max_grad_norm
    upper = (np.where(world > cut, np.inf, 0.0) for world in (scores.present, scores.absent))
    return _from_refusals(Scores(*upper), claim=claim, confidence=confidence)


def _from_refusals(scores: Scores, *, claim: Claim, confidence: float) -> Estimate:
    """Clopper-Pearson bounds on how often it happens in the two worlds, turned into a mu.

    Under mu-GDP, Phi^-1(P[event, present]) - Phi^-1(P[event, absent]) is at most mu, both ways.
    """
    n = scores.present.size
    counts = [int((~np.isfinite(world)).sum()) for world in (scores.present, scores.absent)]
    often, rarely = max(counts), min(counts)

    def low_at(error: float) -> float:
        least = stats.beta.ppf(error / 4, often, n - often + 1) if often else 0.0
        most = stats.beta.ppf(1 - error / 4, rarely + 1, n - rarely) if rarely < n else 1.0
        return float(stats.norm.ppf(least) - stats.norm.ppf(most))

    with np.errstate(invalid="ignore"):
        hat = float(stats.norm.ppf(often / n) - stats.norm.ppf(rarely / n))
    p = optimize.brentq(lambda e: low_at(e) - claim.mu, 1e-300, 1.0) if low_at(1) > claim.mu else 1
    return Estimate(hat, max(0.0, low_at(1 - confidence)), confidence, float(p))


def reach(subject: Subject, plan: Plan, canary: Canary) -> float:
    """How far the canary moves the sum, in clipping norms, at the worst of many weights.

    No statistics: the claim allows 1 and not a hair more. Infinite if the sum is no number.
    """
    sum_of, without, everyone = _cohort(subject, plan, canary)
    far = Keystream(bytes(31) + b"\x01").uniforms(_WEIGHTS * plan.dimension) * 2.0 - 1.0
    worst = 0.0
    with np.errstate(all="ignore"):
        for scale, draw in enumerate(far.reshape(_WEIGHTS, plan.dimension)):
            weights = plan.start + draw * 10.0 ** (scale % 4 - 2)
            distance = sum_of(weights, everyone) - sum_of(weights, without)
            length = float(np.linalg.norm(distance)) / plan.max_grad_norm
            worst = max(worst, length if np.isfinite(length) else np.inf)
    return worst


def _cohort(
    subject: Subject, plan: Plan, canary: Canary
) -> tuple[ClippedSum, NDArray[np.bool_], NDArray[np.bool_]]:
    """The sum over eight ordinary patients and the canary, with masks for without and with it."""
    sum_of = subject.engine(
        np.concatenate([_ordinary(subject.width(plan)), canary.x]),
        np.concatenate([np.arange(_OTHERS) % 2, canary.y]).astype(np.float64),
        max_grad_norm=plan.max_grad_norm,
        owner=np.append(np.arange(_OTHERS), np.full(len(canary.y), _OTHERS)),
    )
    return sum_of, np.arange(_OTHERS + 1) < _OTHERS, np.ones(_OTHERS + 1, dtype=bool)


class _Game:
    """The cohort with its last patient in or out, the honest hospitals, and the adversary."""

    def __init__(
        self, subject: Subject, plan: Plan, canary: Canary, *, attempts: int, members: int
    ) -> None:
        self._plan, self._attempts, self._members = plan, attempts, members
        self._sum, self._without, self._with = _cohort(subject, plan, canary)
        if plan.sampling is not None:  # who of the others is drawn would be noise in the score
            self._with = self._with & ~self._without
            self._without = np.zeros_like(self._without)
        honest = members - Claim.of(plan, members=members).colluders
        self._empty = Known(np.zeros(plan.dimension), plan.max_grad_norm)
        self._nodes: list[Contributor] = [subject.mechanism(plan) for _ in range(honest)]

    def train(self, *, present: bool) -> float:
        """One training as a hospital runs it; the adversary's score."""
        plan, weights, score = self._plan, self._plan.start, 0.0
        for _ in range(self._attempts):
            others = self._sum(weights, self._without)
            everyone = self._sum(weights, self._with)
            total = self._released(weights, self._with if present else self._without)
            if total is None:
                return np.inf
            score += float(_direction(everyone - others) @ (total * plan.grid - others))
            weights = descent.step(plan, weights, total)
        return score if np.isfinite(score) else np.inf

    def _released(self, weights: Floats, permitted: NDArray[np.bool_]) -> NDArray[np.int64] | None:
        """The sum less the colluders' parts: this hospital's, and empty ones of the honest."""
        members = self._members
        try:
            total = self._nodes[0].release(self._sum, weights, permitted, members).vector
            for node in self._nodes[1:]:
                total = total + node.release(self._empty, weights, _ONE, members).vector
        except BudgetError:
            return None
        return total


def _direction(gradient: Floats) -> Floats:
    """The unit vector of the canary's gradient; the first axis where it has none."""
    length = np.linalg.norm(gradient)
    if not np.isfinite(length) or length == 0.0:
        return np.append(1.0, np.zeros(gradient.size - 1))
    unit: Floats = gradient / length
    return unit


def _ordinary(width: int) -> Floats:
    """Rows of the other patients: the same public random numbers every time."""
    numbers = Keystream(bytes(32)).uniforms(_OTHERS * width)
    return (2.0 * numbers - 1.0).reshape(_OTHERS, width)
