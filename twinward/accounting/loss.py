"""Privacy loss of Poisson-sampled Gaussian releases, composed: never below the true delta.

In one release a patient takes part with probability q, in secret, and N(0, sigma^2) is added (units
of the clipping norm). Neighbours differ in one patient zeroed out, so one release is as revealing
as telling P = (1-q) N(0, sigma^2) + q N(1, sigma^2) from Q = N(0, sigma^2), in either direction.

The loss log(P/Q) is put on a grid so that every released delta lies on a chord above the true curve
(a dominating pair, "connect the dots"), and composed by FFT. FFT errs by 1e-16 of the largest
value, which would drown a delta of 1e-12; so the distribution is first tilted by exp(theta * loss)
to have its mean where delta is wanted, and tilted back after. Needs numpy and scipy only.

Sources: Zhu, Dong, Wang, AISTATS 2022 (dominating pairs, both directions); Doroshenko et al.,
PoPETs 2022, "Connect the Dots"; Gopi, Lee, Wutschitz, NeurIPS 2021 (FFT); Esscher 1932 (tilting).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtr

from twinward.errors import BudgetError

SMALLEST_DELTA = 1e-12
"""Below this delta no curve is followed: what is left over is added to the delta of a statement."""

Floats = NDArray[np.float64]

_REACH = 10.5
"""Standard deviations of noise that the grid covers: 1e-25 lies beyond, and counts as revealed."""

_CELLS_PER_SD = 5000.0
_FINEST, _COARSEST, _WIDEST = 1e-7, 1e-4, 1e-2
_MOST_CELLS, _MOST_PIECES = 2**21, 64
"""Bounds on the work, so that no plan can keep a node busy for more than some seconds."""

_SAFE = 1e-9
"""Relative margin on delta: far above what float64 loses here, far below what matters."""

_LARGEST_TILT = 1e5
_FROM_CENTRE = 2.5
"""How far, in standard deviations, from the mean of a tilted sum its values are used."""


@dataclass(frozen=True, slots=True)
class SampledGaussian:
    """``releases`` noised sums, each over a fresh Poisson sample of the patients.

    Attributes:
        rate: Chance q of a patient to be in one release; 1 is everyone, always.
        noise_multiplier: Standard deviation of the noise in units of the clipping norm.
        releases: How many there are.

    Raises:
        BudgetError: TW4001.
    """

    rate: float
    noise_multiplier: float
    releases: int

    def __post_init__(self) -> None:
        proper = (
            1e-4 <= self.rate <= 1.0
            and 0.2 <= self.noise_multiplier <= 1e6
            and 1 <= self.releases <= 100_000
        )
        if not proper:
            raise BudgetError(
                "a sampled run is outside what can be accounted",
                code="TW4001",
                note=f"{self}",
                help="use rates from 1e-4 to 1, noise from 0.2 norms, up to 100,000 releases",
            )

    @property
    def loss_sd(self) -> float:
        """Rough standard deviation of the composed loss; sets the grid."""
        chi_square = self.rate**2 * math.expm1(self.noise_multiplier**-2)
        return math.sqrt(self.releases * chi_square)


@dataclass(frozen=True, slots=True)
class Curve:
    """Upper bounds on delta at epsilon = 0, width, 2 width, ...; until under ``SMALLEST_DELTA``.

    Between two points the bound is linear in exp(epsilon).
    """

    width: float
    deltas: Floats

    @property
    def epsilons(self) -> Floats:
        """Where ``deltas`` stand."""
        return np.arange(self.deltas.size) * np.float64(self.width)

    def epsilon_at(self, delta: float) -> float:
        """An epsilon that holds at this delta.

        Raises:
            BudgetError: TW4001, the curve does not go down to this delta.
        """
        if not self.deltas[-1] <= delta < 1:
            raise BudgetError(
                f"the privacy loss was not followed down to delta = {delta}",
                code="TW4001",
                help=f"use a delta from {SMALLEST_DELTA:g} on",
            )
        after = int(np.argmax(self.deltas <= delta))
        if after == 0:
            return 0.0
        above, below = self.deltas[after - 1], self.deltas[after]
        start = self.width * (after - 1)
        share = float((above - delta) / (above - below))
        return start + math.log1p(share * math.expm1(self.width))


def curve(run: SampledGaussian) -> Curve:
    """The delta of all releases together as a function of epsilon; about a second.

    Raises:
        BudgetError: TW4001, the loss is spread too widely to be followed.
    """
    span = float(np.ptp(_ends(run)))
    width = max(min(run.loss_sd / _CELLS_PER_SD, _COARSEST), _FINEST, span / _MOST_CELLS * 4)
    while width < _WIDEST:
        added, removed = (
            _compose(_one_release(run, width, removed=side), run.releases) for side in (False, True)
        )
        if added is not None and removed is not None:
            length = max(added.size, removed.size)
            both = [np.pad(side, (0, length - side.size), mode="edge") for side in (added, removed)]
            return Curve(width, (1 + _SAFE) * np.maximum(*both))
        width *= 2  # a coarser grid is a looser bound, still never below the truth
    raise BudgetError(
        "the privacy loss of this run is spread too widely to be followed",
        code="TW4001",
        help="use more noise or fewer releases",
    )


@dataclass(frozen=True, slots=True)
class _Loss:
    """Probabilities of losses ``width * (first + 0, 1, ...)``, and of an infinite one."""

    width: float
    first: int
    masses: Floats
    infinite: float

    @property
    def losses(self) -> Floats:
        return (self.first + np.arange(self.masses.size)) * np.float64(self.width)


def _one_release(run: SampledGaussian, width: float, *, removed: bool) -> _Loss:
    """The loss of one release on the grid, every chord above the true curve.

    ``removed``: whether the patient is there in the likelier world (loss log P/Q under P), or not
    (log Q/P under Q).
    """
    q, sigma = run.rate, run.noise_multiplier
    sign = 1.0 if removed else -1.0
    ends = sign * _ends(run)
    first, last = math.floor(ends.min() / width), math.ceil(ends.max() / width)
    losses = width * np.arange(first, last + 1)
    cuts = _where_loss_is(sign * losses, q, sigma)
    cuts = np.concatenate([[-sign * np.inf], cuts, [sign * np.inf]])
    absent = _between(cuts / sigma)
    present = (1 - q) * absent + q * _between((cuts - 1.0) / sigma)
    likely, other = (present, absent) if removed else (absent, present)
    # A cell's mass goes to its two ends so that the masses of both worlds are kept.
    inside = likely[1:-1]
    upper = np.clip((inside - other[1:-1] * np.exp(losses[:-1])) / -math.expm1(-width), 0, inside)
    masses = np.zeros(losses.size)
    masses[:-1] = inside - upper
    masses[1:] += upper
    masses[0] += likely[0]  # smaller losses count as this one
    return _Loss(width, first, masses, infinite=float(likely[-1]))


def _ends(run: SampledGaussian) -> Floats:
    """Log P/Q at the two ends of what the grid covers."""
    q, sigma = run.rate, run.noise_multiplier
    x = np.array([-_REACH * sigma, 1.0 + _REACH * sigma])
    stretch = (2.0 * x - 1.0) / (2.0 * sigma**2)
    return np.logaddexp(math.log1p(-q), math.log(q) + stretch) if q < 1 else stretch


def _where_loss_is(loss: Floats, q: float, sigma: float) -> Floats:
    """The outcome x at which log P/Q is ``loss``; minus infinity where it never is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        x = sigma**2 * np.log((np.expm1(loss) + q) / q) + 0.5
    return np.where(np.isnan(x), -np.inf, x)


