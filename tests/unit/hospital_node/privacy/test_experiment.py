"""The comparison uses the network's own arithmetic, fixed splits, and shows no small class."""

import os
from pathlib import Path

import numpy as np
import pytest

from hospital_node.data import uci, virtual
from hospital_node.privacy import experiment
from models.cardiac_risk import recipe
from twinward import canonical
from twinward.errors import DataError, TrainingError, UsageError

pytestmark = pytest.mark.usefixtures("same_noise")


def plan_for(hospitals, **terms):
    return recipe.plan(
        network="00" * 32, study="heart-risk", sites=list(hospitals), purpose="health research",
        divisor=sum(map(len, hospitals.values())), grades=["staff_attested"], **terms,
    )  # fmt: skip


def read(folder):
    return {name: uci.read(path, hospital=name) for name, path in uci.find(folder).items()}


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("virtual")
    virtual.write(folder)
    return read(folder)


def test_auroc_is_the_chance_to_rank_a_pair_rightly():
    rng = np.random.default_rng(0)
    for ties in (1, 3, 1000):
        scores, labels = rng.integers(0, ties, 200).astype(float), rng.integers(0, 2, 200)
        ill, well = scores[labels == 1][:, None], scores[labels == 0][None, :]
        by_pairs = ((ill > well) + 0.5 * (ill == well)).mean()
        assert experiment.auroc(scores, labels.astype(float)) == pytest.approx(by_pairs, abs=1e-12)
    assert np.isnan(experiment.auroc(np.ones(3), np.ones(3)))


def test_splits_are_fixed_stratified_and_lose_nobody(hospitals):
    cohorts = experiment.encode(hospitals, plan=plan_for(hospitals))
    train, test = experiment.split(cohorts, 7)
    again, _ = experiment.split(cohorts, 7)
    other, _ = experiment.split(cohorts, 8)
    for name, cohort in cohorts.items():
        assert np.array_equal(train[name].x, again[name].x)
        assert not np.array_equal(train[name].x, other[name].x)
        for label in (0.0, 1.0):
            everyone = int((cohort.y == label).sum())
            assert (train[name].y == label).sum() == round(0.66 * everyone)
            assert (train[name].y == label).sum() + (test[name].y == label).sum() == everyone


def test_the_table_of_the_demonstration(hospitals):
    table = experiment.compare(hospitals, plan=plan_for(hospitals), splits=10)
    rows = {row.method: row for row in table.rows}
    assert list(rows) == ["alone", "together", "without privacy"]
    assert 0.8 < rows["together"].pooled.mean < rows["without privacy"].pooled.mean < 0.97
    assert rows["together"].pooled.mean > rows["alone"].pooled.mean
    assert all(row.within["summit"] is None for row in table.rows), "4 healthy held-out patients"
    assert all(row.within["harbour"].half_width > 0 for row in table.rows)
    as_json = table.as_json()
    assert as_json["rows"][0]["within"]["summit"] == "too few"
    assert "cannot see" in as_json["note"]
    canonical.encode(as_json)


def test_noise_is_fresh_and_privacy_shrinks_with_epsilon(hospitals):
    plan = plan_for(hospitals)
    train, _ = experiment.split(experiment.encode(hospitals, plan=plan), 0)
    first, second = (experiment.together(train, plan=plan) for _ in range(2))
    assert (first != second).all()
    generous = plan_for(hospitals, epsilon=20.0)
    calm = [experiment.together(train, plan=generous) for _ in range(2)]
    assert np.abs(calm[0] - calm[1]).max() < np.abs(first - second).max()


def test_three_hospitals_work_and_two_are_refused(hospitals):
    three = {name: hospitals[name] for name in ("harbour", "meadow", "station")}
    table = experiment.compare(three, plan=plan_for(three), splits=2)
    assert table.rows[1].pooled.mean > 0.8
    two = {name: hospitals[name] for name in ("harbour", "meadow")}
    with pytest.raises(UsageError) as refusal:
        plan_for(two)
    assert refusal.value.code == "TW1020"
    plan = plan_for(three)
    train, _ = experiment.split(experiment.encode(three, plan=plan), 0)
    del train["station"]
    with pytest.raises(TrainingError) as refusal:
        experiment.together(train, plan=plan)
    assert refusal.value.code == "TW6100"


def test_files_of_other_hospitals_than_the_plan_names_are_refused(hospitals):
    three = {name: hospitals[name] for name in ("harbour", "meadow", "station")}
    with pytest.raises(DataError) as refusal:
        experiment.compare(three, plan=plan_for(hospitals))
    assert refusal.value.code == "TW8020"


def test_the_non_private_model_is_the_minimum_of_its_loss(hospitals):
    plan = plan_for(hospitals)
    cohort = experiment.merged(experiment.encode(hospitals, plan=plan).values())
    weights = experiment.ridge(cohort, start=plan.start, strength=3.0)
    p = 1 / (1 + np.exp(-(cohort.x @ weights)))
    slope = cohort.x.T @ (p - cohort.y) + 3.0 * (weights - plan.start)
    assert np.abs(slope).max() < 1e-8


@pytest.mark.skipif(
    "TWINWARD_DATA_DIR" not in os.environ, reason="needs the UCI files: set TWINWARD_DATA_DIR"
)
def test_real_hospitals_lose_little_to_privacy():
    real = read(Path(os.environ["TWINWARD_DATA_DIR"]))
    table = experiment.compare(real, plan=plan_for(real), splits=20)
    pooled = {row.method: row.pooled.mean for row in table.rows}
    assert pooled["together"] > 0.895
    assert pooled["without privacy"] - pooled["together"] < 0.012
    assert table.rows[1].within["switzerland"] is None


def test_going_on_alone_moves_the_model_to_the_own_patients_and_a_little(hospitals):
    """The fit is the most likely one under the stated prior: its slope there is zero."""
    plan = plan_for(hospitals)
    own = next(iter(experiment.encode(hospitals, plan=plan).values()))
    fitted = experiment.personalise(plan.start, own, plan=plan)
    pull = np.full(plan.dimension, experiment.OWN_PULL)
    pull[-1] = experiment.OWN_CONSTANT
    residual = 1 / (1 + np.exp(-(own.x @ fitted))) - own.y
    assert np.abs(own.x.T @ residual + pull * (fitted - plan.start)).max() < 1e-6
    assert 0 < np.abs(fitted - plan.start).max() < 2
