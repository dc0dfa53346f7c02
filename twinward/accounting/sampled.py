"""What a sampled run is charged: the smallest mu whose Gaussian curve lies above its own.

Budgets are kept in mu^2 (``twinward.gdp``), which adds up even when each run is chosen in view of
the last; the loss of a sampled run is not Gaussian and adds up in no such way. So a sampled run
enters the book at a mu that covers it at every delta from 1e-12 to 1, as one indivisible amount:
part of a run costs more than its share. What lies below is said as at most 1e-12 more of delta per
sampled run: a curve that is nowhere above max(Gaussian, 1e-12) belongs to something no more
revealing than a mu-GDP release together with a disaster of that probability.

The statement of one run (its epsilon at the plan's delta) comes from the run's own, tighter curve.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Context

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr

from twinward import gdp
from twinward.accounting.loss import SMALLEST_DELTA, Curve, Floats, SampledGaussian, curve
from twinward.errors import BudgetError
from twinward.plan import Sampling

_SIX_DIGITS = Context(prec=6, rounding=ROUND_CEILING)
_LARGEST_MU = 100.0
_MARGIN = 1e-3
"""What a calibration leaves of epsilon for float arithmetic and for a second accountant."""


def dominating_mu(losses: Curve, *, extra_epsilon: float = 0.0) -> float:
    """A mu whose curve is nowhere below this one; less than a thousandth above the smallest.

    ``extra_epsilon`` is added to every epsilon of the curve first. Checked at all points of the
    curve, each against the Gaussian delta one point further on, so it holds between them too.

    Raises:
        BudgetError: TW4001, there is none that a budget could hold.
    """
    counted = losses.deltas[:-1] >= SMALLEST_DELTA
    deltas = losses.deltas[:-1][counted]
    epsilons = losses.epsilons[1:][counted] + extra_epsilon

    def covers(mu: float) -> bool:
        return bool((deltas <= _gaussian_delta(mu, epsilons)).all())

    low, high = 0.0, 1e-3
    while not covers(high):
        low, high = high, 2 * high
        if high > _LARGEST_MU:
            raise BudgetError(
                "no Gaussian release is as revealing as this run",
                code="TW4001",
                help="use more noise, a smaller rate or fewer attempts",
            )
    while high - low > 1e-7 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if covers(middle) else (middle, high)
    return float(_SIX_DIGITS.create_decimal_from_float(high))


def _gaussian_delta(mu: float, epsilons: Floats) -> Floats:
    """``gdp.delta_of`` for many epsilons, rounded down instead of up."""
    low, high = mu / 2 - epsilons / mu, -mu / 2 - epsilons / mu
    return (1 - 1e-9) * np.asarray(ndtr(low) - np.exp(epsilons + log_ndtr(high)))


def calibrate(
    *, epsilon: float, delta: float, rate: float, attempts: int, margin: float = _MARGIN
) -> Sampling:
    """The least noise, to six digits, at which a sampled run keeps to (epsilon, delta).

    ``margin`` is the share of epsilon left over; a plan with very many parameters needs more, for
    what float arithmetic may add. Takes some seconds.

    Raises:
        BudgetError: TW4001, no amount of noise that can be accounted does it.
    """
    target = (1 - margin) * epsilon

    def losses(noise: float) -> Curve:
        return curve(SampledGaussian(rate, noise, attempts))

    def over(log_noise: float) -> float:
        return losses(math.exp(log_noise)).epsilon_at(delta) - target

    # The central limit understates what is needed; without sampling sqrt(T) / mu is enough.
    mu = gdp.mu_of(target, delta)
    most = 1.01 * math.sqrt(attempts) / mu
    least = 0.9 / math.sqrt(math.log1p(mu**2 / (attempts * rate**2)))
    try:
        # Within 1e-5 of the least noise, then on its safe side.
        noise = math.exp(brentq(over, math.log(max(least, 0.2)), math.log(most), xtol=1e-5))
        while over(math.log(noise)) > 0:
            noise *= 1 + 1e-5
    except (ValueError, BudgetError) as error:
        raise BudgetError(
            "no noise that can be accounted keeps this run to its epsilon",
            code="TW4001",
            help="use another epsilon, a smaller rate or fewer attempts",
        ) from error
    noise = float(_SIX_DIGITS.create_decimal_from_float(noise))
    return Sampling(rate, noise, dominating_mu(losses(noise), extra_epsilon=margin * epsilon))
