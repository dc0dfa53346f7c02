"""The loss of sampled releases: never below the truth, and hardly above it, down to 1e-12."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from twinward import gdp
from twinward.accounting.loss import SMALLEST_DELTA, SampledGaussian, curve
from twinward.errors import BudgetError

RUNS = [
    SampledGaussian(0.25, 7.6, 63),
    SampledGaussian(0.05, 2.84, 200),
    SampledGaussian(0.1, 1.0, 100),
    SampledGaussian(0.01, 1.0, 3000),
    SampledGaussian(0.9, 20.0, 33),
]
DELTAS = (1e-3, 1e-5, 1e-8, 1e-10, 2e-12)


def true_delta(run, epsilon, *, removed):
    """An independent way: the inverse Laplace integral through the saddle point, without a grid.

    Alghamdi et al., "The saddle-point method in differential privacy", ICML 2023, theorem 3.1:
    delta = (1 / 2 pi i) integral of exp(T K(z) - z epsilon) / (z (z + 1)), K the cumulants.
    """
    q, s = run.rate, run.noise_multiplier
    x = np.linspace(-14 * s, 1 + 30 * s, 4001)
    ratio = np.logaddexp(math.log1p(-q), math.log(q) + (2 * x - 1) / (2 * s * s))
    absent = norm.logpdf(x, scale=s) + math.log(x[1] - x[0])
    density, loss = (absent + ratio, ratio) if removed else (absent, -ratio)

    def cumulants(z):
        exponents = density + np.outer(z, loss)
        top = exponents.real.max(axis=1)
        return top + np.log(np.exp(exponents - top[:, None]).sum(axis=1))

    def slope(theta):
        weights = np.exp(density + theta * loss - (density + theta * loss).max())
        return float(weights @ loss / weights.sum())

    if epsilon >= run.releases * loss.max():
        return 0.0  # one release cannot lose more than log 1 / (1 - q) when the patient is absent
    low, high = 1e-3, 1.0
    while run.releases * slope(high) < epsilon:
        high *= 2
    for _ in range(60):
        theta = (low + high) / 2
        low, high = (theta, high) if run.releases * slope(theta) < epsilon else (low, theta)
    weights = np.exp(density + theta * loss - (density + theta * loss).max())
    mean = weights @ loss / weights.sum()
    sd = math.sqrt(run.releases * float(weights @ (loss - mean) ** 2 / weights.sum()))
    total, width = 0.0, 0.04 / sd
    for block in np.array_split(np.arange(-300, 301) * width, 6):
        z = theta + 1j * block
        integrand = np.exp(run.releases * cumulants(z) - z * epsilon) / (z * (z + 1))
        total += float(integrand.real.sum()) * width
    return total / (2 * math.pi)


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_never_below_the_truth_and_hardly_above(run):
    losses = curve(run)
    for delta in (1e-3, 1e-5, 2e-12):
        epsilon = losses.epsilon_at(delta)
        truth = max(true_delta(run, epsilon, removed=side) for side in (True, False))
        assert truth <= delta * (1 + 1e-7), f"understated at {delta}"
        assert truth >= delta * (1 - 2e-3), f"overstated at {delta}"


@pytest.mark.parametrize(("rate", "noise"), [(0.5, 0.5), (0.9, 3.0), (0.001, 0.3)])
def test_one_release_against_the_closed_form(rate, noise):
    losses = curve(SampledGaussian(rate, noise, 1))
    epsilons = losses.epsilons
    with np.errstate(divide="ignore", invalid="ignore"):
        present = noise**2 * np.log((np.expm1(epsilons) + rate) / rate) + 0.5
        absent = noise**2 * np.log((np.expm1(-epsilons) + rate) / rate) + 0.5

    def mixture(x):
        return (1 - rate) * norm.sf(x, scale=noise) + rate * norm.sf(x, loc=1, scale=noise)

    removed = mixture(present) - np.exp(epsilons) * norm.sf(present, scale=noise)
    below = np.where(np.isnan(absent), -np.inf, absent)
    added = norm.cdf(below, scale=noise) - np.exp(epsilons) * (
        (1 - rate) * norm.cdf(below, scale=noise) + rate * norm.cdf(below, loc=1, scale=noise)
    )
    exact = np.maximum(removed, added)
    assert (losses.deltas >= exact).all()
    followed = exact > SMALLEST_DELTA
    assert (losses.deltas[followed] <= exact[followed] * 1.01 + 1e-9).all()


@pytest.mark.parametrize(("noise", "releases"), [(10.0, 50), (20.0, 100), (21.4, 33), (1.0, 1)])
def test_without_sampling_it_is_the_closed_form(noise, releases):
    losses = curve(SampledGaussian(1.0, noise, releases))
    for delta in DELTAS:
        exact = gdp.epsilon_of(math.sqrt(releases) / noise, delta)
        assert exact * (1 - 1e-8) <= losses.epsilon_at(delta) <= exact * (1 + 1e-6)


@pytest.mark.parametrize("run", RUNS[1:4], ids=str)
def test_an_independent_library_agrees_where_its_numbers_hold(run):
    library = pytest.importorskip(
        "dp_accounting.pld.privacy_loss_distribution", reason="dp-accounting is not installed"
    )
    losses = curve(run)
    theirs = library.from_gaussian_mechanism(
        run.noise_multiplier, sampling_prob=run.rate,
        value_discretization_interval=min(1e-4, losses.width),
    ).self_compose(run.releases)  # fmt: skip
    for delta in (1e-3, 1e-5, 1e-8):
        assert losses.epsilon_at(delta) == pytest.approx(
            theirs.get_epsilon_for_delta(delta), rel=2e-4
        )


def test_more_noise_fewer_releases_and_rarer_patients_cost_less():
    base = curve(SampledGaussian(0.1, 2.0, 100)).epsilon_at(1e-5)
    for less in ((0.1, 2.1, 100), (0.1, 2.0, 95), (0.09, 2.0, 100)):
        assert curve(SampledGaussian(*less)).epsilon_at(1e-5) < base * 0.99
    assert base < gdp.epsilon_of(math.sqrt(100) / 2.0, 1e-5) * 0.2, "sampling amplifies"


def test_epsilon_zero_is_said_only_where_it_holds():
    losses = curve(SampledGaussian(0.001, 1000.0, 10))
    assert losses.epsilon_at(1e-5) == 0.0
    assert losses.deltas[0] <= 1e-5


@pytest.mark.parametrize(
    "bad",
    [
        (0.0, 1.0, 1), (1.1, 1.0, 1), (math.nan, 1.0, 1), (0.1, 0.0, 1), (0.1, math.inf, 1),
        (0.1, math.nan, 1), (0.1, 1.0, 0), (0.1, -1.0, 1),
    ],
)  # fmt: skip
def test_what_is_no_sampled_run_is_refused(bad):
    with pytest.raises(BudgetError) as refusal:
        SampledGaussian(*bad)
    assert refusal.value.code == "TW4001"


def test_a_loss_that_cannot_be_followed_is_refused_and_not_guessed():
    with pytest.raises(BudgetError) as refusal:
        curve(SampledGaussian(1.0, 0.2, 100_000))
    assert refusal.value.code == "TW4001"
    with pytest.raises(BudgetError) as refusal:
        curve(RUNS[0]).epsilon_at(1e-14)
    assert refusal.value.code == "TW4001"
