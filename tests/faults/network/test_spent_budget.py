"""The budget over the life of the data: when it is gone a hospital sits out, and says why."""

import math

import pytest

from hospital_node.privacy.lifetime import LIFETIME_DELTA
from twinward import gdp

pytestmark = pytest.mark.slow


def allow(network, name, *, runs):
    """Set this hospital's limit for life so that it holds this many more runs, and restart it."""
    plan = network.the_plan()
    spent = network.status(name)["budget"]["epsilon_spent"]
    mu2 = gdp.mu_of(spent, LIFETIME_DELTA) ** 2 + (runs + 0.5) * plan.mu**2
    network.stop(name)
    epsilon = round(gdp.epsilon_of(math.sqrt(mu2), LIFETIME_DELTA), 4)
    network.set(name, lifetime_epsilon=epsilon)
    network.begin(name)
    return epsilon


def test_hospitals_whose_budget_is_gone_are_refused_by_their_own_book(network):
    first, second, *rest = network.hospitals
    limit = allow(network, first, runs=2)
    allow(network, second, runs=1)
    try:
        network.heal()
        assert len(network.complete_run().release["members"]) == 4

        run = network.complete_run()
        assert sorted(run.release["members"]) == sorted([first, *rest])
        assert "TW4100" in network.log(second)
        assert run.id not in network.book(second)

        before = {name: network.book(name) for name in (first, second)}
        run = network.run().end()
        # Two are left: each would see the other's part, so nobody computes anything more.
        assert run.release is None
        assert run.error["code"] == "TW6100"
        assert run.status == 1
        assert {name: network.book(name) for name in (first, second)} == before
        log = network.log(first)
        assert "TW4100" in log
        assert "budget does not hold another run" in log
        budget = network.status(first)["budget"]
        assert budget["epsilon_limit"] == limit
        assert 1 < budget["epsilon_spent"] <= limit
    finally:
        for name in (first, second):
            network.stop(name)
            network.set(name, lifetime_epsilon=20.0)
