"""A model is told which engine it gets, or why it is not safe and what to change."""

import numpy as np
import pytest
import torch
from opacus.layers import DPGRU, DPLSTM
from torch import nn

from hospital_node.privacy import validate as module_under_test
from hospital_node.privacy.engines import choice
from hospital_node.privacy.engines.losses import SQUARED
from hospital_node.privacy.engines.per_patient import weights_of
from hospital_node.privacy.validate import engine_for, validate
from models.cardiac_risk.module import CardiacRiskModule
from twinward.errors import BudgetError

Chain = nn.Sequential


class Model(nn.Module):
    """Two layers that a test wires as it likes."""

    def __init__(self, forward):
        super().__init__()
        self.first = nn.Linear(5, 5)
        self.last = nn.Linear(5, 1)
        self._forward = forward

    def forward(self, x):
        return self._forward(self, x)


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.inner = kind(3, 4, batch_first=True)
        self.out = nn.Linear(4, 1)

    def forward(self, x):
        return self.out(self.inner(x)[0][:, -1])


def convolution(norm, **relu):
    return Chain(nn.Conv1d(2, 4, 5), norm, nn.ReLU(**relu), nn.Flatten(), nn.Linear(64, 1))


@pytest.mark.parametrize(
    ("module", "shape", "engine"),
    [
        (CardiacRiskModule(5), (5,), "logistic"),
        (nn.Linear(5, 1), (5,), "mlp"),
        (Chain(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)), (5,), "mlp"),
        (Chain(Chain(nn.Linear(5, 4), nn.ReLU()), nn.Linear(4, 1)), (5,), "mlp"),
        (Chain(nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 1)), (5,), "layerwise"),
        (convolution(nn.GroupNorm(2, 4)), (2, 20), "layerwise"),
        (Chain(nn.Conv1d(2, 4, 5, groups=2), nn.Flatten(), nn.Linear(64, 1)), (2, 20), "opacus"),
        (Chain(nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 1)), (5,), "opacus"),
        (Recurrent(DPGRU), (6, 3), "opacus"),
        (Recurrent(DPLSTM), (6, 3), "opacus"),
        (Model(lambda m, x: m.last(torch.tanh(m.first(x)))), (5,), "opacus"),
        (Model(lambda m, x: m.last(torch.tanh(m.first(m.first(x))))), (5,), "opacus"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_a_safe_model_gets_the_fastest_engine_that_fits(module, shape, engine):
    verdict = validate(module, record_shape=shape)
    assert verdict.safe
    assert verdict.engine == engine
    assert len(verdict.reasons) == 1
    assert not verdict.fix


def tied():
    chain = Chain(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5), nn.Linear(5, 1))
    chain[2].weight = chain[0].weight
    return chain


def frozen():
    chain = Chain(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 1))
    chain[0].weight.requires_grad_(False)
    return chain


def buffered():
    chain = Chain(nn.Linear(5, 1))
    chain[0].register_buffer("seen", torch.zeros(5))
    return chain


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.calls = nn.Linear(5, 1), 0

    def forward(self, x):
        self.calls += 1
        return self.layer(x) * self.calls


def used_twice(model, x):
    """A weight in its layer and again beside it; the second use vanishes at zero, not elsewhere."""
    beside = x @ model.last.weight.T * model.last.weight.sum()
    return model.last(model.first(x)) + beside


