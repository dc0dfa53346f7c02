"""One run of a study at this hospital, as numbered steps. Start reading the node here.

What leaves: masked, noised sums and signed messages, through ``egress``. What does not: records,
counts, losses, anything exact. When the process dies: before the reservation is on disk, nothing
has happened; after it, the whole run is charged; each vector is charged on disk before it leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from consent.study import Study
from hospital_node import (
    absence,
    approvals,
    holdout,
    local_training,
    members,
    parts,
    secure_sum,
    session,
)
from hospital_node.cohort import Cohort
from hospital_node.data import records
from hospital_node.evaluate import evaluate
from hospital_node.node import Node, require_active, require_on_ledger
from hospital_node.policy_rules import Moment
from hospital_node.privacy.clipped_sum import ClippedSum, LogisticClippedSum
from hospital_node.privacy.engines.means import MeanClippedSum
from hospital_node.privacy.mechanism import Mechanism
from hospital_node.privacy.sum_by_share import SumByShare
from hospital_node.shares import Columns, Shares, readable
from models import registry
from twinward import descent, shards
from twinward.errors import TrainingError, TwinwardError
from twinward.ids import RunId
from twinward.logging import log
from twinward.plan import KIND as PLAN_KIND
from twinward.plan import Plan
from twinward.rpc.messages_pb2 import Closing, Opening
from twinward.secsum.words import Integers
from twinward.signing import Document

RUN_KIND = "twinward/run/v1"
CLOSING_KIND = "twinward/closing/v1"


async def train(node: Node, opening: Opening) -> Closing:
    """Take part in the run of this opening; returns the signed closing with the final weights.

    Raises:
        TrainingError, IdentityError, ConsentError, BudgetError, LedgerError: The reason why this
            hospital does not take part, or had to stop. Nothing more leaves then.
    """
    try:
        return await _ordered(node, opening)
    except TwinwardError as error:
        if node.run == opening.run.hex():
            raise  # a coordinator that was started again brought it again: this node is in it
        await asyncio.to_thread(absence.tell, node, run=opening.run, code=error.code)
        raise


async def _ordered(node: Node, opening: Opening) -> Closing:
    # 1. The coordinator ordered it, and this hospital approved exactly this plan.
    order = read_opening(node, opening)
    node.run = order.run  # claimed before anything is awaited: Flower may bring two at once
    about = (f"run:{order.run}", f"digest:{order.approved.plan.digest.hex()}")
    try:
        node.audit.did("run-opened", about=about)
        closing = await _take_part(node, order)
    except TwinwardError as error:
        node.audit.did("run-ended", about=about, failure=error.code)
        raise
    else:
        node.audit.did("run-ended", about=about)
        return closing
    finally:
        node.run = None


async def _take_part(node: Node, order: Order) -> Closing:
    approved, plan = order.approved, order.approved.plan
    await asyncio.to_thread(members.catch_up, node, plan.sites)
    await asyncio.to_thread(require_on_ledger, node.chain, node.founding, plan.sites)
    await asyncio.to_thread(require_active, node.chain, node.founding, plan.sites)
    # 2. Only patients who permit it, by a record of consents that is fresh and complete.
    cohort = node.cohort(approved)
    wanted = cohort.mask() & _trained(node, plan, order.shard)
    count = int(wanted.sum())
    node.rules.require(approved, at=Moment.RUN, run=order.run, cohort=count)
    # 3. Engine and noise of this plan fit together, or nothing is charged for a run that cannot be.
    work = await asyncio.to_thread(ActiveRun, node, order, cohort)
    # 4. The whole run is paid for: in the accounts of the patients who still can, in the book
    #    (fsync each), then in a block of the ledger.
    await session.reserve(
        node,
        plan,
        run=order.run,
        plan_digest=plan.digest,
        what=parts.training_of(plan.study, shard=order.shard),
        wanted=wanted,
        at_least=node.rules.least(approved),
    )
    # 5. T steps, each: cohort, clipped sum, noise, charge, send, check the sum, update.
    node.active = work
    try:
        result = await session.take_part(
            node, plan, run=order.run, plan_digest=plan.digest, work=work.work()
        )
        # 6. Finished: attempts never made are given back.
        session.close(node, order.run)
        log().info("run finished", run=order.run, epoch=result.epoch, attempt=result.attempts)
        # 7. How good is it? Asked of patients who were kept out, who pay for the answer.
        await evaluate(
            node,
            approved,
            run=order.run,
            cohort=cohort,
            weights=work.released(),
            drawn=work.evaluation_drawn,
        )
    finally:
        node.active = None
    # 8. The final weights, signed.
    return work.closing(result)


@dataclass(frozen=True, slots=True)
class Order:
    """An order of the coordinator to run a plan that this hospital approved.

    ``shard`` is the part of its patients that it trains on, of a plan that has shards.
    """

    run: RunId
    approved: approvals.Approved
    shard: int | None = None


def read_opening(node: Node, opening: Opening) -> Order:
    """Check what Flower brought; Flower itself is believed in nothing.

    Raises:
        TrainingError: TW6004 not approved here, TW6006 a run is under way, TW6007 the parts of the
            opening contradict each other or the approved plan.
        IdentityError: TW2002, TW2004, not signed by the coordinator.
    """
    if node.run is not None:
        raise TrainingError(
            "this node is in another run", code="TW6006", help="wait until that run has ended"
        )
    coordinator = node.founding.coordinator.identity
    order = Document.decode(opening.order, kind=RUN_KIND, at="order")
    order.verify(coordinator)
    plan_document = Document.decode(opening.plan, kind=PLAN_KIND, at="plan")
    plan_document.verify(coordinator)
    plan = Plan.from_document(plan_document)
    approved = approvals.load(node.folder, plan.study, founding=node.founding)
    consistent = (
        plan.digest == approved.plan.digest
        and order.payload.get("plan") == plan.digest.hex()
        and order.payload.get("run") == opening.run.hex()
        and len(opening.run) == 32
        and opening.weights == descent.to_bytes(plan.start)
        and shards.is_named_by(order.payload, shards=plan.shards)
    )
    if not consistent:
        raise TrainingError(
            "the opening of this run is not for the plan that this hospital approved",
            code="TW6007",
            help="approve the new plan if the hospital agrees to it; nothing was computed",
        )
    node.rules.require(approved, at=Moment.STEP, run=RunId(opening.run.hex()))
    return Order(RunId(opening.run.hex()), approved, shards.of_order(order.payload))


class ActiveRun:
    """The work of a run: what to compute, charge and apply; called one at a time by secure sum."""

    def __init__(self, node: Node, order: Order, cohort: Cohort) -> None:
        self.study: Study = order.approved.study
        self.next_step = 1
        self._node = node
        self._order = order
        self._plan = order.approved.plan
        self._cohort = cohort
        self._stepping = threading.Lock()
        with node.memory.reading(self):
            self._sum = clipped_sum(node, self._plan, order.approved.study)
        self._trained = _trained(node, self._plan, order.shard)
        self._mechanism = Mechanism(self._plan)
        self._weights = self._plan.start
        self._before: descent.Weights | None = None
        self._iterates: list[descent.Weights] = []
        self._head = bytes(32)

    def contribute(self, step: int, epoch: int, members: int) -> NDArray[np.int64]:
        """A fresh noisy vector over whoever permits it at this moment."""
        del epoch
        with self._stepping:
            return self._contribution(step, members)

    def forget(self, row: int) -> None:
        """Overwrite what the run holds of a patient who was erased: between steps, never in one."""
        with self._stepping:
            self._sum.forget(row)

    def _contribution(self, step: int, members: int) -> NDArray[np.int64]:
        self._node.rules.require(self._order.approved, at=Moment.STEP, run=self._order.run)
        self._head = self._node.mirror.head
        self.next_step = step + 1  # counts as drawn before it is, so that no receipt flatters
        permitted, shares = self._cohort.permitted()
        self._sum.follow(shares)
        include = self._node.lifetime.allowed(self._order.run, permitted & self._trained)
        if self._plan.fedavg is not None:
            return local_training.update(
                self._plan,
                self._plan.fedavg,
                mechanism=self._mechanism,
                clipped_sum=self._sum,
                weights=self._weights,
                permitted=include,
                members=members,
            )
        return self._mechanism.release(self._sum, self._weights, include, members).vector

    def evaluation_drawn(self) -> None:
        """The evaluation, which follows the last step, takes its patients now."""
        self.next_step = self._plan.steps + 2

    def mark(self, epoch: int, step: int) -> None:
        """Charge the attempt durably, before its vector may leave."""
        self._node.book.mark(self._order.run, epoch=epoch, step=step)

    def apply(self, step: int, total: Integers) -> None:
        """Update the weights with a sum that passed every check."""
        del step
        moved = descent.step(self._plan, self._weights, total, before=self._before)
        self._weights, self._before = moved, self._weights
        self._iterates.append(self._weights)

    def consent_head(self) -> bytes:
        """The consent head under which the last contribution was made."""
        return self._head

    def released(self) -> descent.Weights:
        """The weights to release, once all steps are done."""
        return descent.release(self._plan, self._iterates)

    def closing(self, result: secure_sum.Result) -> Closing:
        """This hospital's signed last word on the run."""
        weights = self.released()
        document = Document(
            CLOSING_KIND,
            {
                "org": self._node.settings.org,
                "run": self._order.run,
                "plan": self._plan.digest.hex(),
                "weights": descent.digest(weights).hex(),
                "history": result.history.hex(),
                "attempts": result.attempts,
            },
        ).signed_by(self._node.identity)
        closing = Closing(closing=document.encode(), weights=descent.to_bytes(weights))
        self._node.egress.let_out("flower", "closing", to="coordinator", size=closing.ByteSize())
        return closing

    def work(self) -> secure_sum.Work:
        """The calls that secure sum makes."""
        return secure_sum.Work(
            contribute=self.contribute,
            mark=self.mark,
            apply=self.apply,
            consent_head=self.consent_head,
            model_digest=lambda: descent.digest(self.released()),
            let_out=lambda kind, size: self._node.egress.let_out(
                "secure-sum", kind, to="coordinator", size=size
            ),
        )


