"""Gaussian differential privacy in closed form: the currency, and its translations.

A mechanism is mu-GDP when telling two neighbouring inputs apart is at least as hard as telling
N(0, 1) from N(mu, 1). Adding Gaussian noise of standard deviation s to something of sensitivity C
is exactly (C/s)-GDP, and mu^2 adds up over releases, also when each is chosen in view of the last.
So budgets are kept in mu^2; (epsilon, delta) is only how a budget is shown:

    delta(epsilon) = Phi(mu/2 - epsilon/mu) - exp(epsilon) * Phi(-mu/2 - epsilon/mu)

Every answer is rounded in the direction that keeps a published claim true: ``delta_of`` and
``epsilon_of`` up, ``mu_of`` down. Only ``math``, so an auditor's machine needs nothing else.

Sources: Dong, Roth, Su, "Gaussian Differential Privacy", JRSS-B 2022 (corollaries 2.13 and 3.3);
Smith, Thakurta, arXiv 2210.17520 (fully adaptive composition at the same price).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from decimal import ROUND_FLOOR, Context

from twinward.errors import BudgetError

_SAFE = 1e-9
"""Relative margin on delta: far above the float64 error of the formula, far below what matters."""

_TWELVE_DIGITS = Context(prec=12, rounding=ROUND_FLOOR)

_EPSILON_LIMIT = 1e6
_MU_LIMIT = 1e3


def delta_of(mu: float, epsilon: float) -> float:
    """The delta at which mu-GDP gives ``epsilon``; never below the true value.

    Raises:
        BudgetError: TW4001, an argument is not a privacy parameter.
    """
    _require(mu, "mu", 0.0, _MU_LIMIT)
    _require(epsilon, "epsilon", 0.0, _EPSILON_LIMIT)
    if mu == 0.0:
        return 0.0
    low, high = (epsilon / mu - mu / 2) / math.sqrt(2), (epsilon / mu + mu / 2) / math.sqrt(2)
    # exp(epsilon) * Phi(-high) = exp(-low^2) * erfcx(high) / 2: no overflow, no lost digits.
    if low > 0:
        delta = 0.5 * math.exp(-low * low) * (_erfcx(low) - _erfcx(high))
    else:
        delta = 0.5 * (math.erfc(low) - math.exp(-low * low) * _erfcx(high))
    return min(1.0, max(delta, 0.0) * (1 + _SAFE) + 1e-300)


def epsilon_of(mu: float, delta: float) -> float:
    """The epsilon that mu-GDP gives at ``delta``; never below the true value.

    Raises:
        BudgetError: TW4001, an argument is not a privacy parameter.
    """
    _require(mu, "mu", 0.0, _MU_LIMIT)
    _require_delta(delta)
    if delta_of(mu, 0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while delta_of(mu, high) > delta:
        low, high = high, 2 * high
    return _bisect(lambda epsilon: delta_of(mu, epsilon) <= delta, low, high)[1]


def mu_of(epsilon: float, delta: float) -> float:
    """The largest mu whose guarantee includes (``epsilon``, ``delta``); never above the true one.

    Rounded down to 12 significant digits, so machines whose ``erfc`` differs in the last bit agree.

    Raises:
        BudgetError: TW4001, an argument is not a privacy parameter.
    """
    _require(epsilon, "epsilon", 0.0, _EPSILON_LIMIT)
    _require_delta(delta)
    low, high = 0.0, 1.0
    while delta_of(high, epsilon) <= delta:
        low, high = high, 2 * high
    mu = _bisect(lambda mu: delta_of(mu, epsilon) > delta, low, high)[0]
    return float(_TWELVE_DIGITS.create_decimal_from_float(mu))


def compose(mus: Iterable[float]) -> float:
    """The mu of releases taken together, chosen adaptively or not: mu^2 adds up."""
    return math.sqrt(math.fsum(mu * mu for mu in mus))


def noise_multiplier(mu: float, releases: int) -> float:
    """Noise per release, in units of the sensitivity, so that all of them together are mu-GDP."""
    _require(mu, "mu", 1e-9, _MU_LIMIT)
    return math.sqrt(releases) / mu


def micro_mu2(mu2: float) -> int:
    """An amount of mu^2 in whole millionths, as the ledger records it; rounded up.

    A last digit that is only float64 noise (1e-9 of a millionth) does not round up.
    """
    return math.ceil(mu2 * 1e6 - 1e-9)


def _erfcx(x: float) -> float:
    """exp(x^2) erfc(x) for x >= 0: direct while erfc has digits, then its continued fraction."""
    if x < 10.0:
        return math.exp(x * x) * math.erfc(x)
    fraction = x
    for k in range(40, 0, -1):
        fraction = x + (k / 2) / fraction
    return 1 / (fraction * math.sqrt(math.pi))


def _bisect(holds: Callable[[float], bool], low: float, high: float) -> tuple[float, float]:
    """The two neighbouring floats around the point from which on ``holds`` is true."""
    while low < (middle := low + (high - low) / 2) < high:
        if holds(middle):
            high = middle
        else:
            low = middle
    return low, high


def _require(value: float, name: str, low: float, high: float) -> None:
    if not low <= value <= high:  # NaN fails every comparison, so it is refused here too
        raise BudgetError(
            f"{name} = {value} is not a privacy parameter",
            code="TW4001",
            help=f"give a number from {low:g} to {high:g}",
        )


def _require_delta(delta: float) -> None:
    if not 0.0 < delta < 1.0:
        raise BudgetError(
            f"delta = {delta} is not a probability strictly between 0 and 1",
            code="TW4001",
            help="use 1e-5, or less than one in ten times the number of patients",
        )
