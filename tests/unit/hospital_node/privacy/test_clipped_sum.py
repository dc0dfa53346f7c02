"""The closed form equals per-sample autograd and Opacus, with the patient as unit."""

import numpy as np
import pytest

from hospital_node.privacy.clipped_sum import MOST_PATIENTS, LogisticClippedSum
from twinward.errors import BudgetError

C = 2.0


@pytest.fixture
def cohort():
    """40 patients with 1 to 6 records, rows of norm about 5: some gradients are clipped."""
    rng = np.random.default_rng(7)
    owner = np.repeat(np.arange(40), rng.integers(1, 7, 40))
    x = rng.normal(size=(owner.size, 27))
    y = rng.integers(0, 2, owner.size).astype(float)
    return x, y, owner, rng.normal(size=27) * 0.3, rng.random(40) < 0.8


def by_hand(x, y, owner, weights, include, norm=C):
    total = np.zeros(x.shape[1])
    for patient in np.flatnonzero(include):
        mine = owner == patient
        p = 1 / (1 + np.exp(-(x[mine] @ weights)))
        gradient = ((p - y[mine])[:, None] * x[mine]).mean(axis=0)
        total += gradient * min(1.0, norm / np.linalg.norm(gradient))
    return total


def test_equals_a_loop_over_patients(cohort):
    x, y, owner, weights, include = cohort
    ours = LogisticClippedSum(x, y, owner=owner, max_grad_norm=C)(weights, include)
    assert np.abs(ours - by_hand(x, y, owner, weights, include)).max() < 1e-4
    exact = by_hand(x, y, owner, weights, include, norm=C * (1 - 2**-20))
    assert np.allclose(ours, exact, rtol=1e-12, atol=1e-12)


def test_one_record_per_patient_is_the_same_without_owners(cohort):
    x, y, _, weights, _ = cohort
    include = np.arange(len(x)) % 3 > 0
    alone = LogisticClippedSum(x, y, max_grad_norm=C)(weights, include)
    shuffled = np.random.default_rng(1).permutation(len(x))
    owned = LogisticClippedSum(x, y, owner=shuffled, max_grad_norm=C)
    by_owner = np.zeros(len(x), dtype=bool)
    by_owner[shuffled] = include
    assert np.allclose(alone, owned(weights, by_owner), rtol=1e-12, atol=1e-12)


def test_equals_opacus_with_the_patient_as_unit(cohort):
    torch = pytest.importorskip("torch", reason="torch is not installed (extra `node`)")
    pytest.importorskip("opacus", reason="opacus is not installed (extra `node`)")
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    from models.cardiac_risk.module import CardiacRiskModule

    x, y, owner, weights, include = cohort
    kept = include[owner]
    counts = np.bincount(owner)
    module = GradSampleModule(CardiacRiskModule.from_weights(weights).train(), loss_reduction="sum")
    optimizer = DPOptimizer(
        torch.optim.SGD(module.parameters(), lr=1.0),
        noise_multiplier=0.0, max_grad_norm=C, expected_batch_size=1, loss_reduction="sum",
    )  # fmt: skip
    losses = torch.nn.functional.binary_cross_entropy_with_logits(
        module(torch.from_numpy(x[kept]).requires_grad_()),
        torch.from_numpy(y[kept]),
        reduction="none",
    )
    (losses / torch.from_numpy(counts[owner[kept]])).sum().backward()
    parameter = next(iter(module.parameters()))
    per_record = parameter.grad_sample
    parameter.grad_sample = torch.zeros((counts.size, *per_record.shape[1:]), dtype=torch.float64)
    parameter.grad_sample.index_add_(0, torch.from_numpy(owner[kept]), per_record)
    optimizer.pre_step()
    theirs = parameter.grad.numpy()[0]

    ours = LogisticClippedSum(x, y, owner=owner, max_grad_norm=C)(weights, include)
    assert np.linalg.norm(ours - theirs) / np.linalg.norm(theirs) <= 1e-6


def test_an_empty_cohort_sums_to_zero():
    nobody = LogisticClippedSum(np.zeros((0, 5)), np.zeros(0), max_grad_norm=C)
    assert nobody.patients == 0
    assert np.array_equal(nobody(np.ones(5), np.zeros(0, dtype=bool)), np.zeros(5))


def test_the_sum_of_the_whole_cohort_is_not_divided_by_its_size(cohort):
    x, y, _, weights, _ = cohort
    once = LogisticClippedSum(x, y, max_grad_norm=C)
    twice = LogisticClippedSum(np.vstack([x, x]), np.hstack([y, y]), max_grad_norm=C)
    everyone = np.ones(len(x), dtype=bool)
    assert np.allclose(
        2 * once(weights, everyone), twice(weights, np.hstack([everyone, everyone])), rtol=1e-12
    )


def test_what_does_not_fit_together_is_refused():
    x, y = np.zeros((4, 3)), np.zeros(4)
    fine = LogisticClippedSum(x, y, max_grad_norm=C)
    four = np.ones(4, dtype=bool)
    for code, call in (
        ("TW4010", lambda: LogisticClippedSum(x, np.zeros(3), max_grad_norm=C)),
        ("TW4010", lambda: LogisticClippedSum(np.zeros(4), y, max_grad_norm=C)),
        (
            "TW4010",
            lambda: LogisticClippedSum(x, y, owner=np.array([0, 1, 2, -1]), max_grad_norm=C),
        ),
        ("TW4010", lambda: LogisticClippedSum(x, y, owner=np.ones(4), max_grad_norm=C)),
        ("TW4010", lambda: fine(np.zeros(3), np.ones(3, dtype=bool))),
        ("TW4010", lambda: fine(np.zeros(3), np.ones(4))),
        ("TW4010", lambda: fine(np.zeros(2), four)),
        ("TW4012", lambda: fine(np.array([0.0, np.nan, 0.0]), four)),
        ("TW4012", lambda: fine(np.array([0.0, np.inf, 0.0]), four)),
        (
            "TW4011",
            lambda: LogisticClippedSum(
                np.zeros((MOST_PATIENTS + 1, 1)), np.zeros(MOST_PATIENTS + 1), max_grad_norm=C
            ),
        ),
    ):
        with pytest.raises(BudgetError) as refusal:
            call()
        assert refusal.value.code == code
