"""Whatever a patient's records hold, no engine lets them move the sum by more than the norm."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from hospital_node.privacy.engines.choice import build

C = 2.0
SHAPE = (2, 4)
WEIRD = st.sampled_from([np.nan, np.inf, -np.inf, 1e30, -1e30, 1e160, 1e308, -1e308, 5e-324, 0.0])
NUMBER = st.floats(-1e6, 1e6) | WEIRD
LABEL = st.sampled_from([0.0, 1.0, np.nan, np.inf, 2.0, 1e30])
WEIGHT = st.floats(-1e3, 1e3) | st.sampled_from([0.0, 1e30, -1e150, 1e300])


def dense():
    return nn.Sequential(nn.Linear(8, 3), nn.ReLU(), nn.Linear(3, 1))


def convolutional():
    return nn.Sequential(
        nn.Conv1d(2, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.Tanh(), nn.Flatten(), nn.Linear(16, 1)
    )


@st.composite
def cohorts(draw, several):
    patients = draw(st.integers(1, 8))
    owner = np.repeat(np.arange(patients), draw(st.integers(1, 3)) if several else 1)
    owner = np.array(draw(st.permutations(list(owner))))
    x = draw(arrays(np.float64, (owner.size, *SHAPE), elements=NUMBER))
    y = draw(arrays(np.float64, owner.size, elements=LABEL))
    return x, y, owner


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(
    ("engine", "make"),
    [
        ("mlp", dense), ("layerwise", dense), ("layerwise", convolutional),
        ("opacus", convolutional), ("ghost", convolutional), ("reference", convolutional),
    ],
)  # fmt: skip
@settings(max_examples=60, deadline=None)
@given(data=st.data(), who=st.integers(0, 7))
def test_zeroing_one_patient_out_moves_the_sum_by_no_more_than_the_norm(
    engine, make, dtype, data, who
):
    module = make().to(dtype)
    dimension = sum(parameter.numel() for parameter in module.parameters())
    x, y, owner = data.draw(cohorts(several=engine != "ghost"))
    x = x.reshape(len(x), -1) if make is dense else x
    weights = data.draw(arrays(np.float64, dimension, elements=WEIGHT))
    sums = build(engine, module, x, y, max_grad_norm=C, owner=owner)
    everyone = np.ones(sums.patients, dtype=bool)
    without = everyone.copy()
    without[who % sums.patients] = False
    full, rest = sums(weights, everyone), sums(weights, without)
    assert np.isfinite(full).all()
    assert np.isfinite(rest).all()
    assert np.linalg.norm(full - rest) <= sums.sensitivity == C


@pytest.mark.parametrize("engine", ["mlp", "layerwise", "opacus", "ghost", "reference"])
def test_patients_who_pull_the_same_way_with_all_their_might_stay_within_the_norm(engine):
    """3,000 aligned gradients at the norm: rounding of the long sum must not show."""
    module = nn.Sequential(nn.Linear(3, 1))
    patients = 3000
    x, y = np.full((patients, 3), 1e3 / 7), np.zeros(patients)
    sums = build(engine, module, x, y, max_grad_norm=C)
    weights, everyone = np.array([1.0, 1.0, 1.0, 0.1]), np.ones(patients, dtype=bool)
    without = everyone.copy()
    without[patients // 2] = False
    full, rest = sums(weights, everyone), sums(weights, without)
    assert np.linalg.norm(full) > patients * C * (1 - 1e-5)
    assert np.linalg.norm(full - rest) <= C
