"""One training of a large model refutes a gross fault and does not refute correct code."""

import dataclasses

import numpy as np
import pytest

from hospital_node.privacy.audit.one_run import one_run
from hospital_node.privacy.audit.subject import Subject, magnified
from hospital_node.privacy.mechanism import Mechanism
from models.cardiac_risk import recipe
from tests.simulators.entropy import known

pytestmark = pytest.mark.usefixtures("same_noise")
PLAN = dataclasses.replace(
    recipe.plan(
        network="00" * 32, study="heart-risk", sites=["north", "east", "south", "west"],
        divisor=900, purpose="health research", grades=["staff_attested"],
    ),
    start_weights=(0.0,) * 5000,
)  # fmt: skip


class SquareRootForgotten(Mechanism):
    def _noised(self, clipped, members):
        honest = super()._noised(clipped, members)
        grid, forgotten = self._plan.grid, np.sqrt(self._plan.attempts)
        noise = (honest.vector * grid - clipped) / forgotten
        return dataclasses.replace(
            honest, vector=np.rint((clipped + noise) / grid).astype(np.int64)
        )


def attack(plan, subject):
    return one_run(
        subject, plan, members=4, attempts=plan.attempts, confidence=0.999, coins=known("coins")
    )


@pytest.mark.parametrize("epsilon", [1.0, 8.0])
def test_correct_code_is_not_refuted(epsilon):
    found = attack(magnified(PLAN, epsilon=epsilon), Subject())
    assert found.p > 1e-6
    assert found.epsilon_low < found.epsilon_claimed
    if epsilon == 8.0:
        assert found.epsilon_low > 1  # the attack is not idle


def test_square_root_of_the_steps_forgotten_is_caught():
    found = attack(magnified(PLAN, epsilon=2.0), Subject(mechanism=SquareRootForgotten))
    assert found.p < 1e-3
    assert found.epsilon_low > found.epsilon_claimed
