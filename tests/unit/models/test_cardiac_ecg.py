"""The models over the electrocardiogram: one arithmetic, a public start, safe to train."""

from hashlib import sha256

import numpy as np
import pytest
import torch

from hospital_node.privacy.engines.per_patient import load
from hospital_node.privacy.mechanism import Mechanism
from hospital_node.privacy.validate import engine_for, validate
from models import registry
from models.cardiac_ecg import beats, recipe
from models.cardiac_ecg.risk import ABNORMALITY, INFARCTION, RECORDING
from models.evaluation import auroc
from tests.simulators.ecg import recording
from twinward import descent
from twinward.errors import TwinModelError

FIRST = "f00d0b6b8fa8768a604b9b50d3e7b9e5c32dddd8c377be089267407c9bc46f97"


@pytest.fixture(scope="module")
def people():
    """Middle beats and labels of made-up patients."""
    generator = np.random.default_rng(5)
    labels = (generator.random(120) < 0.3).astype(float)
    columns = {
        RECORDING: np.stack([recording(generator, ill=bool(ill)) for ill in labels]),
        "infarction": labels,
    }
    return INFARCTION.encode(columns, site=None, sites=()), INFARCTION.labels(columns)


def weights(seed):
    start = INFARCTION.start(INFARCTION.spec(()))
    return start + 0.2 * np.random.default_rng(seed).standard_normal(start.size)


def test_numpy_and_torch_say_the_same(people):
    x, _ = people
    module = INFARCTION.module(())
    assert module is not None
    load(list(module.parameters()), weights(1))
    with torch.no_grad():
        expected = torch.sigmoid(module(torch.from_numpy(x)))[:, 0].numpy()
    assert np.allclose(INFARCTION.predict(weights(1), x), expected, atol=1e-12)


def test_it_starts_knowing_nothing_and_every_weight_has_a_name(people):
    x, _ = people
    spec = INFARCTION.spec(())
    start = INFARCTION.start(spec)
    assert len(set(INFARCTION.names(()))) == start.size == 585
    assert np.allclose(INFARCTION.predict(start, x), INFARCTION.usual, atol=0.003)
    assert np.array_equal(start[:-1], ABNORMALITY.start(ABNORMALITY.spec(()))[:-1])
    assert sha256(descent.to_bytes(start)).hexdigest() == FIRST


def test_private_training_takes_the_fast_path_and_learns(people):
    x, y = people
    assert validate(INFARCTION.module(()), record_shape=x.shape[1:]).engine == "layerwise"
    clipped = engine_for(INFARCTION.module(()), x[:80], y[:80], max_grad_norm=1.0)
    now, everyone = INFARCTION.start(INFARCTION.spec(())), np.ones(80, dtype=bool)
    for _ in range(20):
        now = now - 0.5 / 80 * clipped(now, everyone)
    assert auroc(INFARCTION.predict(now, x[80:]), y[80:]) > 0.9


def test_opacus_gives_the_same_sums(people):
    x, y = people
    sums = [
        engine_for(INFARCTION.module(()), x[:30], y[:30], max_grad_norm=0.1, engine=engine)
        for engine in ("layerwise", "opacus")
    ]
    fast, theirs = (each(weights(2), np.ones(30, dtype=bool)) for each in sums)
    assert np.allclose(fast, theirs, atol=1e-9)


@pytest.mark.parametrize("made", [recipe.plan, recipe.local_plan])
@pytest.mark.parametrize("model", [INFARCTION.name, ABNORMALITY.name])
def test_plans_of_both_modes_keep_their_price(made, model):
    plan = made(
        model=model, network="0" * 64, study="ecg", sites=("s0", "s1", "s2", "s3"), divisor=240,
        purpose="heart-research", grades=("signed-on-device",), epsilon=3.0,
    )  # fmt: skip
    assert plan.dimension == 585
    assert registry.require_same_spec(model, plan.model_spec, sites=plan.sites).name == model
    guarantee = Mechanism(plan).guarantee(4)
    assert (guarantee.epsilon, guarantee.delta) == (3.0, 1e-5)
    assert guarantee.attempts == plan.attempts
    assert (plan.fedavg is None) == (made is recipe.plan)


def test_a_middle_beat_is_the_patients_and_stands_still():
    generator = np.random.default_rng(2)
    shown = recording(generator)
    middle = beats.middle_beat(shown)
    assert middle.shape == (12, 80)
    assert 8 <= beats.found(shown).size <= 17
    later = beats.middle_beat(np.roll(shown, 7, axis=1))
    assert np.abs(middle - later).max() < 0.25
    assert np.abs(beats.middle_beat(shown + 3.0) - middle).max() < 1e-9
    assert abs(int(np.argmax(np.abs(middle[1]))) - beats.BEFORE) <= 3


def test_beats_are_found_where_they_were_put():
    samples = 0.01 * np.random.default_rng(3).standard_normal((1, 3600))
    put = np.arange(200, 3400, 290)
    for at in put:
        samples[0, at - 5 : at + 6] += np.hanning(11)
    found = beats.found(samples, hertz=360)
    assert found.size == put.size
    assert np.abs(found - put).max() <= 15


@pytest.mark.parametrize("broken", [np.zeros((12, 1000)), np.full((12, 1000), np.nan)])
def test_an_empty_recording_is_flat_and_not_an_error(broken):
    columns = {RECORDING: broken[None]}
    assert not INFARCTION.encode(columns, site=None, sites=()).any()


def test_wild_numbers_stay_bounded():
    wild = np.random.default_rng(1).choice([np.inf, -np.inf, np.nan, 1e300, -3.0], (2, 12, 1000))
    x = INFARCTION.encode({RECORDING: wild}, site=None, sites=())
    assert np.isfinite(x).all()
    assert np.abs(x).max() <= 1.5


def test_records_without_recordings_are_refused():
    for ask in (lambda: INFARCTION.encode({}, site=None, sites=()), lambda: INFARCTION.labels({})):
        with pytest.raises(TwinModelError) as error:
            ask()
        assert error.value.code == "TW7003"
    assert INFARCTION.encode({RECORDING: np.zeros((0, 12, 1000))}, site=None, sites=()).size == 0
