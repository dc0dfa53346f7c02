"""What a plan costs, computed here again before anything is computed for it.

A full-batch plan follows from the closed form (``twinward.gdp``). A sampled plan states its noise
and its price; both are checked against the composed privacy loss, by two independent programs of
which the larger counts, and a plan that says less is refused. What Opacus accounts for its own
training is taken over only where it is an upper bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from twinward import gdp
from twinward.errors import BudgetError
from twinward.plan import Plan

if TYPE_CHECKING:  # scipy takes a second, and full-batch plans need none of it
    from twinward.accounting.loss import Curve, SampledGaussian

_AGREEMENT = 1e-3
"""Two accountants that differ by more than this share of epsilon are both not believed."""


@dataclass(frozen=True, slots=True)
class Account:
    """What a whole run reveals at most about one patient.

    Attributes:
        epsilon: At the plan's delta, without what float arithmetic adds.
        mu: What the book charges for the run.
        losses: The curve of a sampled run; None for a full batch, where mu says all.
    """

    epsilon: float
    mu: float
    losses: Curve | None

    def require(self, plan: Plan, *, epsilon_noise: float) -> None:
        """Require that the plan claims and pays no less, with ``epsilon_noise`` on top.

        Raises:
            BudgetError: TW4300, its epsilon or its price is too small.
        """
        if self.losses is None:
            return  # the mechanism widens its noise by what arithmetic adds
        from twinward.accounting.sampled import dominating_mu  # noqa: PLC0415

        needed = dominating_mu(self.losses, extra_epsilon=epsilon_noise)
        if self.epsilon + epsilon_noise > plan.epsilon or needed > plan.mu:
            raise BudgetError(
                "the plan promises more privacy than its noise and sampling give",
                code="TW4300",
                note=f"epsilon {self.epsilon + epsilon_noise:.4f} of {plan.epsilon:g}, "
                f"mu {needed:.4f} of {plan.mu:.4f}",
                help="ask for a plan made with `twinward.accounting.sampled.calibrate`",
            )


def account(plan: Plan) -> Account:
    """Compose the privacy loss of all attempts of a plan; some seconds for a sampled one.

    Raises:
        BudgetError: TW4301, the two accountants do not agree; TW4001, it cannot be accounted.
    """
    if plan.sampling is None:
        return Account(plan.epsilon, plan.mu, None)
    from twinward.accounting.loss import SampledGaussian  # noqa: PLC0415

    run = SampledGaussian(plan.sampling.rate, plan.noise_multiplier, plan.releases)
    epsilon, losses = _composed(run, plan.delta)
    return Account(epsilon, plan.mu, losses)


@lru_cache(maxsize=4)
def _composed(run: SampledGaussian, delta: float) -> tuple[float, Curve]:
    """Epsilon and curve; kept, since a process makes several mechanisms of one plan."""
    from twinward.accounting.loss import curve  # noqa: PLC0415

    losses = curve(run)
    return _cross_checked(run, losses, delta), losses


def _cross_checked(run: SampledGaussian, losses: Curve, delta: float) -> float:
    """The larger of the two epsilons, which must nearly agree (dp-accounting is the second)."""
    from dp_accounting.pld import privacy_loss_distribution as pld  # noqa: PLC0415 - 0.4 s

    ours = losses.epsilon_at(delta)
    one = pld.from_gaussian_mechanism(
        run.noise_multiplier,
        sampling_prob=run.rate,
        value_discretization_interval=min(losses.width, 1e-4),
    )
    theirs = float(one.self_compose(run.releases).get_epsilon_for_delta(delta))
    if not abs(ours - theirs) <= _AGREEMENT * max(ours, theirs) + 1e-6:  # NaN is refused here
        raise BudgetError(
            "two accountants disagree about the price of this plan",
            code="TW4301",
            note=f"epsilon {ours:.6f} and {theirs:.6f}",
            help="take part in no run of it; report the plan",
        )
    return max(ours, theirs)


class OpacusAccountant(Protocol):
    """What is read of an accountant of Opacus 1.6."""

    history: Sequence[tuple[float, float, int]]
    """Noise multiplier, sample rate and number of steps, in order."""

    @classmethod
    def mechanism(cls) -> str:
        """Its name: ``rdp``, ``gdp`` or ``prv``."""
        ...


def of_opacus(accountant: OpacusAccountant, loader: object, *, delta: float) -> Account:
    """What a training with Opacus revealed: its steps, composed by our own accountant.

    Args:
        accountant: The engine's accountant, for its history alone.
        loader: The data loader that was trained from.
        delta: For ``epsilon``.

    Raises:
        BudgetError: TW4302, what Opacus did or claims understates the loss: its ``gdp`` accountant
            under sampling (a limit, not a bound), batches that are accounted as Poisson samples
            and are none, or several different settings in one history.
    """
    settings = {(noise, rate) for noise, rate, _ in accountant.history}
    if len(settings) != 1:
        raise _understates("its steps have different noise or rates, or there are none")
    ((noise, rate),) = settings
    if rate < 1 and accountant.mechanism() == "gdp":
        raise _understates(
            "the accountant `gdp` is a limit, not a bound, when patients are sampled"
        )
    sampler = type(getattr(loader, "batch_sampler", None)).__name__
    if rate < 1 and sampler not in _POISSON:
        raise _understates(f"batches of a `{sampler}` were accounted as Poisson samples")
    releases = sum(steps for _, _, steps in accountant.history)
    if rate == 1:
        mu = math.sqrt(releases) / noise
        return Account(gdp.epsilon_of(mu, delta), mu, None)
    from twinward.accounting.loss import SampledGaussian, curve  # noqa: PLC0415
    from twinward.accounting.sampled import dominating_mu  # noqa: PLC0415

    losses = curve(SampledGaussian(rate, noise, releases))
    return Account(losses.epsilon_at(delta), dominating_mu(losses), losses)


_POISSON = ("UniformWithReplacementSampler", "DistributedUniformWithReplacementSampler")
"""Opacus' samplers that draw each item independently; the names are older than the idea."""


def _understates(why: str) -> BudgetError:
    return BudgetError(
        f"this account understates the privacy loss: {why}",
        code="TW4302",
        help="train with Poisson sampling and the accountant `prv` or `rdp`, one setting a run",
    )
