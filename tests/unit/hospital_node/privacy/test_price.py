"""The price of a run is seen before it is chosen, and seeing it charges nothing."""

from contextlib import closing

import numpy as np
import pytest

from hospital_node.privacy.lifetime import Lifetime
from hospital_node.privacy.price import price
from models.cardiac_risk import recipe
from twinward import gdp

PLAN = recipe.plan(
    network="00" * 32, study="heart-risk", sites=["a1", "b2", "c3", "d4"], divisor=900,
    purpose="health research", grades=["signed-on-device"],
)  # fmt: skip
RECORDS = [f"MRN-{number}" for number in range(10)]
EVERYONE = np.ones(10, dtype=bool)


@pytest.fixture
def lifetime(tmp_path):
    limit = gdp.mu_of(3.0, 1e-5) ** 2
    with closing(
        Lifetime(tmp_path / "s.sqlite", key=b"k" * 32, records=RECORDS, limit_mu2=limit)
    ) as lifetime:
        yield lifetime


def train(lifetime, number, wanted=EVERYONE):
    lifetime.begin(f"{number:064x}", what="training", mu2=PLAN.mu**2, wanted=wanted)


def test_a_first_run(lifetime):
    found = price(PLAN, lifetime, wanted=EVERYONE)
    assert (found.patients, found.left_out, found.nearly_spent) == (10, 0, 0)
    assert found.worst_before == 0.0
    assert found.worst_after == pytest.approx(1.0, abs=1e-6)
    assert found.limit == pytest.approx(3.0, abs=1e-6)
    assert found.runs_left == 6
    assert "also if the model is not used" in found.text()
    assert "costs everyone else the whole price again" in found.text()


def test_it_shows_who_is_left_out_and_warns_and_charges_nothing(lifetime):
    lifetime.set_limit(9, PLAN.mu**2 / 2)
    for number in range(5):
        train(lifetime, number, np.arange(10) < 4)
    before = [lifetime.standing(row) for row in range(10)]
    found = price(PLAN, lifetime, wanted=EVERYONE)
    assert (found.patients, found.left_out, found.nearly_spent) == (9, 1, 4)
    assert found.runs_left == 1
    assert "Warning: 4 patients" in found.text()
    assert [lifetime.standing(row) for row in range(10)] == before


def test_what_was_said_is_what_happens(lifetime):
    train(lifetime, 0)
    said = price(PLAN, lifetime, wanted=EVERYONE)
    train(lifetime, 1)
    paid = gdp.epsilon_of(lifetime.standing(0).spent_mu2 ** 0.5, PLAN.delta)
    assert paid == pytest.approx(said.worst_after, rel=1e-9)
    for number in range(2, 2 + said.runs_left):
        train(lifetime, number)
    assert price(PLAN, lifetime, wanted=EVERYONE).patients == 0
    assert "No patient here has enough left" in price(PLAN, lifetime, wanted=EVERYONE).text()
