"""The model moves by no more than one clipped patient allows, from raw cells to new weights.

NaN, infinities, 1e30, an empty cohort and a duplicate are all among what is drawn. Both worlds get
the same noise, so the whole difference is the one patient's.
"""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hospital_node.privacy.clipped_sum import LogisticClippedSum
from hospital_node.privacy.mechanism import Mechanism
from models import registry
from models.cardiac_risk import recipe
from models.cardiac_risk.inputs import COLUMNS
from twinward import descent

NAMES = [*(column.name for column in COLUMNS), "num"]
PLAN = recipe.plan(
    network="00" * 32, study="heart-risk", sites=["cleveland", "hungarian", "va"], divisor=300,
    purpose="health research", grades=["staff_attested"],
)  # fmt: skip
SAME_NOISE = Mechanism(PLAN, entropy_for_tests_only=lambda count: b"n" * count)
MODEL = registry.get(PLAN.model)
CELL = st.floats() | st.sampled_from([np.nan, np.inf, -np.inf, 1e30, 0.0, 1.0, 4.0, 55.0, 250.0])
RECORD = st.lists(CELL, min_size=len(NAMES), max_size=len(NAMES))
ALLOWED = (
    PLAN.learning_rate
    / PLAN.divisor
    * (PLAN.max_grad_norm + np.sqrt(PLAN.dimension) * PLAN.grid)  # the one rounding
    * (1 + 1e-9)
)


def next_weights(records, include, weights):
    table = np.array(records, dtype=float).reshape(len(records), len(NAMES)).T
    columns = dict(zip(NAMES, table, strict=True))
    x = MODEL.encode(columns, site="va", sites=PLAN.sites)
    clipped = LogisticClippedSum(x, MODEL.labels(columns), max_grad_norm=PLAN.max_grad_norm)
    noised = SAME_NOISE.contribute(clipped(weights, np.array(include, dtype=bool)), 3)
    return descent.step(PLAN, weights, noised.vector)


@settings(max_examples=200, deadline=None)
@given(
    records=st.lists(RECORD, min_size=1, max_size=6),
    scale=st.floats(0, 1e3),
    duplicate=st.booleans(),
)
@example(records=[[np.nan] * 14], scale=0.0, duplicate=False)
@example(records=[[1e30] * 14], scale=1.0, duplicate=True)
def test_with_and_without_one_patient(records, scale, duplicate):
    if duplicate:
        records = [*records, records[-1]]
    weights = PLAN.start + scale * np.linspace(-1, 1, PLAN.dimension)
    everyone = [True] * len(records)
    without = [True] * (len(records) - 1) + [False]
    moved = next_weights(records, everyone, weights) - next_weights(records, without, weights)
    assert np.isfinite(moved).all()
    assert np.linalg.norm(moved) <= ALLOWED


def test_an_empty_cohort_moves_the_model_by_noise_alone():
    weights = next_weights([], [], PLAN.start)
    noise = SAME_NOISE.contribute(np.zeros(PLAN.dimension), 3).vector
    assert np.array_equal(weights, descent.step(PLAN, PLAN.start, noise))
