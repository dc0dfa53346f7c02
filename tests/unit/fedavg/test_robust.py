"""Robust rules over visible updates: Flower's and the verifier's agree, and hostile ones fail."""

import dataclasses

import numpy as np
import pytest

from ledger import verify
from models.mlp_risk import recipe
from tests.unit.fedavg.test_plan import refused, the_plan
from twinward.errors import TrainingError
from twinward.plan import FedAvg, Plan

pytestmark = pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")

RULES = [("norm_bound", 0), ("median", 1), ("trimmed_mean", 1), ("krum", 1)]


def robust_sum(updates, *, local):
    from server.flower_aggregate import robust_sum  # Flower: warns when it is imported

    return robust_sum(updates, local=local)


def rule(name, hostile):
    local = dataclasses.replace(recipe.LOCAL, visible_updates=True, rule=name, hostile=hostile)
    return local, dataclasses.asdict(local)


def honest(count, *, size=50, seed=5):
    """Updates of hospitals that agree but for their noise."""
    generator = np.random.default_rng(seed)
    common = generator.integers(-4000, 4000, size)
    return [common + generator.integers(-2000, 2000, size) for _ in range(count)]


@pytest.mark.parametrize(("name", "hostile"), RULES)
@pytest.mark.parametrize("count", [5, 6, 9])
@pytest.mark.parametrize("seed", range(6))
def test_flower_and_the_offline_verifier_come_to_the_same_words(name, hostile, count, seed):
    local, payload = rule(name, hostile)
    updates = honest(count, seed=seed)
    updates[seed % count] = updates[0] * 1000 + 2**40  # one that has to be cut
    words = robust_sum(updates, local=local)
    assert words.tolist() == verify.robust_sum(payload, [each.tolist() for each in updates])


@pytest.mark.parametrize(("name", "hostile"), RULES)
@pytest.mark.parametrize("poison", [2**62, -(2**62), 60_000], ids=["huge", "negative", "allowed"])
def test_one_hospital_cannot_move_the_model_far(name, hostile, poison):
    """The mean of the honest four, and what comes of them with a fifth that attacks."""
    local, _ = rule(name, hostile)
    updates = honest(4)
    truth = np.mean(updates, axis=0)
    attacked = [*updates, np.full(50, poison, dtype=np.int64)]
    found = robust_sum(attacked, local=local) / 5
    # Cut alone, it still counts for one fifth of the bound; the other rules leave it out.
    allowed = 65536 / 5 + np.linalg.norm(truth) / 5 if name == "norm_bound" else 2000 * 50**0.5
    assert np.linalg.norm(found - truth) <= allowed + 5


def test_an_honest_update_is_not_touched():
    """At the bound, and lengthened by rounding as far as it can be."""
    local, _ = rule("norm_bound", 0)
    edge = np.zeros(50, dtype=np.int64)
    edge[0] = 65536
    for update in (edge, np.full(50, int(65536 / 50**0.5) + 1)):
        assert (robust_sum([update] * 3, local=local) == 3 * update).all()


@pytest.mark.parametrize(
    ("name", "hostile", "count"), [("trimmed_mean", 2, 4), ("median", 2, 4), ("krum", 1, 4)]
)
def test_too_few_members_are_refused(name, hostile, count):
    local, _ = rule(name, hostile)
    with pytest.raises(TrainingError) as refusal:
        robust_sum(honest(count), local=local)
    assert refusal.value.code == "TW6501"


@pytest.mark.parametrize(
    "changed",
    [
        {"rule": "median"}, {"visible_updates": True}, {"rule": "mean", "hostile": 2},
        {"visible_updates": True, "rule": "krum", "hostile": 1},
        {"visible_updates": True, "rule": "trimmed_mean", "hostile": 2},
        {"visible_updates": True, "rule": "average"}, {"visible_updates": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_plan_whose_rule_cannot_hold_is_no_plan(changed):
    refused(fedavg={**dataclasses.asdict(the_plan().fedavg), **changed})


def test_a_robust_plan_of_four_hospitals_is_a_plan():
    plan = dataclasses.replace(the_plan(), fedavg=recipe.ROBUST)
    assert Plan.from_document(plan.to_document()).visible_updates
    assert not the_plan().visible_updates


def test_robust_rules_are_for_models_that_are_kept_in_full():
    plan = dataclasses.replace(the_plan(), fedavg=recipe.ROBUST, start_weights=(0.0,) * 65_537)
    with pytest.raises(Exception, match="65,536"):
        plan.require_consistent()


def test_the_default_hides():
    assert FedAvg(1, 0.1, 0.0, 1.0, 0.0).visible_updates is False
