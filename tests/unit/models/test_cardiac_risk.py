"""The cardiac risk model: the recipe, number by number, and its public specification."""

import json

import numpy as np
import pytest

from models import registry
from models.cardiac_risk.inputs import COLUMNS, inputs
from models.cardiac_risk.risk import sigmoid
from twinward import canonical
from twinward.errors import TwinModelError

FOUR = ("cleveland", "hungarian", "switzerland", "va")
MODEL = registry.get("cardiac_risk/1")


def record(**known):
    """One patient; what is not given is missing."""
    return {column.name: np.array([known.get(column.name, np.nan)]) for column in COLUMNS}


def encoded(site="va", sites=FOUR, **known):
    values = MODEL.encode(record(**known), site=site, sites=sites)[0]
    return dict(zip(MODEL.names(sites), values, strict=True))


def test_four_hospitals_give_twenty_seven_inputs():
    assert len(MODEL.names(FOUR)) == 22 + 4 + 1
    assert MODEL.names(FOUR)[-5:] == (
        "site_cleveland", "site_hungarian", "site_switzerland", "site_va", "constant",
    )  # fmt: skip


def test_a_typical_record_is_encoded_as_the_recipe_says():
    x = encoded(
        site="va", age=63, sex=1, cp=4, trestbps=140, chol=265, fbs=0, restecg=2, thalach=110,
        exang=1, oldpeak=2.2, slope=2, ca=3, thal=6,
    )  # fmt: skip
    assert x == pytest.approx({
        "age": 0.8, "male": 0.6, "chest_pain_1": -0.5, "chest_pain_2": -0.5, "chest_pain_3": -0.5,
        "chest_pain_4": 1.5, "pressure": 0.4 * 0.5, "cholesterol": 0.4 * 1.0,
        "fasting_sugar": 0.4 * -0.3, "ecg_st_t": 0.4 * -0.4, "ecg_hypertrophy": 0.4 * 1.6,
        "heart_rate_shortfall": (0.85 * (220 - 63) - 110) / 22, "exercise_angina": 1.3,
        "st_depression": 1.5, "slope_flat_or_down": 1.0, "vessels": 2.5, "thallium_abnormal": 1.0,
        "chol_missing": 0.4 * -0.2, "slope_missing": 0.4 * -0.6, "ca_missing": 0.4 * -1.0,
        "thal_missing": 0.4 * -1.0, "oldpeak_missing": 0.4 * -0.2,
        "site_cleveland": -1.0, "site_hungarian": -1.0, "site_switzerland": -1.0, "site_va": 3.0,
        "constant": 0.7,
    })  # fmt: skip


def test_a_record_in_which_nothing_is_known_stands_at_the_centre():
    x = encoded(site=None)
    flags = {name for name in x if name.endswith("_missing")}
    assert {name for name, value in x.items() if value != 0.0} == flags | {"constant"}
    assert x["ca_missing"] == pytest.approx(0.4)


@pytest.mark.parametrize("absurd", [0.0, -1.0, 1e30, np.inf, -np.inf, np.nan])
def test_an_impossible_value_counts_as_missing(absurd):
    assert encoded(chol=absurd) == encoded()
    assert encoded(trestbps=absurd) == encoded()


def test_a_code_that_is_no_code_counts_as_missing():
    assert encoded(thal=3.5) == encoded()
    assert encoded(cp=5) == encoded()


def test_an_extreme_value_is_clipped():
    assert encoded(age=119)["age"] == 2.5
    assert encoded(oldpeak=9)["st_depression"] == 2.5


def test_three_hospitals_are_centred_at_a_third():
    three = FOUR[:3]
    x = encoded(site="cleveland", sites=three)
    assert x["site_cleveland"] == pytest.approx(2 * (1 - 1 / 3) / 0.5)
    assert x["site_hungarian"] == pytest.approx(2 * (-1 / 3) / 0.5)
    assert len(MODEL.names(three)) == 26


