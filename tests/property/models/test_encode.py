"""Whatever a record holds, what the model sees is finite and within public bounds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models import registry
from models.cardiac_risk.inputs import COLUMNS, inputs

SITES = ("cleveland", "hungarian", "va")
MODEL = registry.get("cardiac_risk/1")
ANYTHING = st.floats() | st.sampled_from([1e30, -1e308, 1e308, np.inf, -np.inf, np.nan, 0.0])
PLAUSIBLE = {
    column.name: st.floats(column.low, column.high) | st.just(np.nan) for column in COLUMNS
}


@given(
    values=st.lists(ANYTHING, min_size=len(COLUMNS), max_size=len(COLUMNS)),
    site=st.sampled_from([*SITES, "elsewhere", None]),
)
def test_every_input_is_finite_and_within_its_public_bound(values, site):
    columns = {column.name: np.array([v]) for column, v in zip(COLUMNS, values, strict=True)}
    x = MODEL.encode(columns, site=site, sites=SITES)[0]
    bounds = [each.scale * each.limit for each in inputs(SITES)]
    assert np.isfinite(x).all()
    assert (np.abs(x) <= bounds).all()


@given(st.fixed_dictionaries(PLAUSIBLE), st.fixed_dictionaries(PLAUSIBLE))
def test_a_record_is_encoded_alone(one, other):
    """No input depends on who else is in the hospital's table."""
    alone = MODEL.encode({n: np.array([v]) for n, v in one.items()}, site="va", sites=SITES)
    both = {n: np.array([v, other[n]]) for n, v in one.items()}
    assert np.array_equal(alone[0], MODEL.encode(both, site="va", sites=SITES)[0])