def _between(cuts: Floats) -> Floats:
    """Standard normal mass between neighbouring cuts, in whichever order they run; exact tails."""
    low, high = np.minimum(cuts[:-1], cuts[1:]), np.maximum(cuts[:-1], cuts[1:])
    masses: Floats = np.where(low > 0, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low))
    return masses


def _compose(loss: _Loss, releases: int) -> Floats | None:
    """Delta at epsilon = 0, width, ... of this many releases; None if it is too much work."""
    losses, span = loss.losses, loss.width * loss.masses.size
    infinite = releases * loss.infinite
    pieces: list[Floats] = []
    theta, reached = 0.0, 0
    while not pieces or pieces[-1][-1] >= SMALLEST_DELTA:
        growth, mean, sd = _tilted(loss, theta, releases)
        cells = 2 ** math.ceil(math.log2((24.0 * sd + 2.0 * span) / loss.width))
        if cells > _MOST_CELLS or len(pieces) == _MOST_PIECES:
            return None
        with np.errstate(divide="ignore"):
            one = np.exp(np.log(loss.masses) + theta * losses - growth)
        summed = np.fft.irfft(np.fft.rfft(one, cells) ** releases, cells)
        middle = round(mean / loss.width)
        numbers = middle - cells // 2 + np.arange(cells)
        # What FFT rounding makes negative is nothing; taking its size keeps the bound a bound.
        tilted = np.abs(summed[(numbers - releases * loss.first) % cells])
        numbers, tilted = numbers[numbers >= reached], tilted[numbers >= reached]
        at = loss.width * numbers
        mass = np.minimum(tilted * np.exp(np.minimum(releases * growth - theta * at, 690.0)), 1.0)
        # Above epsilon: the sum of mass * (1 - exp(epsilon - loss)), summed from the far end.
        above = np.cumsum(mass[::-1])[::-1]
        shrink = math.exp(-loss.width)
        shrunk = lfilter([1.0], [1.0, -shrink], mass[::-1])[::-1]
        deltas = np.clip(above - shrunk, 0.0, 1.0) + infinite
        used = max(round((mean + _FROM_CENTRE * sd) / loss.width) - reached, 1)
        pieces.append(deltas[:used])
        reached += pieces[-1].size
        if reached >= releases * (loss.first + loss.masses.size):
            pieces.append(np.array([infinite]))  # no sum of finite losses gets here
        theta = _theta_for(reached * loss.width, loss, releases, least=theta)
    whole = np.concatenate(pieces)
    return whole[: int(np.argmax(whole < SMALLEST_DELTA)) + 1]


def _tilted(loss: _Loss, theta: float, releases: int) -> tuple[float, float, float]:
    """Log of the normalising constant of one release; mean and sd of the sum, after tilting."""
    with np.errstate(divide="ignore"):
        exponents = np.log(loss.masses) + theta * loss.losses
    top = float(exponents.max())
    weights = np.exp(exponents - top)
    total = float(weights.sum())
    mean = float(weights @ loss.losses) / total
    variance = float(weights @ (loss.losses - mean) ** 2) / total
    return top + math.log(total), releases * mean, math.sqrt(releases * variance)


def _theta_for(start: float, loss: _Loss, releases: int, *, least: float) -> float:
    """A tilt under which ``start`` is as far below the mean as values are used, or nearer."""

    def reaches(theta: float) -> bool:
        _, mean, sd = _tilted(loss, theta, releases)
        return mean - _FROM_CENTRE * sd <= start

    low, high = least, max(2 * least, 1.0)
    while reaches(high) and high < _LARGEST_TILT:
        low, high = high, 2 * high
    while high - low > 0.01 * high:
        theta = (low + high) / 2
        low, high = (theta, high) if reaches(theta) else (low, theta)
    return low
