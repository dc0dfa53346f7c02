"""Gaussian DP: published values, the safe direction, and two independent references."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward import gdp
from twinward.errors import BudgetError

EPSILONS = st.floats(0.05, 20.0)
DELTAS = st.floats(1e-12, 0.01)


@pytest.mark.parametrize(("epsilon", "mu"), [(1.0, 0.2681), (3.0, 0.7191), (8.0, 1.6660)])
def test_the_values_that_the_design_quotes(epsilon, mu):
    assert gdp.mu_of(epsilon, 1e-5) == pytest.approx(mu, abs=5e-5)


def test_delta_at_epsilon_zero_is_total_variation_of_two_gaussians():
    for mu in (0.01, 0.268, 1.0, 6.0):
        assert gdp.delta_of(mu, 0.0) == pytest.approx(math.erf(mu / 2 / math.sqrt(2)), rel=1e-8)


def exact_delta(mu, epsilon):
    """What ``delta_of`` is of, to fifty digits."""
    mpmath = pytest.importorskip("mpmath", reason="mpmath (comes with torch) is not installed")
    with mpmath.workdps(50):
        m, e = mpmath.mpf(mu), mpmath.mpf(epsilon)
        return mpmath.ncdf(m / 2 - e / m) - mpmath.exp(e) * mpmath.ncdf(-m / 2 - e / m)


@pytest.mark.parametrize("mu", [0.01, 0.268051, 0.7191, 1.666, 5.0, 40.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.03, 0.5, 1.0, 8.0, 60.0, 900.0])
def test_against_fifty_digit_arithmetic(mu, epsilon):
    exact, ours = exact_delta(mu, epsilon), gdp.delta_of(mu, epsilon)
    assert ours >= exact
    if exact > 1e-250:
        assert ours == pytest.approx(float(exact), rel=3e-9)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0])
def test_an_independent_accountant_agrees(epsilon):
    pld = pytest.importorskip(
        "dp_accounting.pld.privacy_loss_distribution", reason="dp-accounting is not installed"
    )
    mu = gdp.mu_of(epsilon, 1e-5)
    one = pld.from_gaussian_mechanism(
        gdp.noise_multiplier(mu, 33), value_discretization_interval=1e-4
    )
    theirs = one.self_compose(33).get_epsilon_for_delta(1e-5)
    assert theirs == pytest.approx(epsilon, rel=2e-3)
    assert theirs >= epsilon * (1 - 1e-6)


@given(epsilon=EPSILONS, delta=DELTAS)
def test_a_claim_made_with_mu_of_always_holds(epsilon, delta):
    mu = gdp.mu_of(epsilon, delta)
    # By exact arithmetic: the last digits of ``delta_of`` go up and down with those of mu.
    assert exact_delta(mu, epsilon) <= delta
    assert gdp.delta_of(mu * (1 + 1e-6), epsilon) > delta


@given(mu=st.floats(0.01, 10.0), delta=DELTAS)
def test_epsilon_is_never_understated(mu, delta):
    epsilon = gdp.epsilon_of(mu, delta)
    assert gdp.delta_of(mu, epsilon) <= delta
    assert gdp.mu_of(epsilon, delta) <= mu * (1 + 1e-6) if epsilon else True


MUS = st.lists(st.floats(0.05, 3.0), min_size=2, max_size=2, unique_by=lambda mu: round(mu, 9))


@given(mus=MUS, epsilon=EPSILONS)
def test_more_mu_is_less_privacy(mus, epsilon):
    low, high = sorted(mus)
    assert gdp.delta_of(low, epsilon) <= gdp.delta_of(high, epsilon)


def test_mu_squared_adds_up():
    assert gdp.compose([0.3, 0.4]) == pytest.approx(0.5, rel=1e-15)
    mu = gdp.mu_of(1.0, 1e-5)
    one = 1 / gdp.noise_multiplier(mu, 33)
    assert gdp.compose(itertools.repeat(one, 33)) == pytest.approx(mu, rel=1e-12)


def test_a_lifetime_of_epsilon_three_holds_seven_runs_of_epsilon_one():
    assert gdp.mu_of(3.0, 1e-5) ** 2 // gdp.mu_of(1.0, 1e-5) ** 2 == 7


def test_micro_units_round_up():
    assert gdp.micro_mu2(0.0718514) == 71852
    assert gdp.micro_mu2(0.1 + 0.2) == 300_000
    assert gdp.micro_mu2(0.0) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_what_is_no_privacy_parameter_is_refused(bad):
    for call in (
        lambda: gdp.delta_of(bad, 1.0),
        lambda: gdp.delta_of(1.0, bad),
        lambda: gdp.epsilon_of(bad, 1e-5),
        lambda: gdp.epsilon_of(1.0, bad),
        lambda: gdp.mu_of(bad, 1e-5),
        lambda: gdp.mu_of(1.0, bad),
    ):
        with pytest.raises(BudgetError) as refusal:
            call()
        assert refusal.value.code == "TW4001"
