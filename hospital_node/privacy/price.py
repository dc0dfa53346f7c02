"""What a run would cost each patient, shown before anyone decides on it. Stays at the node.

A retraining is a new run: everyone who is still in it pays the whole price once more, also when it
is done only to leave one person's data out. That has to be seen before it is chosen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hospital_node.privacy.accountant import account
from hospital_node.privacy.lifetime import Lifetime
from twinward import gdp
from twinward.plan import Plan

RETRAINING = (
    "A retraining is a new run: leaving one person out of a model costs everyone else the whole "
    "price again."
)
OF_A_SHARD = (
    "A patient is in one shard and pays for its runs only. Training a shard again, to leave one "
    "person out, costs everyone else in it the price again."
)

_LARGEST = 1e4
"""No limit at all is shown as the epsilon of this much mu^2."""


@dataclass(frozen=True, slots=True)
class Price:
    """A run's price for the patients who would train it.

    Attributes:
        epsilon: Of this run alone, for one patient, at ``delta``.
        delta: Of every epsilon here.
        mu2: What each patient is charged, in mu^2.
        worst_before: Epsilon spent so far by the patient who is used up furthest.
        worst_after: The same after the run, among those who can still pay for it.
        limit: The epsilon that patient may spend in all.
        patients: How many of the patients could take part.
        left_out: How many have not enough left.
        nearly_spent: How many would have used four fifths of their limit afterwards.
        runs_left: How many more such runs the patient who is used up furthest could then pay.
    """

    epsilon: float
    delta: float
    mu2: float
    worst_before: float
    worst_after: float
    limit: float
    patients: int
    left_out: int
    nearly_spent: int
    runs_left: int

    def text(self, *, of: str = "A run", again: str = RETRAINING) -> str:
        """The same for the person who decides; ``of`` says what is paid for."""
        lines = [
            f"{of} charges every patient in it epsilon {self.epsilon:.3g} at delta {self.delta:g} "
            f"({self.mu2:.4f} of mu^2), for good, also if the model is not used. {again}".strip()
        ]
        if not self.patients:
            lines.append("No patient here has enough left for it.")
            return "\n".join(lines)
        lines.append(
            f"{self.patients} patients here could pay, if they permit it; {self.left_out} have not "
            "enough left and would be left out."
        )
        lines.append(
            f"The patient used up furthest goes from epsilon {self.worst_before:.3g} to "
            f"{self.worst_after:.3g} of {self.limit:.3g} and could pay {self.runs_left} more."
        )
        if self.nearly_spent:
            lines.append(
                f"Warning: {self.nearly_spent} patients would have used four fifths of their limit."
            )
        return "\n".join(lines)


def price(plan: Plan, lifetime: Lifetime, *, wanted: NDArray[np.bool_]) -> Price:
    """What a run of this plan would cost whoever of ``wanted`` can pay for it. Charges nothing.

    ``wanted`` are the patients who would be part of it if they permitted it.

    Raises:
        BudgetError: TW4300, TW4301, a sampled plan costs more than it says.
    """
    account(plan).require(plan, epsilon_noise=0.0)
    mu2 = plan.mu**2
    able = wanted & lifetime.can_pay(mu2)
    worst = lifetime.most_spent(able)
    before, limit = (0.0, mu2) if worst is None else (worst.spent_mu2, worst.limit_mu2)
    after = before if worst is None else before + mu2

    def epsilon(amount: float) -> float:
        return gdp.epsilon_of(math.sqrt(amount), plan.delta)

    return Price(
        epsilon=plan.epsilon,
        delta=plan.delta,
        mu2=mu2,
        worst_before=epsilon(before),
        worst_after=epsilon(after),
        limit=epsilon(min(limit, _LARGEST)),
        patients=int(able.sum()),
        left_out=int((wanted & ~able).sum()),
        nearly_spent=int((able & lifetime.nearly_spent(after=mu2)).sum()),
        runs_left=0 if worst is None else math.floor((limit - after) / mu2 + 1e-9),
    )
