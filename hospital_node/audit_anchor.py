"""Bringing heads of this hospital's audit log to the ledger, through the gate."""

from __future__ import annotations

from functools import partial

from hospital_node.node import Node
from ledger.audit.anchoring import Anchoring, LedgerAnchor


def anchoring(node: Node) -> Anchoring:
    """What brings heads of this node's log at fixed times, once it is started."""
    out = partial(node.egress.let_out, "ledger", "audit-head", to="ledger")
    anchor = LedgerAnchor(
        node.chain,
        rpc=node.rpc,
        tip=node.follower.tip,
        leaving=lambda size: out(size=size),
    )
    return Anchoring(node.audit.log, anchor, every_seconds=node.settings.audit_anchor_seconds)