def _trained(node: Node, plan: Plan, shard: int | None) -> NDArray[np.bool_]:
    """Who is not kept out to measure the model; with shards, who is in the one of this run."""
    if plan.shards is None or shard is None:
        return holdout.within(node.places, holdout.trained(plan.holdout_share))
    return holdout.within(node.places, shards.part(shard, of=plan.shards))


def clipped_sum(node: Node, plan: Plan, study: Study) -> SumByShare:
    """This hospital's patients as numbers, ready to be summed under any cohort.

    Raises:
        TwinModelError: TW7001, TW7005, another model than is installed here.
        BudgetError: TW4200, the model cannot be trained privately; TW4011, too many patients.
        DataError: TW7137, the plan needs other data than this hospital has.
    """
    registry.require_same_spec(plan.model, plan.model_spec, sites=plan.sites)

    def narrowed(rows: NDArray[np.intp], shares: Shares) -> ClippedSum:
        columns = records.table(node.patients).columns  # histories have no optional categories
        return _of_records(node, plan, readable(columns, study, rows=rows, shares=shares))

    prior = registry.prior(plan.model)
    if prior is not None:
        vectors = records.histories(node.patients, prior).vectors(prior)
        return SumByShare(MeanClippedSum(vectors, max_grad_norm=plan.max_grad_norm), narrowed)
    return SumByShare(_of_records(node, plan, records.table(node.patients).columns), narrowed)


def _of_records(node: Node, plan: Plan, columns: Columns) -> ClippedSum:
    model = registry.risk(plan.model)
    x = model.encode(columns, site=node.settings.org, sites=plan.sites)
    y = model.labels(columns)
    module = model.module(plan.sites)
    if module is None:
        return LogisticClippedSum(x, y, max_grad_norm=plan.max_grad_norm)
    import torch  # noqa: PLC0415 - heavy

    from hospital_node.privacy.validate import engine_for  # noqa: PLC0415 - torch

    torch.set_num_threads(node.settings.threads)
    return engine_for(module, x, y, max_grad_norm=plan.max_grad_norm)


def warm(node: Node) -> None:
    """Load what engines and accountants of approved plans need: no run waits seconds for it.

    A plan that cannot be trained here is left to its run, which refuses it.
    """
    for name in approvals.names(node.folder):
        with contextlib.suppress(TwinwardError):
            approved = approvals.load(node.folder, name, founding=node.founding)
            plan = approved.plan
            if plan.sampling is not None:
                import twinward.accounting.sampled  # noqa: F401, PLC0415 - scipy: a second
            clipped_sum(node, plan, approved.study)
