"""From patients to a vector that may leave: sample, clip, sum, noise, then the one rounding.

Sampler, clipping norm, noise and price are built together from one frozen plan, so that none of
them can be of another plan than the rest; what is promised travels with the vector.

Each of the |U| members adds N(0, (sigma C)^2 / (|U| - c)), so that the sum still carries N(0,
(sigma C)^2) when c colluders subtract their own parts. A sum of rounded Gaussians is the rounding
of a Gaussian sum up to an error below 2^-1000 at this grid, so the integers are post-processing of
the Gaussian mechanism and mu is exact. What float64 arithmetic may add to epsilon is bounded
(``Guarantee.epsilon_noise``) and paid for by wider noise: (epsilon, delta) of the plan holds as it
stands. In mode ``fedavg`` every local step is such a release, with all of the noise from the one
hospital that takes it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hospital_node.privacy.accountant import Account, account
from hospital_node.privacy.clipped_sum import ClippedSum
from hospital_node.privacy.noise import ERROR_ULPS, Entropy, gaussian
from hospital_node.privacy.sampler import draw
from twinward import gdp
from twinward.errors import BudgetError
from twinward.plan import Plan
from twinward.secsum.profile import colluders, noise_shares

_SMALLEST_SD_IN_GRID = 2.0**10
"""From here on, sums of rounded Gaussians are Gaussian on the grid to far below any delta."""

_WIDEST_NOISE = 16.0
"""Standard deviations at which a vector is cut; a draw beyond happens once in 10^57."""


@dataclass(frozen=True, slots=True)
class Guarantee:
    """What one noised vector, and the whole run it belongs to, can say about one patient.

    ``epsilon`` and ``delta`` hold for all ``attempts`` of the run together, against whoever sees
    all sums and knows the noise of ``colluders`` members: of everyone else in mode ``fedavg``,
    where each hospital adds all of it alone. A patient at m hospitals of the study has m times
    ``mu``. With a ``sample_rate`` below 1 the price is that of the whole run only, and rests on
    nobody learning who was drawn.
    """

    epsilon: float
    delta: float
    mu: float
    mu2_per_attempt: float
    attempts: int
    noise_multiplier: float
    max_grad_norm: float
    members: int
    colluders: int
    share_sd: float
    epsilon_noise: float
    sample_rate: float = 1.0
    unit: str = "patient at one hospital"
    adjacency: str = "zero-out"


@dataclass(frozen=True, slots=True)
class NoisedSum:
    """A vector on the integer grid, with the guarantee it was made under."""

    vector: NDArray[np.int64]
    guarantee: Guarantee


class Mechanism:
    """The Gaussian mechanism of one plan: it knows sampler, noise, grid, bounds and price.

    ``entropy_for_tests_only``: see ``noise.gaussian``.

    Raises:
        BudgetError: TW4020, the grid is too coarse or too fine for a provable claim; TW4300,
            TW4301, a sampled plan does not cost what it says. Some seconds for a sampled plan.
    """

    def __init__(self, plan: Plan, *, entropy_for_tests_only: Entropy | None = None) -> None:
        self._plan = plan
        self._entropy = entropy_for_tests_only
        self._largest = plan.max_patients_per_hospital * plan.max_grad_norm
        self._account = account(plan)
        self._guarantees: dict[int, Guarantee] = {}
        self.guarantee(len(plan.sites))

    def guarantee(self, members: int) -> Guarantee:
        """What is promised when this many members sum.

        Raises:
            TrainingError: TW6100, too few members for anyone to hide among.
            BudgetError: TW4020, the grid is too coarse or too fine for a provable claim.
        """
        if members not in self._guarantees:
            self._guarantees[members] = _guarantee(self._plan, self._account, members)
        return self._guarantees[members]

    def release(
        self,
        clipped_sum: ClippedSum,
        weights: NDArray[np.float64],
        permitted: NDArray[np.bool_],
        members: int,
    ) -> NoisedSum:
        """One attempt over whoever permits it: draw, clip, sum, noise, round.

        Call it once per attempt and never send one result to two sets of members.

        Raises:
            TrainingError: TW6100, too few members.
            BudgetError: TW4303, the sum is clipped to another norm than the plan's; TW4021.
        """
        self.guarantee(members)
        if clipped_sum.sensitivity != self._plan.max_grad_norm:
            raise BudgetError(
                "the engine clips to another norm than the plan's noise is made for",
                code="TW4303",
                help="this is a fault of the caller, nothing was computed; report it",
            )
        rate = self._plan.sample_rate
        drawn = draw(permitted, rate=rate, entropy_for_tests_only=self._entropy)
        return self._noised(clipped_sum(weights, drawn), members)

    def contribute(self, clipped: NDArray[np.float64], members: int) -> NoisedSum:
        """Noise a clipped sum over everyone and round it once, with fresh randomness every time.

        Call it once per attempt and never send one result to two sets of members.

        Raises:
            TrainingError: TW6100, too few members.
            BudgetError: TW4021, the sum is not one of at most the plan's number of patients;
                TW4304, the plan samples, so its noise is too little for a sum over everyone.
        """
        if self._plan.sampling is not None:
            raise BudgetError(
                "the noise of this plan is made for a secret sample, not for everyone",
                code="TW4304",
                help="let the mechanism draw the sample; nothing was sent",
            )
        return self._noised(clipped, members)

    def _noised(self, clipped: NDArray[np.float64], members: int) -> NoisedSum:
        guarantee = self.guarantee(members)
        if clipped.shape != (self._plan.dimension,) or not (
            np.linalg.norm(clipped) <= self._largest  # NaN is not
        ):
            raise BudgetError(
                "the clipped sum is larger than the plan's number of patients can make it",
                code="TW4021",
                help="use a plan with a larger public cap on patients; nothing was sent",
            )
        drawn = gaussian(clipped.size, sd=guarantee.share_sd, entropy_for_tests_only=self._entropy)
        drawn += clipped
        drawn /= self._plan.grid
        steps = np.rint(drawn, out=drawn)
        limit = float(self.bound(members))
        # Cutting is post-processing of noised numbers, and keeps the cast below from overflowing.
        np.minimum(steps, limit, out=steps)
        np.maximum(steps, -limit, out=steps)
        return NoisedSum(steps.astype(np.int64), guarantee)

    def bound(self, members: int) -> int:
        """The largest coordinate a member can send, in grid steps; public."""
        noise = _WIDEST_NOISE * self.guarantee(members).share_sd
        return math.ceil((self._largest + noise) / self._plan.grid)


def _guarantee(plan: Plan, price: Account, members: int) -> Guarantee:
    shares, known = noise_shares(members), colluders(members)
    if plan.fedavg is not None:  # the noise of a local step is this hospital's alone
        shares, known = 1, members - 1
    plain = plan.noise_multiplier * plan.max_grad_norm / math.sqrt(shares)
    epsilon_noise = _epsilon_of_arithmetic(plan, members, plain)
    if plain < _SMALLEST_SD_IN_GRID * plan.grid or epsilon_noise > 0.1 * plan.epsilon:
        raise BudgetError(
            "the plan's grid does not fit its noise: the claimed epsilon cannot be proven",
            code="TW4020",
            note=f"noise is {plain / plan.grid:.3g} grid steps wide; "
            f"arithmetic may add {epsilon_noise:.2g} to epsilon {plan.epsilon:g}",
            help="choose a grid that is 1,000 to 10,000,000 times finer than the noise is wide",
        )
    price.require(plan, epsilon_noise=epsilon_noise)
    wider = 1.0
    if plan.sampling is None:
        wider = plan.mu / gdp.mu_of(plan.epsilon - epsilon_noise, plan.delta)
    return Guarantee(
        epsilon=plan.epsilon,
        delta=plan.delta,
        mu=plan.mu,
        mu2_per_attempt=plan.mu2_per_attempt,
        attempts=plan.attempts,
        noise_multiplier=plan.noise_multiplier,
        max_grad_norm=plan.max_grad_norm,
        members=members,
        colluders=known,
        share_sd=plain * wider,
        epsilon_noise=epsilon_noise,
        sample_rate=plan.sample_rate,
    )


def _epsilon_of_arithmetic(plan: Plan, members: int, sd: float) -> float:
    """How much float64 arithmetic can add to epsilon over a whole run; an upper bound.

    A draw of radius r errs by at most e = ERROR_ULPS 2^-53 r sd / grid grid steps, so each cell of
    the rounded noise has its ideal probability times (1 +- 2e), in both of two neighbouring worlds.
    That is 4e of privacy loss per draw, summed over coordinates, releases and members; the radii of
    n draws add up to less than 1.5 n + 100 (mean 1.2533, sd 0.655) but once in 10^30.
    """
    numbers = plan.dimension * plan.releases * members
    error_per_radius = ERROR_ULPS * 2.0**-53 * (1.01 * sd) / plan.grid
    return 4.0 * error_per_radius * (1.5 * numbers + 100.0)
