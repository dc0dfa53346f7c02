"""The sum behind a private mean: bounded for each patient, whatever their numbers are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hospital_node.privacy.audit.report import QUICK, audit
from hospital_node.privacy.engines.means import MeanClippedSum
from models import prior_recipe, registry
from twinward.errors import BudgetError

NORM = 2.0
ANY = st.floats(width=64)


@given(
    x=arrays.arrays(np.float64, (5, 3), elements=ANY),
    weights=arrays.arrays(np.float64, 3, elements=st.floats(-1e6, 1e6)),
)
def test_one_patient_moves_the_sum_by_the_norm_and_no_more(x, weights):
    sum_of = MeanClippedSum(x, max_grad_norm=NORM)
    everyone = np.ones(5, dtype=bool)
    for patient in range(5):
        without = everyone.copy()
        without[patient] = False
        moved = np.linalg.norm(sum_of(weights, everyone) - sum_of(weights, without))
        assert moved <= NORM


def test_from_zero_it_is_the_sum_of_the_cut_numbers_with_the_sign_of_a_gradient():
    x = np.array([[1.0, 0.0], [0.0, 8.0], [np.nan, 1.0], [1e200, 0.0]])
    found = MeanClippedSum(x, max_grad_norm=NORM)(np.zeros(2), np.ones(4, dtype=bool))
    np.testing.assert_allclose(found, [-1.0, -2.0], rtol=1e-5)


def test_several_records_are_one_patient():
    x, owner = np.array([[8.0], [8.0], [1.0]]), np.array([0, 0, 2])
    sum_of = MeanClippedSum(x, max_grad_norm=NORM, owner=owner)
    assert sum_of.patients == 3
    found = sum_of(np.zeros(1), np.array([True, True, False]))
    np.testing.assert_allclose(found, [-2.0], rtol=1e-5)


def test_what_does_not_fit_is_refused():
    sum_of = MeanClippedSum(np.ones((2, 3)), max_grad_norm=NORM)
    for weights, include in ((np.zeros(2), 2), (np.zeros(3), 3), (np.full(3, np.nan), 2)):
        with pytest.raises(BudgetError):
            sum_of(weights, np.ones(include, dtype=bool))


def test_the_plan_of_a_prior_withstands_the_attacks():
    plan = prior_recipe.plan(
        prior=registry.prior("glucose_prior/1"),
        network="00" * 32,
        study="glucose-prior",
        sites=("harbour", "meadow", "summit", "station"),
        divisor=40,
        purpose="diabetes-research",
        grades=("signed-on-device",),
    )
    audit(plan, size=QUICK).require_passed()
