"""Every engine gives the same sum: by hand, closed form, layer by layer, Opacus, torch.func."""

import numpy as np
import pytest
import torch
from opacus.layers import DPGRU
from torch import nn

from hospital_node.privacy.clipped_sum import LogisticClippedSum
from hospital_node.privacy.engines.choice import build
from hospital_node.privacy.engines.losses import LOGISTIC, SQUARED
from hospital_node.privacy.engines.mlp import MlpClippedSum
from hospital_node.privacy.engines.patients import SLACK
from hospital_node.privacy.engines.per_patient import weights_of
from models.cardiac_risk.module import CardiacRiskModule
from twinward.errors import BudgetError

AGREEMENT = 1e-6
ONE_EACH = None
SEVERAL = np.random.default_rng(3).permutation(np.repeat([0, 1, 2, 4, 5, 6], [1, 3, 20, 5, 8, 3]))
"""40 records of 7 patients in any order; patient 3 has none."""


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = DPGRU(3, 5, batch_first=True)
        self.out = nn.Linear(5, 1)

    def forward(self, x):
        return self.out(self.gru(x)[0][:, -1])


def convolutional():
    return nn.Sequential(
        nn.Conv1d(3, 8, 7, stride=2, padding=3), nn.GroupNorm(4, 8), nn.ReLU(),
        nn.Conv1d(8, 6, 5, stride=3, padding=1, dilation=2, bias=False), nn.Tanh(),
        nn.AdaptiveAvgPool1d(2), nn.Flatten(), nn.Linear(12, 2),
    )  # fmt: skip


MODELS = {
    "logistic": (lambda: CardiacRiskModule(5), (5,), ("logistic", "layerwise", "opacus", "ghost")),
    "linear": (lambda: nn.Sequential(nn.Linear(5, 1)), (5,), ("mlp", "opacus", "ghost")),
    "tanh": (
        lambda: nn.Sequential(
            nn.Linear(5, 9), nn.Tanh(), nn.Linear(9, 4), nn.Tanh(), nn.Linear(4, 2)
        ),
        (5,),
        ("mlp", "layerwise", "opacus", "ghost"),
    ),
    "relu": (
        lambda: nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 1)),
        (5,),
        ("mlp", "layerwise", "opacus", "ghost"),
    ),
    "convolutional": (convolutional, (3, 60), ("layerwise", "opacus", "ghost")),
    "recurrent": (Recurrent, (7, 3), ("opacus", "ghost")),
    "sequence": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Flatten(), nn.Linear(28, 1)),
        (7, 3),
        ("layerwise", "opacus"),
    ),
}


