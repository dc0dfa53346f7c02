"""What may leave: noised before it is rounded, at the width that the claim needs, or not at all."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from hospital_node.privacy.mechanism import Mechanism
from models.cardiac_risk import recipe
from twinward import gdp
from twinward.errors import BudgetError, TrainingError
from twinward.plan import Sampling

SITES = ("cleveland", "hungarian", "switzerland", "va")
pytestmark = pytest.mark.usefixtures("same_noise")
FALSE_ALARM = 1e-6


def plan_for(members=4, epsilon=1.0, **changes):
    plan = recipe.plan(
        network="00" * 32, study="heart-risk", sites=[f"site-{n}" for n in range(members)],
        divisor=900, purpose="health research", grades=["staff_attested"], epsilon=epsilon,
    )  # fmt: skip
    return dataclasses.replace(plan, **changes)


def counter():
    """Test entropy: another fixed key at every call."""
    calls = iter(range(1, 10**6))
    return lambda count: next(calls).to_bytes(count, "big")


@pytest.mark.parametrize(
    ("members", "shares"), [(3, 2), (4, 3), (5, 3), (6, 4), (30, 20), (64, 42)]
)
def test_a_share_covers_the_noise_without_the_colluders(members, shares):
    plan = plan_for(members)
    guarantee = Mechanism(plan).guarantee(members)
    assert guarantee.members - guarantee.colluders == shares
    honest = math.sqrt(shares) * guarantee.share_sd
    assert honest >= plan.noise_multiplier * plan.max_grad_norm
    assert honest == pytest.approx(plan.noise_multiplier * plan.max_grad_norm, rel=5e-3)


@pytest.mark.parametrize("members", [4, 64])
@pytest.mark.parametrize("epsilon", [0.3, 1.0, 8.0])
def test_the_claim_holds_with_what_float_arithmetic_may_add(members, epsilon):
    plan = plan_for(members, epsilon)
    given = Mechanism(plan).guarantee(members)
    honest = math.sqrt(members - given.colluders) * given.share_sd
    mu = math.sqrt(plan.attempts) * plan.max_grad_norm / honest
    assert 0 < given.epsilon_noise < 0.01 * epsilon
    assert gdp.epsilon_of(mu, plan.delta) + given.epsilon_noise <= epsilon * (1 + 1e-9)
    assert given.mu2_per_attempt * given.attempts == pytest.approx(given.mu**2)


@pytest.mark.parametrize("members", [-1, 0, 1, 2])
def test_two_members_are_refused(members):
    mechanism = Mechanism(plan_for(4))
    with pytest.raises(TrainingError) as refusal:
        mechanism.contribute(np.zeros(27), members)
    assert refusal.value.code == "TW6100"


def test_noise_comes_before_the_rounding_and_has_the_right_width():
    """The rounded vectors, over many calls, are N(A, sd^2) on the grid: chi-square and KS."""
    plan = plan_for(4)
    mechanism = Mechanism(plan, entropy_for_tests_only=counter())
    clipped = np.linspace(-100, 100, 27)
    released = [mechanism.contribute(clipped, 4) for _ in range(2000)]
    sd = released[0].guarantee.share_sd
    units = (np.array([each.vector for each in released]) * plan.grid - clipped) / sd
    assert stats.kstest(units.ravel(), "norm").pvalue > FALSE_ALARM
    total = stats.chi2.cdf(np.sum(units**2), units.size)
    assert FALSE_ALARM < total < 1 - FALSE_ALARM


def test_a_third_of_a_grid_step_moves_a_third_of_the_numbers():
    """Under the same noise. Rounding before the noise would move none, or all."""
    plan = plan_for(4)
    moved = 0
    for seed in range(200):
        same = Mechanism(plan, entropy_for_tests_only=lambda count, s=seed: bytes([s]) * count)
        steps = same.contribute(np.full(27, 0.3 * plan.grid), 4).vector
        moved += np.count_nonzero(steps - same.contribute(np.zeros(27), 4).vector)
    assert stats.binomtest(moved, 200 * 27, 0.3).pvalue > FALSE_ALARM


def test_one_sum_asked_for_twice_gets_other_noise():
    mechanism = Mechanism(plan_for(4))
    first, second = (mechanism.contribute(np.zeros(27), 4).vector for _ in range(2))
    assert (first != second).all()


def test_an_empty_cohort_still_sends_noise():
    assert np.all(Mechanism(plan_for(4)).contribute(np.zeros(27), 4).vector != 0)


@pytest.mark.parametrize(
    "clipped",
    [
        np.full(27, np.nan),
        np.full(27, np.inf),
        np.full(27, 1e30),
        np.zeros(26),
        np.eye(27)[0] * 2 * 4097,
    ],
)
def test_a_sum_that_no_cohort_of_the_plan_can_have_is_refused(clipped):
    with pytest.raises(BudgetError) as refusal:
        Mechanism(plan_for(4)).contribute(clipped, 4)
    assert refusal.value.code == "TW4021"


def test_a_vector_never_leaves_its_public_range():
    plan = plan_for(4)
    mechanism = Mechanism(plan)
    largest = np.eye(27)[3] * plan.max_patients_per_hospital * plan.max_grad_norm
    vector = mechanism.contribute(largest, 4).vector
    assert vector.dtype == np.int64
    assert np.abs(vector).max() <= mechanism.bound(4)
    assert 4 * mechanism.bound(4) < 2**63
    assert np.abs(vector).max() * 4 <= plan.max_abs_sum


def test_a_grid_that_does_not_fit_the_noise_is_refused():
    for grid in (1.0, 1e-15):
        with pytest.raises(BudgetError) as refusal:
            Mechanism(plan_for(4, grid=grid))
        assert refusal.value.code == "TW4020"


SAMPLED = Sampling(rate=0.25, noise_multiplier=5.61563, charged_mu=0.277302)


class Everyone:
    """Stands for patients whose clipped gradients are (C, 0, 0, ...): a sum that counts them."""

    def __init__(self, patients, sensitivity):
        self.patients, self.sensitivity = patients, sensitivity

    def __call__(self, weights, include):
        return np.eye(weights.size)[0] * self.sensitivity * include.sum()


def test_a_sampled_attempt_is_drawn_noised_and_described_together():
    plan = plan_for(4, sampling=SAMPLED)
    mechanism = Mechanism(plan)
    everyone = Everyone(2000, plan.max_grad_norm)
    permitted = np.arange(2000) < 1200
    weights = np.zeros(plan.dimension)
    made = [mechanism.release(everyone, weights, permitted, 4) for _ in range(400)]
    counts = np.array([each.vector[0] for each in made]) * plan.grid / plan.max_grad_norm
    given = made[0].guarantee
    sd = math.sqrt(1200 * 0.25 * 0.75 + (given.share_sd / plan.max_grad_norm) ** 2)
    assert abs(counts.mean() - 300) < 5 * sd / 20
    spread = counts.var(ddof=1) / sd**2 * (counts.size - 1)
    assert FALSE_ALARM < stats.chi2.cdf(spread, counts.size - 1) < 1 - FALSE_ALARM
    assert given.sample_rate == 0.25
    assert given.share_sd == pytest.approx(5.61563 * plan.max_grad_norm / math.sqrt(3))


def test_noise_for_a_sample_is_never_given_to_everyone():
    with pytest.raises(BudgetError) as refusal:
        Mechanism(plan_for(4, sampling=SAMPLED)).contribute(np.zeros(27), 4)
    assert refusal.value.code == "TW4304"


@pytest.mark.parametrize("norm", [1.0, 2.0 * (1 + 1e-12), 4.0])
def test_an_engine_of_another_norm_is_refused(norm):
    plan = plan_for(4)
    assert plan.max_grad_norm == 2.0
    with pytest.raises(BudgetError) as refusal:
        Mechanism(plan).release(Everyone(9, norm), np.zeros(27), np.ones(9, dtype=bool), 4)
    assert refusal.value.code == "TW4303"


def test_a_full_batch_is_everyone_who_permits_it_and_nobody_else():
    plan = plan_for(4)
    asked = []

    class Asked(Everyone):
        def __call__(self, weights, include):
            asked.append(include.copy())
            return super().__call__(weights, include)

    permitted = np.arange(9) % 2 == 0
    Mechanism(plan).release(Asked(9, plan.max_grad_norm), np.zeros(27), permitted, 4)
    assert np.array_equal(asked[0], permitted)


def test_the_guarantee_travels_with_the_vector():
    plan = plan_for(4)
    given = Mechanism(plan).contribute(np.zeros(27), 4).guarantee
    assert (given.epsilon, given.delta, given.attempts) == (1.0, 1e-5, 33)
    assert (given.unit, given.adjacency) == ("patient at one hospital", "zero-out")
    with pytest.raises(dataclasses.FrozenInstanceError):
        given.epsilon = 0.1
