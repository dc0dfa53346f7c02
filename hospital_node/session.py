"""What every secure sum of a run asks of the node: a price that somebody pays, and a stream.

The numbers (steps, noise, grid, size) may be those of the plan or of its evaluation
(``Plan.for_evaluation``); what is named to everyone is always the digest of the whole plan that
this hospital approved.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import grpc.aio
import numpy as np

from hospital_node import secure_sum
from hospital_node.node import Node
from hospital_node.privacy import spending
from hospital_node.privacy.lifetime import Mask
from hospital_node.secure_sum_stream import grpc_streams
from twinward.errors import LedgerError
from twinward.ids import RunId
from twinward.organisation import Organisation
from twinward.plan import Plan
from twinward.reach import Reach
from twinward.rpc.tls import PROMPT

PATIENCE_SECONDS = 20.0
_LOOK_AGAIN_SECONDS = 0.05


async def reserve(
    node: Node,
    numbers: Plan,
    *,
    run: RunId,
    plan_digest: bytes,
    what: str,
    wanted: Mask,
    at_least: int = 1,
) -> None:
    """The whole price stands in patients' accounts, the book and a block of the ledger, on return.

    From then on ``node.lifetime.allowed`` says who may be in an attempt; see ``spending``.

    Args:
        node: This node.
        numbers: What will be sent at most, and what it costs.
        run: Under which name it is charged.
        plan_digest: The approved plan.
        what: What it is, for the hospital's own eyes.
        wanted: Who permits it and would be part of it; who cannot pay is left out.
        at_least: How many have to be left.

    Raises:
        BudgetError, LedgerError: It is not paid for, so nothing may be computed.
    """
    await asyncio.to_thread(_approve, node, plan_digest, numbers.quorum)
    await asyncio.to_thread(node.fence.require_newest)
    micro_mu2 = spending.reserve(
        node.book,
        node.lifetime,
        numbers,
        run=run,
        plan_digest=plan_digest,
        what=what,
        wanted=wanted,
        at_least=at_least,
    )
    payers = np.flatnonzero(node.lifetime.allowed(run, wanted))
    await asyncio.to_thread(_in_audit_log, node, numbers.study, run, plan_digest, payers.tolist())
    await asyncio.to_thread(_on_ledger, node, run, plan_digest, micro_mu2)


def close(node: Node, run: RunId) -> None:
    """A release is over for good: what was set aside and never used is given back."""
    spending.close(node.book, node.lifetime, run)


async def take_part(
    node: Node, numbers: Plan, *, run: RunId, plan_digest: bytes, work: secure_sum.Work
) -> secure_sum.Result:
    """Take part in one secure sum with the hospitals of the plan, over mutual TLS.

    Raises:
        CoordinatorUnreachable, IdentityError, TrainingError: see ``secure_sum.run_session``.
    """
    peers = [node.founding.member(site) for site in numbers.sites]
    credentials = Organisation(node.folder).tls.channel_credentials()
    address = node.founding.endpoints["network"]
    # An earlier process of this node may have been in this run: its attempts count, and it enters
    # no epoch a second time.
    last_epoch, attempts_before = node.book.marked(run)
    options = (*PROMPT, *Reach.of(node.folder).channel_options())
    async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
        return await secure_sum.run_session(
            grpc_streams(channel),
            work=work,
            identity=node.identity,
            members={peer.fingerprint: peer.identity for peer in peers},
            coordinator=node.founding.coordinator.identity,
            run=bytes.fromhex(run),
            plan_digest=plan_digest,
            dimension=numbers.dimension,
            word_bits=numbers.word_bits,
            max_abs_sum=numbers.max_abs_sum,
            visible=numbers.visible_updates,
            steps=numbers.steps,
            slot_seconds=numbers.slot_seconds,
            deadline_seconds=numbers.deadline_seconds,
            patience_seconds=PATIENCE_SECONDS,
            last_epoch=last_epoch,
            attempts_before=attempts_before,
            enough=lambda there: numbers.enough(
                [peer.org for peer in peers if peer.fingerprint in there]
            ),
        )


def _in_audit_log(
    node: Node, study: str, run: RunId, plan_digest: bytes, payers: Sequence[int]
) -> None:
    """That these patients' data goes into this run, durably, before a vector leaves."""
    node.audit.did("reserved", about=(f"run:{run}", f"digest:{plan_digest.hex()}"))
    records = [node.patients.records[n] for n in payers]
    node.audit.used(
        [one for one in records if one in node.rows],  # nobody was erased since
        study=study,
        run=run,
        to=node.founding.coordinator.org,
    )


def _approve(node: Node, plan_digest: bytes, quorum: int) -> None:
    """This hospital's approval stands in a block, and enough others', when this returns.

    Nothing is charged yet: a plan that others do not want costs no patient anything.

    Raises:
        LedgerError: TW3500, not enough hospitals approved it in time; TW3501, the coordinator had
            the ledger ask for fewer than the plan needs.
    """
    stated = node.chain.quorum(plan_digest)
    if stated < quorum:
        raise LedgerError(
            "the ledger's record of this plan asks for fewer approvals than it needs",
            code="TW3501",
            note=f"{stated} instead of {quorum}",
            help="ask the coordinator for a new plan; this one stays as it was recorded",
        )
    node.egress.let_out("ledger", "approval", to="ledger", size=200)
    node.chain.approve(plan_digest)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not node.chain.is_approved(plan_digest):
        if time.monotonic() > deadline:
            raise LedgerError(
                "not enough hospitals have approved this plan",
                code="TW3500",
                note=f"{node.chain.approvals(plan_digest)} of {stated} on the ledger",
                help="nothing was charged; run it again once more hospitals take part",
            )
        time.sleep(_LOOK_AGAIN_SECONDS)


def _on_ledger(node: Node, run: RunId, plan_digest: bytes, micro_mu2: int) -> None:
    """The worst-case spend stands in a block when this returns."""
    node.egress.let_out("ledger", "reservation", to="ledger", size=200)
    node.chain.reserve(bytes.fromhex(run), plan=plan_digest, micro_mu2=micro_mu2)
