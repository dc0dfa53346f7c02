"""Held-out patients are in no training vector, trained ones in no evaluation, one is one count.

With the noise switched to a known stream a vector is a function of the records alone, so whoever
can be changed without changing it is not in it.
"""

from dataclasses import replace
from hashlib import sha256
from types import SimpleNamespace

import numpy as np
import pytest

from hospital_node import holdout, train
from hospital_node.data import uci, virtual
from hospital_node.evaluate import HeldOut
from hospital_node.memory import Memory
from hospital_node.privacy.mechanism import Mechanism
from hospital_node.shares import NOTHING
from models import evaluation
from models.cardiac_risk import recipe
from tests.simulators.permits import Permits

SITES = ("harbour", "meadow", "summit", "station")


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    files = virtual.write(tmp_path_factory.mktemp("data"))
    return uci.read(files["harbour"], hospital="harbour")


@pytest.fixture(scope="module")
def plan():
    return recipe.plan(
        network="0" * 64, study="heart-risk", sites=SITES, divisor=600, purpose="heart-research",
        grades=("signed-on-device",), evaluation=recipe.EVALUATION,
    )  # fmt: skip


def key_of(hospital):
    """What a hospital draws its hold-out by; each test has the same hospitals in every run."""
    return sha256(f"hospital {hospital}".encode()).digest()


def a_node(patients, columns=None):
    key = key_of("harbour") if columns is None else None
    return SimpleNamespace(
        patients=replace(patients, columns=columns or patients.columns),
        settings=SimpleNamespace(org="harbour"),
        rules=SimpleNamespace(require=lambda *_, **__: None),  # the site's policy permits
        mirror=SimpleNamespace(head=bytes(32)),
        lifetime=SimpleNamespace(allowed=lambda run, permitted: permitted),  # all can pay
        places=None if key is None else holdout.places(key, patients.records),
        memory=Memory(),
    )


def changed(node, patients, who):
    """The same hospital, but these patients have other records."""
    columns = {name: values.copy() for name, values in patients.columns.items()}
    columns["age"][who] = 88.0
    columns["num"][who] = 1.0 - (columns["num"][who] > 0)
    other = a_node(patients, columns)
    other.places = node.places
    return other


def training_vector(node, plan):
    approved = SimpleNamespace(plan=plan, study=None)
    order = train.Order(run="0" * 64, approved=approved)
    work = train.ActiveRun(node, order, Permits(len(node.patients.records)))
    work._mechanism = Mechanism(plan, entropy_for_tests_only=bytes)
    return work.contribute(1, 1, 4)


def evaluation_vector(node, plan, *, without=()):
    cohort = Permits(len(node.patients.records))
    cohort.shares[list(without)] = NOTHING
    test = HeldOut(node, SimpleNamespace(plan=plan, study=None), cohort=cohort, weights=plan.start)
    return evaluation.to_vector(evaluation.binned(*test.of(test.permitted()), bins=8))


def test_a_held_out_patient_is_in_no_training_vector(patients, plan):
    node = a_node(patients)
    out = holdout.within(node.places, holdout.held_out(plan.holdout_share))
    assert 20 < out.sum() < 90
    before = training_vector(node, plan)
    assert np.array_equal(before, training_vector(changed(node, patients, out), plan))
    assert not np.array_equal(before, training_vector(changed(node, patients, ~out), plan))


def test_a_trained_patient_is_in_no_evaluation(patients, plan):
    node = a_node(patients)
    out = holdout.within(node.places, holdout.held_out(plan.holdout_share))
    before = evaluation_vector(node, plan)
    assert before.sum() == out.sum()
    assert np.array_equal(before, evaluation_vector(changed(node, patients, ~out), plan))
    assert not np.array_equal(before, evaluation_vector(changed(node, patients, out), plan))


def test_each_held_out_patient_is_one_count_and_gone_after_withdrawing(patients, plan):
    node = a_node(patients)
    out = np.flatnonzero(holdout.within(node.places, holdout.held_out(plan.holdout_share)))
    before = evaluation_vector(node, plan)
    for patient in out[:20]:
        without = evaluation_vector(node, plan, without=[patient])
        assert np.abs(before - without).sum() == 1
    assert evaluation_vector(node, plan, without=out).sum() == 0


def test_which_patients_are_kept_out_says_nothing_about_their_disease(patients):
    """Over many hospitals' keys the held out are as ill as the others."""
    ill = patients.columns["num"] > 0
    shares = []
    for hospital in range(200):
        places = holdout.places(key_of(hospital), patients.records)
        shares.append(ill[holdout.within(places, holdout.held_out(0.2))].mean() - ill.mean())
    assert abs(np.mean(shares)) < 4 * np.std(shares) / np.sqrt(len(shares))


def test_the_noise_of_an_evaluation_is_that_of_its_own_epsilon(plan):
    """Sensitivity 1: the plan's own sigma of (epsilon, delta), spread over |U| - c shares."""
    from twinward import gdp

    numbers = plan.for_evaluation()
    guarantee = Mechanism(numbers).guarantee(4)
    mu = gdp.mu_of(3.0, plan.delta)
    assert guarantee.max_grad_norm == 1
    assert guarantee.attempts == 2
    assert guarantee.share_sd >= np.sqrt(2) / mu / np.sqrt(3)
    assert guarantee.share_sd == pytest.approx(np.sqrt(2) / mu / np.sqrt(3), rel=1e-4)