def test_a_hospital_outside_the_study_gets_the_common_intercept():
    assert encoded(site="elsewhere") == encoded(site=None)


def test_the_start_is_the_textbook_prior_in_scaled_units():
    spec = MODEL.spec(FOUR)
    start = dict(zip(MODEL.names(FOUR), MODEL.start(spec), strict=True))
    quarter = {
        "age", "male", "heart_rate_shortfall", "exercise_angina", "st_depression",
        "slope_flat_or_down", "vessels", "thallium_abnormal",
    }  # fmt: skip
    weak = {"pressure", "cholesterol", "fasting_sugar", "ecg_st_t", "ecg_hypertrophy"}
    assert {name for name, value in start.items() if value == 0.25} == quarter
    assert {name for name, value in start.items() if value == 0.125 / 0.4} == weak
    assert all(value == 0.0 for name, value in start.items() if name not in quarter | weak)


def test_the_specification_names_every_constant_with_a_reason_and_survives_signing():
    spec = MODEL.spec(FOUR)
    assert canonical.decode(canonical.encode(spec)) == spec == json.loads(json.dumps(spec))
    assert len(spec["inputs"]) == 27
    assert all(each["reason"] and each["form"] in spec["forms"] for each in spec["inputs"])
    assert np.array_equal(
        MODEL.start(canonical.decode(canonical.encode(spec))), [i.start for i in inputs(FOUR)]
    )


def test_a_plan_with_other_constants_than_the_installed_ones_is_refused():
    spec = MODEL.spec(FOUR)
    assert registry.require_same_spec("cardiac_risk/1", spec, sites=FOUR) is MODEL
    spec["inputs"][0]["centre"] = 54.0
    with pytest.raises(TwinModelError) as refusal:
        registry.require_same_spec("cardiac_risk/1", spec, sites=FOUR)
    assert refusal.value.code == "TW7005"


def test_refusals_of_the_model():
    for code, call in (
        ("TW7001", lambda: registry.get("cardiac_risk/2")),
        ("TW7002", lambda: MODEL.spec(("va", "va"))),
        ("TW7002", lambda: MODEL.spec(())),
        ("TW7003", lambda: MODEL.encode({}, site=None, sites=FOUR)),
        ("TW7003", lambda: MODEL.encode(record() | {"ca": np.zeros(2)}, site=None, sites=FOUR)),
    ):
        with pytest.raises(TwinModelError) as refusal:
            call()
        assert refusal.value.code == code


def test_it_is_a_risk_model_and_never_called_a_twin():
    assert MODEL.kind == "risk"
    assert MODEL.spec(FOUR)["kind"] == "risk"
    assert "twin" not in MODEL.title.lower()
    assert MODEL.limits


def test_disease_is_any_narrowing_and_an_unknown_label_stays_unknown():
    found = MODEL.labels({"num": np.array([0, 1, 4, np.nan, 5, -1, 0.5])})
    assert np.array_equal(found[:3], [0, 1, 1])
    assert np.isnan(found[3:]).all()


def test_the_torch_module_predicts_what_the_weights_predict():
    pytest.importorskip("torch", reason="torch is not installed (extra `node`)")
    from models.cardiac_risk.module import CardiacRiskModule

    rng = np.random.default_rng(1)
    weights, x = rng.normal(size=27), rng.normal(size=(50, 27))
    module = CardiacRiskModule.from_weights(weights)
    assert np.allclose(module.predict(x), MODEL.predict(weights, x), rtol=1e-14, atol=1e-15)
    for bad in (np.full(27, np.nan), np.zeros((2, 2)), np.zeros(0)):
        with pytest.raises(TwinModelError) as refusal:
            CardiacRiskModule.from_weights(bad)
        assert refusal.value.code == "TW7004"


def test_probabilities_do_not_overflow():
    assert np.array_equal(
        sigmoid(np.array([-np.inf, -1e300, 0.0, 1e300, np.inf])), [0, 0, 0.5, 1, 1]
    )
