"""Withdrawals to their end, at this node: what the pipeline of `consent` asks of the hospital."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from consent.completions import Used
from consent.erased import is_erased
from consent.pipeline import Pipeline, Surroundings
from consent.withdrawals import KeptWithdrawal
from hospital_node import erasures, parts
from hospital_node.retired import is_replaced, is_retired
from ledger.chain import ContractRefused, Kind
from twinward import shards
from twinward.logging import log
from twinward.signing import Document

if TYPE_CHECKING:
    from hospital_node.node import Node


def rest_of(node: Node) -> Callable[[], object]:
    """What a tick of the follower does after consents: withdrawals to their end, names kept."""
    pipeline = pipeline_of(node)

    def rest() -> None:
        erasures.copy_out(node.folder, node.settings.erased_copy)
        pipeline.advance()

    return rest


def pipeline_of(node: Node) -> Pipeline:
    """The pipeline of this node's withdrawals; nothing happens until it is advanced."""

    def used(kept: KeptWithdrawal) -> Sequence[Used]:
        if is_erased(kept.record):  # noted by the erasure, before the link was cut
            return ()
        study = node.surroundings.studies.get(kept.study)
        name = None if study is None else study.name
        every = parts.of(node.lifetime, node.identity, kept.record)
        return [one for one in every if one.study in {name, None}]

    def retired(run: bytes) -> bool:
        return is_retired(node.chain, node.founding, run)

    def ask_again(run: bytes) -> bool:
        marker = shards.wanted(run)
        if node.chain.recorded(marker) is None:
            node.egress.let_out("ledger", "retraining", to="ledger", size=200)
            try:
                node.chain.record(marker, Kind.PACK)
            except ContractRefused as refused:  # no last word waits for that
                log().warning("retraining not asked for", code=refused.code, run=run.hex())
                return False
        return True

    def successor(kept: KeptWithdrawal, one: Used) -> str | None:
        if is_erased(kept.record):  # nobody here can tell any more who that was
            return None
        others = parts.others_of(node.lifetime, node.identity, kept.record, one)
        run = bytes.fromhex(one.run)
        return next(
            (
                other
                for other in others
                if is_replaced(node.chain, node.founding, run, by=bytes.fromhex(other))
            ),
            None,
        )

    def entered(document: Document) -> None:
        about = (f"study:{document.payload['study']}", f"digest:{document.digest.hex()}")
        node.audit.did("withdrawal-completed", about=about)

    return Pipeline(
        node.vault,
        node.completions,
        Surroundings(
            hospital=node.settings.org,
            identity=node.identity,
            clock=node.clock,
            used=used,
            retired=retired,
            ask_again=ask_again,
            successor=successor,
            entered=entered,
        ),
    )
