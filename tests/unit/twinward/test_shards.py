"""Shards share everyone out, and a run is named after the one that it trains."""

import dataclasses

import numpy as np
import pytest

from tests.unit.twinward.test_plan import SAMPLED, payload, read, the_plan
from twinward import shards
from twinward.errors import UsageError
from twinward.plan import Evaluation, Plan
from twinward.shards import Shard

SEED = "5a" * 32


def order(**changed):
    """The order of a run of shard 1, with something else said of the shard."""
    shard = Shard(1, SEED)
    return {"run": shard.run, "shard": {**shard.as_json(), **changed}}


def test_a_plan_without_shards_is_spelled_as_before_there_were_any():
    assert "shards" not in the_plan().to_document().payload
    with pytest.raises(UsageError):
        read(payload(shards=None))  # one plan, one digest


def test_shards_are_under_the_digest_and_survive_the_document():
    plan = the_plan(shards=4)
    assert Plan.from_document(plan.to_document()) == plan
    assert len({plan.digest, the_plan().digest, the_plan(shards=5).digest}) == 3


@pytest.mark.parametrize("number", [0, 1, 17, 2.0, "2", True])
def test_a_number_of_shards_that_is_none_is_refused(number):
    with pytest.raises(UsageError) as refused:
        read(payload(shards=number))
    assert refused.value.code == "TW1020"


@pytest.mark.parametrize(
    "also",
    [{"evaluation": dataclasses.asdict(Evaluation(0.2, 3.0, 8, 1))}, {"sampling": SAMPLED}],
    ids=str,
)
def test_shards_go_with_nothing_that_looks_across_them(also):
    with pytest.raises(UsageError, match="shards"):
        read(payload(shards=2, **also))


@pytest.mark.parametrize("many", range(2, 17))
def test_every_place_is_in_exactly_one_shard(many):
    edges = np.array([k / many for k in range(many)])
    places = np.concatenate([np.random.default_rng(7).random(5000), edges, np.nextafter(edges, 1)])
    ends = [shards.part(k, of=many) for k in range(many)]
    assert (sum((low <= places) & (places < high) for low, high in ends) == 1).all()


def test_an_order_is_of_one_shard_and_its_run_is_named_after_it():
    assert shards.is_named_by(order(), shards=2)
    assert shards.of_order(order()) == 1
    assert shards.of_order({"run": SEED}) is None
    assert shards.is_named_by({"run": SEED}, shards=None)
    assert Shard(0, SEED).run != Shard(1, SEED).run
    assert Shard(1, "5b" * 32).run != Shard(1, SEED).run


@pytest.mark.parametrize(
    ("said", "many"),
    [
        (order(), None),
        ({"run": SEED}, 2),
        (order(), 1),
        ({**order(), "run": SEED}, 2),
        (order(number=0), 2),
        (order(seed="5b" * 32), 2),
        (order(number=1.0), 2),
        (order(number=True), 2),
        (order(seed="5A" * 32), 2),
        (order(more=1), 2),
        ({**order(), "shard": 1}, 2),
    ],
    ids=str,
)
def test_an_order_for_another_shard_than_its_run_is_named_after_is_none(said, many):
    assert not shards.is_named_by(said, shards=many)
