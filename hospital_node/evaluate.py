"""How good is the model that came out? Measured on consenting patients who were kept out of it.

Two answers with two destinations. *Together*: each held-out patient is one count in a histogram of
scores; noised for its own epsilon and summed like one more step of the run, it leaves as a masked
vector and nothing else does. *Here*: exact figures on this hospital's own held-out patients, in
``state/reports/RUN.html``, which never leaves. A model that every member has signed is not lost
because measuring it failed: then it is released without figures, and this node's log says why.

When the process dies: before the reservation, nothing has happened; after it, the whole evaluation
is charged to the held-out patients, and to nobody else.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import numpy as np
from numpy.typing import NDArray

from hospital_node import holdout, local_report, parts, secure_sum, session
from hospital_node.approvals import Approved
from hospital_node.cohort import Cohort
from hospital_node.data.records import table
from hospital_node.node import Node
from hospital_node.policy_rules import Moment
from hospital_node.privacy.mechanism import Mechanism
from hospital_node.shares import ALL, Columns, Mask, Shares, readable
from models import evaluation, registry
from twinward import descent
from twinward.errors import TrainingError, TwinwardError
from twinward.ids import RunId
from twinward.logging import log
from twinward.plan import evaluation_run

_LOOK_SECONDS = 0.1
_LASTED_SECONDS = 1.0
"""A refusal takes milliseconds; a call that took longer was in the evaluation when it broke."""
_UNKNOWN_RUN = "TW6123"


async def evaluate(
    node: Node,
    approved: Approved,
    *,
    run: RunId,
    cohort: Cohort,
    weights: descent.Weights,
    drawn: Callable[[], None],
) -> None:
    """Measure the released weights, if the plan says so; a refusal is logged, never raised.

    Args:
        node: This node.
        approved: Study and plan of the run.
        run: The run whose model it is.
        cohort: Who permits the study; looked at again for every vector and for the report.
        weights: The weights to be released.
        drawn: Called before a vector over held-out patients is made: from then on a withdrawal
            comes too late for it.
    """
    if approved.plan.evaluation is None:
        return
    test = HeldOut(node, approved, cohort=cohort, weights=weights)
    try:
        await _together(node, approved, run=run, test=test, drawn=drawn)
    except TwinwardError as error:
        log().warning(
            "evaluation left out", run=run, code=error.code, reason=error.diagnostic.message
        )
    try:
        scores, labels = test.of(test.permitted())  # stays here, so nobody pays for it
        await asyncio.to_thread(
            local_report.write, node.folder, approved.plan, run=run, scores=scores, labels=labels
        )
    except (TwinwardError, OSError) as error:
        log().warning("local report not written", run=run, error=type(error).__name__)


class HeldOut:
    """Scores and labels of this hospital's held-out patients under one model. Stays here."""

    def __init__(
        self, node: Node, approved: Approved, *, cohort: Cohort, weights: descent.Weights
    ) -> None:
        plan = approved.plan
        registry.require_same_spec(plan.model, plan.model_spec, sites=plan.sites)
        self.digest = descent.digest(weights)
        self._cohort, self._study, self._plan = cohort, approved.study, plan
        self._model, self._weights = registry.risk(plan.model), weights
        self._site = node.settings.org
        self._scoring = threading.Lock()
        with node.memory.reading(self):
            self._columns = table(node.patients).columns
            self._scores = self._scored(self._columns)
            self._labels = np.array(self._model.labels(self._columns))
        self._read = np.full(len(self._scores), ALL, np.uint8)
        self._out = holdout.within(node.places, holdout.held_out(plan.holdout_share))

    def permitted(self) -> NDArray[np.bool_]:
        """The held-out patients who permit the study at this moment.

        Raises:
            ConsentError: TW3101, TW3102, the record of consents cannot be trusted now.
        """
        return self.everybody()[0] & self._out

    def everybody(self) -> tuple[Mask, Shares]:
        """Who permits the study at this moment, held out or not, each scored with their share.

        Raises:
            ConsentError: TW3101, TW3102.
        """
        mask, shares = self._cohort.permitted()
        with self._scoring:
            rows = np.flatnonzero(mask & (shares != self._read))
            if len(rows):
                left = readable(self._columns, self._study, rows=rows, shares=shares[rows])
                self._scores[rows] = self._scored(left)
                self._read[rows] = shares[rows]
        return mask, shares

    def _scored(self, columns: Columns) -> NDArray[np.float64]:
        x = self._model.encode(columns, site=self._site, sites=self._plan.sites)
        return np.array(self._model.predict(self._weights, x))

    def forget(self, row: int) -> None:
        """Overwrite what is held of a patient who was erased."""
        with self._scoring:
            self._scores[row] = self._labels[row] = np.nan

    def of(self, here: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores and labels of these patients."""
        return self._scores[here], self._labels[here]


async def _together(
    node: Node, approved: Approved, *, run: RunId, test: HeldOut, drawn: Callable[[], None]
) -> None:
    """One noised histogram through secure sum, paid for by the held-out patients."""
    plan, numbers = approved.plan, approved.plan.for_evaluation()
    own_run = RunId(evaluation_run(bytes.fromhex(run)).hex())
    mechanism = Mechanism(numbers)
    head = bytes(32)

    def contribute(step: int, epoch: int, members: int) -> NDArray[np.int64]:
        nonlocal head
        del step, epoch
        node.rules.require(approved, at=Moment.STEP, run=run)
        head = node.mirror.head
        drawn()
        here = node.lifetime.allowed(own_run, test.permitted())
        counts = evaluation.binned(*test.of(here), bins=numbers.dimension // 2)
        return mechanism.contribute(evaluation.to_vector(counts), members).vector

    work = secure_sum.Work(
        contribute=contribute,
        mark=lambda epoch, step: node.book.mark(own_run, epoch=epoch, step=step),
        apply=lambda step, total: None,  # noqa: ARG005 - the coordinator publishes it
        consent_head=lambda: head,
        model_digest=lambda: test.digest,
        let_out=lambda kind, size: node.egress.let_out(
            "secure-sum", kind, to="coordinator", size=size
        ),
    )
    await session.reserve(
        node,
        numbers,
        run=own_run,
        plan_digest=plan.digest,
        what=parts.evaluation_of(plan.study),
        wanted=test.permitted(),
    )
    try:
        result = await _once_it_is_open(
            lambda: session.take_part(
                node, numbers, run=own_run, plan_digest=plan.digest, work=work
            )
        )
    finally:
        # However it ended, this process sends nothing more under this name.
        session.close(node, own_run)
    log().info("evaluation finished", run=run, epoch=result.epoch, attempt=result.attempts)


async def _once_it_is_open(
    join: Callable[[], Awaitable[secure_sum.Result]],
) -> secure_sum.Result:
    """Join as soon as the coordinator knows the evaluation: it opens it when the run has closed.

    One that was started again opens it again: it is waited for anew.
    """
    now = asyncio.get_running_loop().time
    until = now() + session.PATIENCE_SECONDS
    while True:
        joined = now()
        try:
            return await join()
        except TrainingError as error:
            if error.code != _UNKNOWN_RUN or joined > until:
                raise
            if now() > joined + _LASTED_SECONDS:
                until = now() + session.PATIENCE_SECONDS
        await asyncio.sleep(_LOOK_SECONDS)
