"""The small network: first weights that anyone recomputes, one prediction in numpy and torch."""

import hashlib

import numpy as np
import pytest
import torch

from hospital_node.privacy.validate import engine_for, validate
from models import registry
from models.cardiac_risk import made_up
from models.cardiac_risk.risk import sigmoid
from models.mlp_risk import recipe
from models.mlp_risk.module import from_weights
from twinward import descent
from twinward.errors import TwinModelError
from twinward.plan import Plan

SITES = tuple(hospital.name for hospital in made_up.HOSPITALS)
MODEL = registry.get("mlp_risk/1")
START = MODEL.start(MODEL.spec(SITES))


def encoded():
    return MODEL.encode(registry.reference(MODEL.name), site=None, sites=SITES)


def test_the_first_weights_are_the_same_bits_everywhere():
    assert (
        hashlib.sha256(descent.to_bytes(START)).hexdigest()
        == "0dddfb47e5688bfa0e942199127a1872ac69fb5ab01f0c3018fc62ff693e58c9"
    )
    assert len(MODEL.names(SITES)) == len(set(MODEL.names(SITES))) == START.size == 233


def test_the_untrained_network_says_what_the_textbook_prior_says():
    x, logistic = encoded(), registry.get("cardiac_risk/1")
    prior = logistic.start(logistic.spec(SITES))
    bent = sigmoid(4 * np.tanh(x @ prior / 4))
    np.testing.assert_allclose(MODEL.predict(START, x), bent, atol=1e-14)
    assert np.abs(bent - logistic.predict(prior, x)).max() < 0.06


def test_torch_predicts_what_numpy_predicts():
    x = encoded()
    weights = START + np.linspace(-0.5, 0.5, START.size)
    module = from_weights(weights)
    with torch.no_grad():
        theirs = torch.sigmoid(module(torch.from_numpy(x)))[:, 0].numpy()
    np.testing.assert_allclose(MODEL.predict(weights, x), theirs, rtol=1e-12)


@pytest.mark.parametrize("weights", [START[:-1], np.full(233, np.nan), np.zeros(17)], ids=str)
def test_weights_of_something_else_make_no_network(weights):
    with pytest.raises(TwinModelError) as refusal:
        from_weights(weights)
    assert refusal.value.code == "TW7004"


def test_it_is_safe_to_train_and_its_clipped_sum_is_exact():
    module = MODEL.module(SITES)
    assert validate(module, record_shape=(27,)).engine == "mlp"
    x, y = encoded()[:50], MODEL.labels(registry.reference(MODEL.name))[:50]
    own = engine_for(module, x, y, max_grad_norm=0.3)
    reference = engine_for(module, x, y, max_grad_norm=0.3, engine="reference")
    everyone = np.ones(50, dtype=bool)
    np.testing.assert_allclose(own(START, everyone), reference(START, everyone), atol=2e-6)


def test_a_plan_of_it_is_a_plan():
    made = recipe.plan(
        network="00" * 32, study="heart-network", sites=SITES, divisor=720,
        purpose="heart-research", grades=("signed-on-device",),
    )  # fmt: skip
    assert Plan.from_document(made.to_document()) == made
    assert registry.require_same_spec(made.model, made.model_spec, sites=SITES) is MODEL
    assert np.array_equal(made.start, START)