UNSAFE = [
    (convolution(nn.BatchNorm1d(4)), (2, 20), "other patients' values", "nn.GroupNorm"),
    (
        convolution(nn.InstanceNorm1d(4, track_running_stats=True)),
        (2, 20), "keeps statistics", "track_running_stats=False",
    ),
    (Recurrent(nn.GRU), (6, 3), "all time steps in one kernel", "DPGRU"),
    (Recurrent(nn.LSTM), (6, 3), "all time steps in one kernel", "DPLSTM"),
    (tied(), (5,), "one tied parameter", "its own parameter"),
    (frozen(), (5,), "is frozen", "train it too"),
    (buffered(), (5,), "has buffers", "constant"),
    (convolution(nn.GroupNorm(2, 4), inplace=True), (2, 20), "overwrites", "inplace=False"),
    (Chain(nn.Linear(5, 4), nn.Dropout(), nn.Linear(4, 1)), (5,), "at random", "take it out"),
    (nn.utils.parametrizations.weight_norm(nn.Linear(5, 1)), (5,), "from others", "remove"),
    (Chain(nn.Linear(5, 1)).half(), (5,), "half precise", "float32"),
    (Chain(nn.Tanh()), (5,), "no parameters", "nothing to train"),
    (Chain(nn.LazyLinear(1)), (5,), "no size", "size"),
    # Found by trying only: nothing in the list of layers speaks against these.
    (Model(lambda m, x: m.last(m.first(x - x.mean(0)))), (5,), "other patients", "on its own"),
    (Model(lambda m, x: m.last(m.first(x.flip(0)))), (5,), "other patients", "on its own"),
    (Counting(), (5,), "differently the second time", "no state"),
    (Model(lambda m, x: m.last(m.first(x).detach() + m.first(x))), (5,), "no gradient", "layer"),
    (Model(lambda m, x: m.last(x @ m.first.weight)), (5,), "no gradient", "layer of its own"),
    (Model(used_twice), (5,), "different sums", "standard layer"),
    (Chain(nn.Linear(6, 1)), (5,), "fails on made-up records", "shape"),
    (Model(lambda m, x: m.last(m.first(x)).sum()), (5,), "no row of outputs", "one tensor"),
    (Model(lambda m, x: m.last(m.first(x)) / 0), (5,), "not finite", "finite"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "shape", "why", "fix"), UNSAFE, ids=[row[2] for row in UNSAFE])
def test_an_unsafe_model_is_told_why_and_what_to_change(module, shape, why, fix):
    verdict = validate(module, record_shape=shape)
    assert not verdict.safe
    assert verdict.engine is None
    assert len(verdict.reasons) == len(verdict.fix) >= 1
    assert why in verdict.reasons[0]
    assert fix in verdict.fix[0]
    with pytest.raises(BudgetError) as refusal:
        engine_for(module, np.zeros((3, *shape)), np.zeros(3), max_grad_norm=1.0)
    assert refusal.value.code == "TW4200"
    assert why in refusal.value.diagnostic.message


def test_the_fix_of_a_recurrent_layer_makes_it_safe():
    torch.manual_seed(0)
    assert not validate(Recurrent(nn.GRU), record_shape=(6, 3)).safe
    assert validate(Recurrent(DPGRU), record_shape=(6, 3)).safe


def test_a_model_that_starts_with_zeros_is_tried_at_other_weights():
    """At zero most gradients vanish, and a wrong one would agree with a right one."""
    module = Model(used_twice)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    before = weights_of(module)
    assert not validate(module, record_shape=(5,)).safe
    assert np.array_equal(before, weights_of(module))


def test_an_engine_that_is_asked_for_is_tried_too():
    module = Chain(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))
    for engine in ("mlp", "layerwise", "opacus", "ghost", "reference"):
        assert validate(module, record_shape=(5,), engine=engine).engine == engine
    assert not validate(Recurrent(DPGRU), record_shape=(6, 3), engine="mlp").safe


def test_an_engine_that_is_wrong_by_a_hundredth_is_found_out(monkeypatch):
    """The trial is what stands between a mistake in an engine and a patient."""
    right = choice.build

    def wrong(*args, **kwargs):
        sums = right(*args, **kwargs)
        return lambda weights, include: 1.01 * sums(weights, include)

    monkeypatch.setattr(module_under_test, "build", wrong)
    verdict = validate(Chain(nn.Linear(5, 1)), record_shape=(5,))
    assert "different sums" in verdict.reasons[0]


def test_the_engine_for_a_model_sums_over_its_patients():
    rng = np.random.default_rng(0)
    module = Chain(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))
    x, y, owner = rng.normal(size=(30, 5)), rng.normal(size=30), np.repeat(np.arange(10), 3)
    given = {"max_grad_norm": 0.1, "loss": SQUARED, "owner": owner}
    closed = engine_for(module, x, y, **given)
    general = engine_for(module, x, y, engine="opacus", **given)
    weights, everyone = weights_of(module), np.ones(10, dtype=bool)
    assert closed.patients == general.patients == 10
    assert closed.sensitivity == 0.1
    difference = closed(weights, everyone) - general(weights, everyone)
    assert np.linalg.norm(difference) <= 1e-6 * np.linalg.norm(closed(weights, everyone))
