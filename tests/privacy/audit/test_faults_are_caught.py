"""Eight ways to break the promise, each built into the real code path, each caught at 99.9 %.

Every test runs the whole quick audit, as ``twinward privacy audit --quick`` does, and names the
attack that must have found the fault.
"""

import dataclasses
import math

import numpy as np
import pytest

from hospital_node.privacy.audit.report import QUICK, audit
from hospital_node.privacy.audit.subject import Subject
from hospital_node.privacy.clipped_sum import LogisticClippedSum
from hospital_node.privacy.mechanism import Mechanism
from models.cardiac_risk import recipe
from twinward.errors import BudgetError

pytestmark = pytest.mark.usefixtures("same_noise")
PLAN = recipe.plan(
    network="00" * 32, study="heart-risk", sites=["north", "east", "south", "west"],
    purpose="health research", divisor=900, grades=["staff_attested"],
)  # fmt: skip


class NoiseScaled(Mechanism):
    """The mechanism with its noise times ``factor``."""

    factor = 1.0

    def _noised(self, clipped, members):
        honest = super()._noised(clipped, members)
        grid = self._plan.grid
        noise = honest.vector * grid - clipped
        steps = np.rint((clipped + self.factor * noise) / grid).astype(np.int64)
        return dataclasses.replace(honest, vector=steps)


class NoiseHalved(NoiseScaled):
    factor = 0.5


class SquareRootForgotten(NoiseScaled):
    factor = 1 / math.sqrt(PLAN.attempts)


class NoColludersInTheShare(NoiseScaled):
    factor = math.sqrt(3 / 4)

    def _noised(self, clipped, members):
        self.factor = math.sqrt((members - 1) / members)
        return super()._noised(clipped, members)


class TwoPercentNarrow(NoiseScaled):
    factor = 0.98


class SameNoiseTwice(Mechanism):
    """Every second vector carries the noise of the one before."""

    _last = None

    def _noised(self, clipped, members):
        honest = super()._noised(clipped, members)
        grid = self._plan.grid
        if self._last is None:
            self._last = honest.vector * grid - clipped
            return honest
        steps = np.rint((clipped + self._last) / grid).astype(np.int64)
        self._last = None
        return dataclasses.replace(honest, vector=steps)


class OneKeyForAllNodes(Mechanism):
    """What a fixed seed does: every node, and every restart, draws the same noise."""

    def __init__(self, plan):
        calls = iter(range(1, 10**9))
        super().__init__(plan, entropy_for_tests_only=lambda n: next(calls).to_bytes(n, "big"))


def clip_doubled(x, y, *, max_grad_norm, owner):
    lying = LogisticClippedSum(x, y, max_grad_norm=2 * max_grad_norm, owner=owner)
    lying.sensitivity = max_grad_norm  # an engine that tells is refused by the mechanism
    return lying


def clipped_per_record(x, y, *, max_grad_norm, owner):
    return PerRecord(x, y, max_grad_norm, owner)


class PerRecord:
    """Clips every record by itself, which bounds a record and no patient."""

    def __init__(self, x, y, norm, owner):
        self._sum = LogisticClippedSum(x, y, max_grad_norm=norm)
        self._owner, self.patients, self.sensitivity = owner, int(owner.max()) + 1, norm

    def __call__(self, weights, include):
        return self._sum(weights, include[self._owner])


class CountedTwice:
    """The last patient of the cohort stands in it twice."""

    def __init__(self, x, y, *, max_grad_norm, owner):
        self._sum = LogisticClippedSum(x, y, max_grad_norm=max_grad_norm, owner=owner)
        self.patients, self.sensitivity = self._sum.patients, max_grad_norm

    def __call__(self, weights, include):
        last = np.zeros_like(include)
        last[-1] = include[-1]
        return self._sum(weights, include) + self._sum(weights, last)


class BelievesNumbers:
    """Clips as usual and does not ask whether a record is made of numbers."""

    def __init__(self, x, y, *, max_grad_norm, owner):
        self._x, self._y, self._owner = x, y, owner
        self.patients, self.sensitivity = int(owner.max()) + 1, max_grad_norm

    def __call__(self, weights, include):
        total = np.zeros(weights.size)
        with np.errstate(all="ignore"):
            for patient in np.flatnonzero(include):
                x, y = self._x[self._owner == patient], self._y[self._owner == patient]
                gradient = ((1 / (1 + np.exp(-(x @ weights))) - y) @ x) / len(y)
                norm = np.linalg.norm(gradient)
                total += gradient * np.minimum(1.0, 0.999 * self.sensitivity / norm)
        return total


def refuted(**parts):
    found = audit(PLAN, subject=Subject(**parts), size=QUICK)
    assert not found.passed
    with pytest.raises(BudgetError) as refusal:
        found.require_passed()
    assert refusal.value.code == "TW4400"
    return {check.name for check in found.checks if check.refuted}


def test_noise_halved():
    names = refuted(mechanism=NoiseHalved)
    assert {"noise of 4 members: width", "canary at epsilon 20: loud, 1 record"} <= names


def test_clip_doubled():
    names = refuted(engine=clip_doubled)
    assert {"reach of one patient: loud, 1 record", "canary at epsilon 20: loud, 1 record"} <= names


def test_clipped_per_record():
    names = refuted(engine=clipped_per_record)
    assert names == {
        "reach of one patient: loud, 3 records", "canary at epsilon 20: loud, 3 records",
    }  # fmt: skip


def test_square_root_of_the_steps_forgotten():
    names = refuted(mechanism=SquareRootForgotten)
    assert {"noise of 4 members: width", "canary at epsilon 1: loud, 1 record"} <= names


def test_patient_counted_twice():
    names = refuted(engine=CountedTwice)
    assert {"reach of one patient: loud, 1 record", "canary at epsilon 20: loud, 1 record"} <= names


def test_a_record_that_is_not_a_number():
    names = refuted(engine=BelievesNumbers)
    assert {"reach of one patient: not a number", "canary at epsilon 1: not a number"} <= names


def test_noise_used_twice():
    assert refuted(mechanism=SameNoiseTwice) >= {"noise of 4 members: repeats"}


def test_the_same_key_in_every_node():
    assert refuted(mechanism=OneKeyForAllNodes) >= {"noise of 4 members: repeats"}


def test_share_of_the_noise_computed_without_colluders():
    names = refuted(mechanism=NoColludersInTheShare)
    assert {"noise of 3 members: width", "noise of 4 members: width"} <= names


def test_noise_two_percent_too_narrow():
    assert refuted(mechanism=TwoPercentNarrow) >= {"noise of 4 members: width"}


class GenerousBook:
    """Lets out one vector more than was paid for."""

    def __init__(self, path):
        from hospital_node.privacy.book import BudgetBook

        self._book = BudgetBook(path)
        self._given = False

    def reserve(self, *arguments, **terms):
        return self._book.reserve(*arguments, **terms)

    def mark(self, run, *, epoch, step):
        try:
            self._book.mark(run, epoch=epoch, step=step)
        except BudgetError:
            if self._given:
                raise
            self._given = True

    def close(self):
        self._book.close()


def test_a_vector_more_than_was_paid_for():
    assert refuted(book=GenerousBook) == {"book"}


def test_the_code_that_hospitals_run_passes():
    found = audit(PLAN, size=QUICK)
    assert found.passed, [check for check in found.checks if check.refuted]
    found.require_passed()
    assert min(check.p for check in found.checks) > 0
