"""The noise itself, looked at directly: wide enough, Gaussian to the tails, never the same twice.

An auditor inside knows each clipped sum, so what a vector holds beyond it is the noise. A canary
needs thousands of trainings to see noise that is a fifth too narrow; here a hundred thousand draws
show one percent. Wider noise than claimed wastes accuracy but breaks no promise, and passes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from hospital_node.privacy.audit.subject import Claim, Floats, Known, Subject
from twinward.plan import Plan

_NODES = 3
_ONE = np.ones(1, dtype=bool)
_FAR = 4.0
_COLUMNS_COMPARED = 8
_SAME = 2.0
"""Grid steps within which two roundings of the same draw lie of each other."""


@dataclass(frozen=True, slots=True)
class NoiseFinding:
    """One question to the noise; ``p`` is the chance of such an answer from honest noise."""

    name: str
    value: float
    p: float
    meaning: str


def draw(subject: Subject, plan: Plan, *, members: int, calls: int) -> Floats:
    """The noise of this many contributions, in units of the share that the claim needs.

    Taken in turn from several nodes, so that two nodes with one generator are seen; under clipped
    sums that change from call to call, as in a run.
    """
    claim = Claim.of(plan, members=members)
    share = claim.honest_sd / np.sqrt(members - claim.colluders)
    nodes = [subject.mechanism(plan) for _ in range(_NODES)]
    clipped = np.linspace(-plan.max_grad_norm, plan.max_grad_norm, plan.dimension)
    noise = np.empty((calls, plan.dimension))
    for call in range(calls):
        known = clipped * np.sqrt(1 + call % 7)
        sums = Known(known, plan.max_grad_norm)
        vector = nodes[call % _NODES].release(sums, plan.start, _ONE, members).vector
        noise[call] = vector * plan.grid - known
    noise /= share
    return noise


def examine(noise: Floats, *, steps_per_unit: float) -> tuple[NoiseFinding, ...]:
    """All questions to noise [calls, numbers] that should be independent and N(0, 1) or wider.

    ``steps_per_unit``: how many grid steps one unit is, for what counts as the same draw.
    """
    return (
        _width(noise),
        _shape(noise),
        _tails(noise),
        _between_calls(noise),
        _between_numbers(noise),
        _repeats(noise * steps_per_unit),
    )


def _width(noise: Floats) -> NoiseFinding:
    squares = float(np.sum(noise**2))
    ratio = float(np.sqrt(squares / noise.size))
    p = float(stats.chi2.cdf(squares, noise.size))
    return NoiseFinding("width", ratio, p, "standard deviation, of what the claim needs")


def _shape(noise: Floats) -> NoiseFinding:
    """Kolmogorov-Smirnov; scaled by its own width, which can only make it milder."""
    spread = noise.std()
    if not spread:
        return NoiseFinding("shape", 1.0, 0.0, "largest distance from a Gaussian law")
    result = stats.kstest(noise.ravel() / spread, "norm")
    return NoiseFinding(
        "shape", float(result.statistic), float(result.pvalue), "largest distance from a Gaussian"
    )


def _tails(noise: Floats) -> NoiseFinding:
    far = int((np.abs(noise) > _FAR).sum())
    expected = noise.size * 2 * stats.norm.sf(_FAR)
    p = float(stats.binom.cdf(far, noise.size, 2 * stats.norm.sf(_FAR)))
    return NoiseFinding(
        "tails", float(far / expected), p, f"draws beyond {_FAR:g} sd, of the number expected"
    )


def _between_calls(noise: Floats) -> NoiseFinding:
    """Correlation of a call with the next ones, to twice the number of nodes asked in turn."""
    lags = range(1, min(2 * _NODES + 1, len(noise)))
    return _correlation("between calls", [(noise[:-lag], noise[lag:]) for lag in lags])


def _between_numbers(noise: Floats) -> NoiseFinding:
    """Correlation of the numbers of one vector, at every distance up to eight and at half way.

    The two halves of a vector come from the cosine and the sine of the same angles.
    """
    width = noise.shape[1]
    lags = {lag for lag in (*range(1, 9), width // 2, (width + 1) // 2) if 0 < lag < width}
    return _correlation(
        "between numbers", [(noise[:, :-lag], noise[:, lag:]) for lag in sorted(lags)]
    )


def _correlation(name: str, pairs: list[tuple[Floats, Floats]]) -> NoiseFinding:
    """The largest of several correlations; p by Bonferroni."""
    meaning = "largest correlation"
    if not _any(pairs):
        return NoiseFinding(name, 0.0, 1.0, meaning)
    found, unlikely = 0.0, 1.0
    for first, second in pairs:
        spread = np.sqrt(np.mean(first**2) * np.mean(second**2))
        value = float(np.mean(first * second) / spread) if spread else 1.0
        p = 2 * float(stats.norm.sf(abs(value) * np.sqrt(first.size)))
        if p < unlikely:
            found, unlikely = value, p
    return NoiseFinding(name, found, min(1.0, unlikely * len(pairs)), meaning)


def _any(pairs: list[tuple[Floats, Floats]]) -> bool:
    """Whether there is anything to correlate: a plan of one number has no second one."""
    return any(first.size for first, _ in pairs)


def _repeats(steps: Floats) -> NoiseFinding:
    """Two calls with the same noise, whatever its sign: their difference is the bare sums'."""
    columns = np.abs(steps[:, :_COLUMNS_COMPARED])
    ordered = columns[np.argsort(columns[:, 0])]
    same = sum(
        int((np.abs(ordered[gap:] - ordered[:-gap]) <= _SAME).all(axis=1).sum())
        for gap in (1, 2, 3)
    )
    pairs = len(steps) * (len(steps) - 1) / 2
    spread = max(float(steps.std()), 1e-300)
    # Two half-normal numbers lie within w of each other with chance 2 w / (sqrt(pi) sd) at most.
    one = min(1.0, 2 * (_SAME + 0.5) / (np.sqrt(np.pi) * spread))
    chance = pairs * one ** columns.shape[1]
    p = float(stats.poisson.sf(same - 1, chance)) if same else 1.0
    return NoiseFinding("repeats", float(same), p, "pairs of calls with the same noise")
