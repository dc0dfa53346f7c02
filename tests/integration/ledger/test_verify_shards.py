"""A pack of one shard: plan, order and the name of the run have to agree on which one it was."""

import pytest

from ledger import verify
from tests.integration.ledger.test_verify_pack import Case
from twinward.shards import Shard
from twinward.signing import Document

SHARD = Shard(1, "5a" * 32)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return Case(tmp_path_factory.mktemp("run"), shard=SHARD)


def test_a_pack_of_a_shard_verifies_and_says_which_one(case):
    report = verify.verify(case.released.pack)
    assert report.ok, report.faults
    (plan,) = [check.detail for check in report.checks if check.name == "plan"]
    assert plan.endswith("shard 1 of 2")


@pytest.mark.parametrize(
    "said",
    [
        None,
        {"number": 0, "seed": SHARD.seed},
        {"number": 2, "seed": SHARD.seed},
        {"number": 1, "seed": "5b" * 32},
        {"number": True, "seed": SHARD.seed},
        {"number": 1, "seed": SHARD.seed, "more": 1},
    ],
    ids=str,
)
def test_an_order_that_says_another_shard_than_the_one_that_ran_is_found_out(case, said):
    payload = {**case.run.order.payload, "shard": said}
    if said is None:
        del payload["shard"]
    order = Document("twinward/run/v1", payload).signed_by(case.run.coordinator)
    report = verify.verify_bytes(case.resigned({"run.json": order.encode()}))
    assert [fault.code for fault in report.faults] == ["V034"]
