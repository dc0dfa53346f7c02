"""The charge of a sampled run covers it everywhere, and a calibrated run keeps its claim."""

import math

import numpy as np
import pytest

from twinward import gdp
from twinward.accounting.loss import SMALLEST_DELTA, SampledGaussian, curve
from twinward.accounting.sampled import calibrate, dominating_mu

RUNS = [(0.25, 7.6, 63), (0.01, 1.0, 3000), (0.9, 20.0, 33)]


@pytest.mark.parametrize("numbers", RUNS)
def test_the_charged_mu_lies_above_the_run_at_every_delta(numbers):
    losses = curve(SampledGaussian(*numbers))
    mu = dominating_mu(losses)
    shown = np.linspace(0, losses.deltas.size - 1, 800).astype(int)
    for epsilon, delta in zip(losses.epsilons[shown], losses.deltas[shown], strict=True):
        assert delta <= max(gdp.delta_of(mu, float(epsilon)), SMALLEST_DELTA)


@pytest.mark.parametrize("numbers", RUNS)
def test_a_thousandth_less_would_not_cover_it(numbers):
    losses = curve(SampledGaussian(*numbers))
    mu = 0.999 * dominating_mu(losses)
    over = [
        delta > gdp.delta_of(mu, float(epsilon))
        for epsilon, delta in zip(losses.epsilons, losses.deltas, strict=True)
        if delta >= SMALLEST_DELTA
    ]
    assert any(over)


def test_without_sampling_the_charge_is_the_closed_form():
    mu = dominating_mu(curve(SampledGaussian(1.0, 10.0, 50)))
    assert math.sqrt(50) / 10 <= mu <= math.sqrt(50) / 10 * (1 + 2e-4)


def test_charging_by_the_central_limit_or_at_one_delta_would_understate():
    """The two shortcuts that others take; ours lies above both."""
    rate, noise, releases = 0.01, 1.0, 3000
    losses = curve(SampledGaussian(rate, noise, releases))
    mu = dominating_mu(losses)
    central_limit = rate * math.sqrt(releases * math.expm1(noise**-2))
    at_one_delta = gdp.mu_of(losses.epsilon_at(1e-5), 1e-5)
    assert central_limit < at_one_delta < mu
    assert gdp.delta_of(central_limit, 3.0) < losses.deltas[round(3.0 / losses.width)]


def test_float_arithmetic_is_paid_for_in_the_charge():
    losses = curve(SampledGaussian(0.25, 7.6, 63))
    plain, paid = dominating_mu(losses), dominating_mu(losses, extra_epsilon=0.01)
    assert plain * 1.005 < paid
    for index in range(0, losses.deltas.size, 500):
        delta, epsilon = losses.deltas[index], float(losses.epsilons[index])
        assert delta <= max(gdp.delta_of(paid, epsilon + 0.01), SMALLEST_DELTA)


def test_a_part_of_a_sampled_run_costs_more_than_its_share():
    """Why a sampled run is charged whole: giving back unused attempts in mu^2 would understate."""
    whole = dominating_mu(curve(SampledGaussian(0.1, 2.0, 100))) ** 2
    tenth = dominating_mu(curve(SampledGaussian(0.1, 2.0, 10))) ** 2
    assert tenth > 1.2 * whole / 10


@pytest.mark.slow
def test_a_calibrated_run_keeps_its_claim_with_little_to_spare():
    epsilon, rate, attempts = 1.0, 0.25, 63
    made = calibrate(epsilon=epsilon, delta=1e-5, rate=rate, attempts=attempts)
    losses = curve(SampledGaussian(made.rate, made.noise_multiplier, attempts))
    assert epsilon * 0.998 <= losses.epsilon_at(1e-5) <= epsilon * (1 - 1e-3)
    assert made.charged_mu >= dominating_mu(losses)
    assert made.charged_mu >= gdp.mu_of(epsilon * 0.998, 1e-5)
