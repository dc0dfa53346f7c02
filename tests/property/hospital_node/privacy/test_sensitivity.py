"""No patient, whatever their record holds, moves a sum by more than the norm."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hospital_node.privacy.clipped_sum import LogisticClippedSum
from models import registry
from models.cardiac_risk.inputs import COLUMNS

C = 2.0
WEIRD = st.sampled_from([np.nan, np.inf, -np.inf, 1e30, -1e30, 1e160, 1e308, -1e308, 5e-324, 0.0])
NUMBER = st.floats(-1e6, 1e6) | WEIRD
LABEL = st.sampled_from([0.0, 1.0, np.nan, np.inf, 2.0, 1e30])
WEIGHTS = st.floats(-1e6, 1e6)


@st.composite
def cohorts(draw):
    """Records, labels, owners (1 to 3 records each, any order), weights; anything in a cell."""
    patients = draw(st.integers(1, 8))
    owner = np.repeat(np.arange(patients), draw(st.integers(1, 3)))
    owner = np.array(draw(st.permutations(list(owner))))
    x = draw(arrays(np.float64, (owner.size, 4), elements=NUMBER))
    y = draw(arrays(np.float64, owner.size, elements=LABEL))
    weights = draw(arrays(np.float64, 4, elements=WEIGHTS))
    return x, y, owner, weights


@settings(max_examples=300)
@given(cohort=cohorts(), who=st.integers(0, 7))
def test_zeroing_one_patient_out_moves_the_sum_by_no_more_than_the_norm(cohort, who):
    x, y, owner, weights = cohort
    clipped = LogisticClippedSum(x, y, owner=owner, max_grad_norm=C)
    everyone = np.ones(clipped.patients, dtype=bool)
    without = everyone.copy()
    without[who % clipped.patients] = False
    sums = clipped(weights, everyone), clipped(weights, without)
    assert np.isfinite(sums).all()
    assert np.linalg.norm(sums[0] - sums[1]) <= clipped.sensitivity == C


@settings(max_examples=200)
@given(cohort=cohorts(), cell=NUMBER, label=LABEL)
@example(
    cohort=(np.ones((1, 4)), np.ones(1), np.zeros(1, dtype=int), np.zeros(4)), cell=1e30, label=1
)
def test_replacing_a_record_by_zeros_moves_the_sum_by_no_more_than_the_norm(cohort, cell, label):
    """Zero-out adjacency at the level of records: the same patients, one of them emptied."""
    x, y, owner, weights = cohort
    x, y = x.copy(), y.copy()
    x[owner == 0] = cell
    y[owner == 0] = label
    emptied = x.copy()
    emptied[owner == 0] = 0.0
    everyone = np.ones(owner.max() + 1, dtype=bool)
    full = LogisticClippedSum(x, y, owner=owner, max_grad_norm=C)(weights, everyone)
    zeroed = LogisticClippedSum(emptied, y, owner=owner, max_grad_norm=C)(weights, everyone)
    assert np.isfinite(full).all()
    assert np.linalg.norm(full - zeroed) <= C


@given(cohort=cohorts(), copies=st.integers(2, 5))
def test_a_patient_with_the_same_record_many_times_counts_once(cohort, copies):
    x, y, _, weights = cohort
    once = LogisticClippedSum(x[:1], y[:1], max_grad_norm=C)
    often = LogisticClippedSum(
        np.repeat(x[:1], copies, axis=0), np.repeat(y[:1], copies),
        owner=np.zeros(copies, dtype=int), max_grad_norm=C,
    )  # fmt: skip
    one = np.ones(1, dtype=bool)
    assert np.linalg.norm(often(weights, one)) <= C
    assert np.allclose(once(weights, one), often(weights, one), rtol=1e-9, atol=1e-12)


@given(st.lists(NUMBER, min_size=14, max_size=14), st.lists(WEIGHTS, min_size=26, max_size=26))
def test_an_absurd_record_through_the_whole_path_stays_within_the_norm(cells, weights):
    sites = ("cleveland", "hungarian", "va")
    model = registry.get("cardiac_risk/1")
    columns = {
        name: np.array([value])
        for name, value in zip([*(c.name for c in COLUMNS), "num"], cells, strict=True)
    }
    x = model.encode(columns, site="va", sites=sites)
    clipped = LogisticClippedSum(x, model.labels(columns), max_grad_norm=C)
    total = clipped(np.array(weights), np.ones(1, dtype=bool))
    assert np.isfinite(total).all()
    assert np.linalg.norm(total) <= C


@given(st.integers(1, 5))
def test_a_patient_whose_numbers_are_broken_counts_as_zero(patients):
    rng = np.random.default_rng(patients)
    x, y = rng.normal(size=(patients + 1, 4)), np.ones(patients + 1)
    broken = x.copy()
    broken[-1, 2] = np.nan
    everyone = np.ones(patients + 1, dtype=bool)
    others = everyone.copy()
    others[-1] = False
    assert np.array_equal(
        LogisticClippedSum(broken, y, max_grad_norm=C)(np.ones(4), everyone),
        LogisticClippedSum(x, y, max_grad_norm=C)(np.ones(4), others),
    )
