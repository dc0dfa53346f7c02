"""A sampled plan is believed in nothing, and an account that understates is refused."""

import dataclasses
import math

import pytest

from hospital_node.privacy.accountant import account, of_opacus
from hospital_node.privacy.mechanism import Mechanism
from models.cardiac_risk import recipe
from twinward import gdp
from twinward.errors import BudgetError
from twinward.plan import Sampling

# From `calibrate(epsilon=1, delta=1e-5, rate=0.25, attempts=33)`; see `test_sampled.py`.
SAMPLING = Sampling(rate=0.25, noise_multiplier=5.61563, charged_mu=0.277302)


def plan_for(sampling=SAMPLING, **changes):
    plan = recipe.plan(
        network="00" * 32, study="heart-risk", sites=[f"site-{n}" for n in range(4)],
        divisor=225, purpose="health research", grades=["signed-on-device"],
    )  # fmt: skip
    return dataclasses.replace(plan, sampling=sampling, **changes)


def refused(call, code):
    with pytest.raises(BudgetError) as refusal:
        call()
    assert refusal.value.code == code
    return refusal.value.diagnostic


def test_a_full_batch_costs_the_closed_form():
    plan = plan_for(None)
    found = account(plan)
    assert found.mu == plan.mu == gdp.mu_of(1.0, 1e-5)
    assert found.epsilon == 1.0
    exact = gdp.epsilon_of(math.sqrt(plan.attempts) / plan.noise_multiplier, plan.delta)
    assert exact == pytest.approx(1.0, abs=1e-6)


def test_an_honest_sampled_plan_passes_with_little_to_spare():
    plan = plan_for()
    found = account(plan)
    assert 0.998 < found.epsilon < 1.0
    given = Mechanism(plan).guarantee(4)
    assert (given.epsilon, given.mu, given.sample_rate) == (1.0, SAMPLING.charged_mu, 0.25)
    assert given.noise_multiplier == SAMPLING.noise_multiplier
    assert given.share_sd * math.sqrt(3) == pytest.approx(
        SAMPLING.noise_multiplier * plan.max_grad_norm
    )


@pytest.mark.parametrize(
    "lie",
    [
        {"noise_multiplier": SAMPLING.noise_multiplier * 0.99},
        {"charged_mu": SAMPLING.charged_mu * 0.998},
        {"charged_mu": gdp.mu_of(1.0, 1e-5)},
        {"rate": 0.26},
    ],
    ids=str,
)
def test_a_plan_that_promises_more_than_it_gives_is_refused(lie):
    found = refused(lambda: Mechanism(plan_for(dataclasses.replace(SAMPLING, **lie))), "TW4300")
    assert "promises more" in found.message


def test_a_plan_with_more_attempts_for_the_same_price_is_refused():
    refused(lambda: Mechanism(plan_for(spare_attempts=4)), "TW4300")


class Loader:
    def __init__(self, batch_sampler):
        self.batch_sampler = batch_sampler


class UniformWithReplacementSampler:
    pass


class BatchSampler:
    pass


def opacus(name, *history):
    return type("Accountant", (), {"history": list(history), "mechanism": lambda self: name})()


def test_opacus_gdp_is_refused_when_patients_are_sampled():
    poisson = Loader(UniformWithReplacementSampler())
    found = refused(
        lambda: of_opacus(opacus("gdp", (1.0, 0.1, 100)), poisson, delta=1e-5), "TW4302"
    )
    assert "limit, not a bound" in found.message
    assert of_opacus(opacus("gdp", (10.0, 1.0, 50)), Loader(None), delta=1e-5).epsilon == (
        pytest.approx(2.9432252, abs=1e-6)
    )


def test_batches_accounted_as_poisson_samples_are_refused():
    shuffled = Loader(BatchSampler())
    found = refused(
        lambda: of_opacus(opacus("prv", (1.0, 0.1, 100)), shuffled, delta=1e-5), "TW4302"
    )
    assert "BatchSampler" in found.message
    refused(lambda: of_opacus(opacus("prv", (1.0, 0.1, 100)), object(), delta=1e-5), "TW4302")


@pytest.mark.parametrize("history", [(), ((1.0, 0.1, 3), (2.0, 0.1, 3))])
def test_a_history_that_is_not_one_run_is_refused(history):
    poisson = Loader(UniformWithReplacementSampler())
    refused(lambda: of_opacus(opacus("prv", *history), poisson, delta=1e-5), "TW4302")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Secure RNG turned off:UserWarning")
@pytest.mark.filterwarnings("ignore:Optimal order is the:UserWarning")
@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
def test_against_the_real_opacus():
    """Its own figure for shuffled batches is the same as for Poisson samples; ours is refused."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    opacus = pytest.importorskip("opacus", reason="opacus is not installed")
    results = {}
    for poisson in (True, False):
        module = torch.nn.Linear(3, 1)
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(torch.randn(100, 3), torch.randn(100, 1)), batch_size=10
        )
        engine = opacus.PrivacyEngine(accountant="prv")
        module, optimizer, private = engine.make_private(
            module=module, optimizer=torch.optim.SGD(module.parameters(), lr=0.1),
            data_loader=loader, noise_multiplier=1.0, max_grad_norm=1.0, poisson_sampling=poisson,
        )  # fmt: skip
        for _ in range(3):
            for x, y in private:
                optimizer.zero_grad()
                ((module(x) - y) ** 2).mean().backward()
                optimizer.step()
        results[poisson] = engine, private
    engine, private = results[True]
    found = of_opacus(engine.accountant, private, delta=1e-5)
    assert found.epsilon <= engine.get_epsilon(1e-5) <= found.epsilon * 1.02
    assert found.mu > gdp.mu_of(found.epsilon, 1e-5)
    engine, private = results[False]
    assert engine.get_epsilon(1e-5) == pytest.approx(results[True][0].get_epsilon(1e-5))
    refused(lambda: of_opacus(engine.accountant, private, delta=1e-5), "TW4302")
