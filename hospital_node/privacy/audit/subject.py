"""What is attacked: the code path of a node, its parts exchangeable so that tests can break one."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hospital_node.privacy.book import BudgetBook
from hospital_node.privacy.clipped_sum import ClippedSum, LogisticClippedSum
from hospital_node.privacy.engines.means import MeanClippedSum
from hospital_node.privacy.mechanism import Mechanism, NoisedSum
from ledger import verify
from models import registry
from twinward.errors import BudgetError
from twinward.ids import RunId
from twinward.plan import Plan

Floats = NDArray[np.float64]

_RUN = RunId("00" * 32)
_ATTEMPTS_LIMIT = 20_000


class Engine(Protocol):
    """Makes the clipped sum over these records; ``LogisticClippedSum`` is one."""

    def __call__(
        self, x: Floats, y: Floats, *, max_grad_norm: float, owner: NDArray[np.intp]
    ) -> ClippedSum:
        """Records [records, inputs], labels, and the index of the patient of each record."""
        ...


class Contributor(Protocol):
    """Turns patients, or a sum over them, into what leaves; ``Mechanism`` is one."""

    def release(
        self,
        clipped_sum: ClippedSum,
        weights: Floats,
        permitted: NDArray[np.bool_],
        members: int,
    ) -> NoisedSum:
        """A noised sum over whoever permits it and is drawn, fresh in every call."""
        ...

    def contribute(self, clipped: Floats, members: int) -> NoisedSum:
        """A noised vector on the grid, fresh in every call."""
        ...


@dataclass(frozen=True, slots=True)
class Known:
    """A clipped sum that an auditor knows, whoever takes part; ``drawn`` keeps who did."""

    vector: Floats
    sensitivity: float
    patients: int = 1
    drawn: list[NDArray[np.bool_]] = field(default_factory=list)

    def __call__(self, weights: Floats, include: NDArray[np.bool_]) -> Floats:
        """The same vector every time."""
        del weights
        self.drawn.append(include)
        return self.vector

    def forget(self, patient: int) -> None:
        """It holds nobody's numbers."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The parts of a node between a record and what leaves it, as a hospital runs them.

    ``inputs``: numbers in a record that the engine takes; None if one for each weight.
    """

    engine: Engine = LogisticClippedSum
    mechanism: Callable[[Plan], Contributor] = Mechanism
    book: Callable[[Path], BudgetBook] = BudgetBook
    inputs: int | None = None

    @classmethod
    def of(cls, plan: Plan) -> Subject:
        """What a hospital runs for this plan: the engine that the layers of its model get.

        Raises:
            TwinModelError: TW7001, the model is not installed here.
        """
        if registry.prior(plan.model) is not None:
            return cls(engine=_of_means)
        model = registry.risk(plan.model)
        module, shape = model.module(plan.sites), model.record_shape(plan.sites)
        if module is None:
            return cls()
        import torch  # noqa: PLC0415 - heavy

        from hospital_node.privacy.validate import engine_for  # noqa: PLC0415 - torch

        # An audit is thousands of sums over nine patients: threads would wait for each other.
        torch.set_num_threads(1)

        def engine(
            x: Floats, y: Floats, *, max_grad_norm: float, owner: NDArray[np.intp]
        ) -> ClippedSum:
            records = x.reshape(len(x), *shape)
            return engine_for(module, records, y, max_grad_norm=max_grad_norm, owner=owner)

        return cls(engine=engine, inputs=math.prod(shape))

    def width(self, plan: Plan) -> int:
        """Numbers in a record."""
        return plan.dimension if self.inputs is None else self.inputs

    def attempts_let_out(self, plan: Plan) -> int:
        """How many vectors the book really lets out for the price of one run.

        Counted by marking until the book refuses, in a book of its own that is thrown away.
        """
        with tempfile.TemporaryDirectory(prefix="twinward-audit-") as folder:
            book = self.book(Path(folder) / "book.sqlite3")
            try:
                book.reserve(
                    _RUN,
                    plan_digest=plan.digest,
                    attempts=plan.attempts,
                    mu2_per_attempt=plan.mu2_per_attempt,
                )
                return _marked(book, most=min(2 * plan.attempts + 8, _ATTEMPTS_LIMIT))
            finally:
                book.close()


@dataclass(frozen=True, slots=True)
class Claim:
    """What the model card promises for a plan, recomputed by the verifier's own code.

    ``mu`` is against the coordinator with all assumed colluders; ``honest_sd`` is the standard
    deviation of the noise in a sum that is left when the colluders subtract theirs.
    """

    mu: float
    epsilon: float
    delta: float
    members: int
    colluders: int
    honest_sd: float

    @classmethod
    def of(cls, plan: Plan, *, members: int) -> Claim:
        """The claim when this many members sum."""
        mu, noise = verify.mu_of(plan.epsilon, plan.delta), plan.noise_multiplier
        if plan.sampling is not None:
            # The whole run is charged as if it were one full-batch release with this mu.
            mu = plan.sampling.charged_mu
        else:
            noise = plan.releases**0.5 / mu
        return cls(
            mu=mu,
            epsilon=plan.epsilon,
            delta=plan.delta,
            members=members,
            colluders=verify.colluders(members),
            honest_sd=plan.max_grad_norm * noise,
        )


def magnified(plan: Plan, *, epsilon: float = 20.0) -> Plan:
    """The same plan at a large epsilon, where a fault that multiplies stands out of less noise.

    Noise halved is noise halved at any epsilon; here a hundred trainings show what takes thousands
    at epsilon 1. The plan itself is attacked as well, in case a fault hides behind its epsilon. A
    sampled plan is magnified without its sampling, which ``sampler_test`` attacks by itself.
    """
    return replace(plan, epsilon=epsilon, sampling=None)


def _of_means(x: Floats, y: Floats, *, max_grad_norm: float, owner: NDArray[np.intp]) -> ClippedSum:
    del y  # a patient's own numbers are all there is
    return MeanClippedSum(x, max_grad_norm=max_grad_norm, owner=owner)


def _marked(book: BudgetBook, *, most: int) -> int:
    for step in range(most):
        try:
            book.mark(_RUN, epoch=1, step=step + 1)
        except BudgetError:
            return step
    return most