def records(shape, outputs, owner, seed=0):
    """40 records; one patient has a NaN, one infinity, and one label is none."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, *shape))
    y = rng.integers(0, 2, (40, outputs)).astype(float)
    x[3].flat[1], x[7].flat[0], y[11, 0] = np.nan, np.inf, 2.0
    return x, y, rng.random(40 if owner is None else 7) < 0.8


def by_hand(module, x, y, owner, include, norm, loss):
    """Plain autograd, one patient at a time; float64 where the module is."""
    owners = np.arange(len(x)) if owner is None else owner
    total = np.zeros(weights_of(module).size)
    dtype = next(module.parameters()).dtype
    for patient in np.flatnonzero(include):
        mine = owners == patient
        usable = np.isfinite(x[mine]).all() and loss.usable(y[mine]).all()
        if not mine.any() or not usable:
            continue
        outputs = module(torch.tensor(x[mine], dtype=dtype))
        targets = torch.tensor(y[mine], dtype=dtype)
        mean = loss.of_records(outputs.reshape(targets.shape), targets).mean()
        gradients = torch.autograd.grad(mean, list(module.parameters()))
        gradient = np.concatenate([each.double().numpy().ravel() for each in gradients])
        total += gradient * min(1.0, norm * (1 - SLACK) / np.linalg.norm(gradient))
    return total


@pytest.mark.parametrize("owner", [ONE_EACH, SEVERAL], ids=["one record each", "several records"])
@pytest.mark.parametrize("loss", [LOGISTIC, SQUARED], ids=lambda loss: loss.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", MODELS)
def test_every_engine_equals_autograd_by_hand(name, dtype, loss, owner):
    make, shape, engines = MODELS[name]
    torch.manual_seed(1)
    module = make().to(dtype)
    outputs = module(torch.zeros(1, *shape, dtype=dtype)).numel()
    x, y, include = records(shape, outputs, owner)
    free = by_hand(module, x, y, owner, include, 1e9, loss)
    for norm in (1e9, 0.5 * np.linalg.norm(free) / max(include.sum(), 1), 1e-3):
        expected = by_hand(module, x, y, owner, include, norm, loss)
        for engine in (*engines, "reference"):
            if (engine == "logistic" and loss is not LOGISTIC) or (
                engine == "ghost" and owner is not None
            ):
                continue
            sums = build(engine, module, x, y, max_grad_norm=norm, loss=loss, owner=owner)
            ours = sums(weights_of(module), include)
            assert ours.dtype == np.float64
            error = np.linalg.norm(ours - expected)
            assert error <= AGREEMENT * np.linalg.norm(expected), (engine, norm)
            again = sums(weights_of(module), include)
            assert np.array_equal(ours, again), engine


@pytest.mark.parametrize("engine", ["layerwise", "opacus", "ghost", "reference"])
def test_an_empty_cohort_sums_to_zero(engine):
    module = convolutional()
    sums = build(engine, module, np.zeros((0, 3, 60)), np.zeros((0, 2)), max_grad_norm=1.0)
    assert sums.patients == 0
    weights = weights_of(module)
    assert np.array_equal(sums(weights, np.zeros(0, dtype=bool)), np.zeros(weights.size))


def test_an_empty_cohort_of_a_dense_network_sums_to_zero():
    sums = MlpClippedSum(np.zeros((0, 3)), np.zeros(0), hidden=(2,), max_grad_norm=1.0)
    assert np.array_equal(sums(np.ones(11), np.zeros(0, dtype=bool)), np.zeros(11))


@pytest.mark.parametrize("engine", ["mlp", "layerwise", "opacus", "ghost", "reference"])
def test_nobody_included_sums_to_zero(engine):
    module = MODELS["tanh"][0]()
    x, y, _ = records((5,), 2, None)
    sums = build(engine, module, x, y, max_grad_norm=1.0)
    total = sums(weights_of(module), np.zeros(40, dtype=bool))
    assert np.array_equal(total, np.zeros(total.size))


@pytest.mark.parametrize("engine", ["layerwise", "opacus", "reference"])
def test_in_float32_a_patient_does_not_notice_who_else_takes_part(engine):
    """Bit for bit: a gradient that rounds by the company it is in has no bounded influence."""
    torch.manual_seed(2)
    module = convolutional()
    x, y, _ = records((3, 60), 2, None)
    sums, weights = build(engine, module, x, y, max_grad_norm=0.1), weights_of(module)
    alone = np.zeros(40, dtype=bool)
    alone[20] = True
    for seed in range(5):
        others = np.random.default_rng(seed).random(40) < 0.5
        others[20] = False
        both = others | alone
        moved = sums(weights, both) - sums(weights, others)
        assert np.allclose(moved, sums(weights, alone), rtol=0, atol=1e-15)


def test_the_module_given_is_left_as_it_is():
    module = convolutional()
    before, hooks = weights_of(module), len(module[0]._forward_hooks)
    x, y, include = records((3, 60), 2, None)
    x.flags.writeable = y.flags.writeable = include.flags.writeable = False
    for engine in ("layerwise", "opacus", "ghost", "reference"):
        build(engine, module, x, y, max_grad_norm=1.0)(np.zeros(before.size), include)
    assert np.array_equal(before, weights_of(module))
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert len(module[0]._forward_hooks) == hooks == 0


def test_weights_that_break_someone_do_not_break_the_others():
    """One patient's activations overflow; everyone else's sum stays what it was."""
    module = MODELS["relu"][0]().double()
    x, y, _ = records((5,), 1, None)
    x[20] = 1e200
    weights = weights_of(module) * 1e150
    others = np.arange(40) != 20
    for engine in ("mlp", "layerwise", "opacus", "ghost", "reference"):
        sums = build(engine, module, x, y, max_grad_norm=1.0)
        everyone = sums(weights, np.ones(40, dtype=bool))
        assert np.isfinite(everyone).all()
        assert np.allclose(everyone, sums(weights, others), rtol=1e-12, atol=1e-12)


def test_what_an_engine_cannot_take_is_refused():
    dense, conv = MODELS["tanh"][0](), convolutional()
    x, y, _ = records((5,), 2, None)
    owner = np.repeat(np.arange(20), 2)
    sequence = MODELS["sequence"][0]()
    ghost = build("ghost", sequence, np.zeros((2, 7, 3)), np.zeros(2), max_grad_norm=1.0)
    sums = build("mlp", dense, x, y, max_grad_norm=1.0)
    weights, everyone = weights_of(dense), np.ones(40, dtype=bool)
    for code, call in (
        ("TW4201", lambda: build("mlp", conv, x, y, max_grad_norm=1.0)),
        ("TW4201", lambda: build("logistic", dense, x, y, max_grad_norm=1.0)),
        ("TW4201", lambda: build("fastest", dense, x, y, max_grad_norm=1.0)),
        ("TW4201", lambda: build("layerwise", Recurrent(), x, y, max_grad_norm=1.0)),
        ("TW4202", lambda: build("ghost", dense, x, y, max_grad_norm=1.0, owner=owner)),
        ("TW4204", lambda: ghost(weights_of(sequence), np.ones(2, dtype=bool))),
        ("TW4010", lambda: build("mlp", dense, x, y[:-1], max_grad_norm=1.0)),
        ("TW4010", lambda: build("opacus", dense, x, y[:-1], max_grad_norm=1.0)),
        ("TW4010", lambda: build("opacus", dense, x, y, max_grad_norm=0.0)),
        ("TW4010", lambda: build("mlp", dense, x, y, max_grad_norm=np.nan)),
        ("TW4010", lambda: LogisticClippedSum(x, y[:, 0], max_grad_norm=np.inf)),
        ("TW4010", lambda: sums(weights[1:], everyone)),
        ("TW4010", lambda: sums(weights, everyone[1:])),
        ("TW4012", lambda: sums(weights * np.nan, everyone)),
    ):
        with pytest.raises(BudgetError) as refusal:
            call()
        assert refusal.value.code == code


@pytest.mark.parametrize("owner", [ONE_EACH, SEVERAL], ids=["one-each", "several"])
@pytest.mark.parametrize("name", ["logistic", "tanh", "relu", "convolutional"])
def test_of_a_patient_who_is_forgotten_no_number_is_held_and_the_others_count_as_before(
    name, owner
):
    make, shape, engines = MODELS[name]
    torch.manual_seed(1)
    module = make().double()
    x, y, include = records(shape, 2 if name in {"tanh", "convolutional"} else 1, owner)
    owners = np.arange(40) if owner is None else owner
    patient = next(each for each in owners[::-1] if each not in owners[[3, 7, 11]])  # a sound one
    mine = np.flatnonzero(owners == patient)
    others = include.copy()
    others[patient] = False
    for engine in engines:
        if engine == "ghost" and owner is not None:
            continue
        sums = build(engine, module, x, y, max_grad_norm=1.0, owner=owner)
        expected = sums(weights_of(module), others)
        assert any(held(sums, number) for number in x[mine].ravel()[:3]), engine
        sums.forget(patient)
        assert not any(held(sums, number) for number in x[mine].ravel()), engine
        everyone = include.copy()
        everyone[patient] = True
        assert np.allclose(sums(weights_of(module), everyone), expected, rtol=1e-12), engine


def held(thing, number, *, seen=None):
    """Whether a number, or half of it, stands in any array that an object leads to."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, type):
        return False
    seen.add(id(thing))
    if isinstance(thing, torch.Tensor):
        thing = thing.detach().numpy()
    if isinstance(thing, np.ndarray):
        return bool(np.isin(np.abs(thing), np.abs([number, number / 2])).any())
    if isinstance(thing, (list, tuple)):
        parts = thing
    elif isinstance(thing, dict):
        parts = thing.values()
    else:
        names = [n for cls in type(thing).__mro__ for n in getattr(cls, "__slots__", ())]
        parts = [getattr(thing, n) for n in names if hasattr(thing, n)]
        parts += vars(thing).values() if hasattr(thing, "__dict__") else []
    return any(held(part, number, seen=seen) for part in parts)
