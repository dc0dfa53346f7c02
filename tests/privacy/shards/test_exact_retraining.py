"""A shard trained again without a patient is the shard of a hospital that never had the patient.

With the noise switched to a known stream a model is a function of the records alone, so two models
that are the same to the last bit were made of the same records.
"""

import hashlib
from contextlib import closing, nullcontext
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

from hospital_node import holdout, parts, train
from hospital_node.data import uci, virtual
from hospital_node.privacy import tombstones
from hospital_node.privacy.book import BudgetBook
from hospital_node.privacy.lifetime import Lifetime
from hospital_node.privacy.mechanism import Mechanism
from hospital_node.privacy.spending import reserve
from hospital_node.shares import NOTHING
from models.cardiac_risk import recipe
from tests.simulators.permits import Permits
from twinward import shards
from twinward.signing import Identity

SITES = ("harbour", "meadow", "summit", "station")
SHARDS = 3
IDENTITY = Identity.generate()
KEY = IDENTITY.derive(holdout.PURPOSE)


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    files = virtual.write(tmp_path_factory.mktemp("data"))
    return uci.read(files["harbour"], hospital="harbour")


@pytest.fixture(scope="module")
def plan():
    whole = recipe.plan(
        network="0" * 64, study="heart-risk", sites=SITES, divisor=200, purpose="heart-research",
        grades=("signed-on-device",),
    )  # fmt: skip
    return replace(whole, shards=SHARDS)


def known_noise():
    numbers = count()
    return lambda size: hashlib.shake_256(next(numbers).to_bytes(8)).digest(size)


def model(patients, plan, *, shard, without=()):
    """The shard's model after all steps, as if this hospital's vectors were the whole sum."""
    cohort = Permits(len(patients.records))
    cohort.shares[list(without)] = NOTHING
    node = SimpleNamespace(
        patients=patients,
        settings=SimpleNamespace(org="harbour"),
        rules=SimpleNamespace(require=lambda *_, **__: None),  # the site's policy permits
        mirror=SimpleNamespace(head=bytes(32)),
        lifetime=SimpleNamespace(allowed=lambda run, permitted: permitted),  # all can pay
        memory=SimpleNamespace(reading=lambda _: nullcontext()),
        places=holdout.places(KEY, patients.records),
    )
    order = train.Order("0" * 64, SimpleNamespace(plan=plan, study=None), shard)
    work = train.ActiveRun(node, order, cohort)
    work._mechanism = Mechanism(plan, entropy_for_tests_only=known_noise())
    for step in range(1, plan.steps + 1):
        work.apply(step, work.contribute(step, 1, len(SITES)))
    return work.released().tobytes()


def shard_of(patients, row):
    return int(SHARDS * holdout.places(KEY, patients.records)[row])


def without_record(patients, row):
    """The same hospital, had it never met this patient."""
    keep = np.arange(len(patients.records)) != row
    return replace(
        patients,
        records=tuple(np.array(patients.records)[keep]),
        columns={name: values[keep] for name, values in patients.columns.items()},
    )


def with_another_record(patients, row):
    columns = {name: values.copy() for name, values in patients.columns.items()}
    columns["age"][row] = 88.0
    columns["num"][row] = 1.0 - (columns["num"][row] > 0)
    return replace(patients, columns=columns)


@pytest.mark.parametrize("row", [3, 40, 111])
def test_what_is_trained_again_is_what_would_have_been_trained_without_the_patient(
    patients, plan, row
):
    own = shard_of(patients, row)
    again = model(patients, plan, shard=own, without=[row])
    assert again == model(without_record(patients, row), plan, shard=own)
    changed = with_another_record(patients, row)
    assert again == model(changed, plan, shard=own, without=[row])
    assert again != model(patients, plan, shard=own)
    assert model(changed, plan, shard=own) != model(patients, plan, shard=own)


def test_no_other_shard_ever_depended_on_the_patient(patients, plan):
    other = (shard_of(patients, 3) + 1) % SHARDS
    first = model(patients, plan, shard=other)
    assert first == model(with_another_record(patients, 3), plan, shard=other)
    assert first == model(without_record(patients, 3), plan, shard=other)


def test_a_patient_pays_for_the_runs_of_one_shard_and_the_book_for_each(patients, plan, tmp_path):
    places = holdout.places(KEY, patients.records)
    key = IDENTITY.derive(tombstones.PURPOSE)
    with (
        closing(BudgetBook(tmp_path / "book")) as book,
        closing(
            Lifetime(tmp_path / "spend", key=key, records=patients.records, limit_mu2=9.0)
        ) as lifetime,
    ):
        runs = {}
        for nth, number in enumerate((*range(SHARDS), 1)):  # shard 1 is trained again
            run = shards.Shard(number, f"{nth:064x}").run
            runs.setdefault(number, []).append(run)
            what = parts.training_of(plan.study, shard=number)
            wanted = holdout.within(places, shards.part(number, of=SHARDS))
            reserve(
                book, lifetime, plan, run=run, plan_digest=plan.digest, what=what, wanted=wanted,
                at_least=1,
            )  # fmt: skip
        for row, record in enumerate(patients.records):
            own = shard_of(patients, row)
            times = 2 if own == 1 else 1
            assert lifetime.standing(row).spent_mu2 == pytest.approx(times * plan.mu**2)
            used = parts.of(lifetime, IDENTITY, record)
            assert sorted(one.run for one in used) == sorted(runs[own])
            assert {(one.study, one.shard, one.trains) for one in used} == {(plan.study, own, True)}
        assert book.spent_mu2() == pytest.approx((SHARDS + 1) * plan.mu**2)
