"""What a node tells its own staff about itself. None of it leaves the hospital."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from hospital_node.settings import FILE, NodeSettings
from twinward.console import table
from twinward.errors import TwinwardError, UsageError
from twinward.rpc.local import LocalAddress, local_channel
from twinward.rpc.messages_pb2 import Blob, Nothing
from twinward.rpc.messages_pb2_grpc import NodeLocalStub
from twinward.rpc.replies import refusal_of
from twinward.settings import load

if TYPE_CHECKING:
    from hospital_node.node import Node
    from hospital_node.supervise import SuperNode
    from hospital_node.witness import WitnessThread


def describe(node: Node, supernode: SuperNode, witness: WitnessThread | None) -> dict[str, Any]:
    """The node's state as JSON values; called in the daemon."""
    from hospital_node import approvals, holdout, kill_switch  # noqa: PLC0415 - the daemon has it, the command does not
    from hospital_node.privacy.lifetime import LIFETIME_DELTA  # noqa: PLC0415
    from hospital_node.twins.validation_standing import (  # noqa: PLC0415
        standing as validation_standing,
    )

    standing = node.follower.standing
    confirmed, trouble = standing.confirmed, standing.trouble
    policy = node.rules.standing()
    stopped = kill_switch.standing(node.folder)
    studies = []
    for name in approvals.names(node.folder):
        approved = approvals.load(node.folder, name, founding=node.founding)
        entry: dict[str, Any] = {"study": name, "plan": approved.plan.digest.hex()}
        with contextlib.suppress(TwinwardError):  # the trouble is told below
            entry["cohort"] = int(node.cohort(approved).mask().sum())
        studies.append(entry)
    return {
        "org": node.settings.org,
        "pid": os.getpid(),
        "network": node.founding.network,
        "healthy": (
            supernode.is_online
            and trouble is None
            and policy["trouble"] is None
            and _can_confirm(node)
        ),
        "policy": policy,
        "training_stopped": stopped,
        "supernode": {"online": supernode.is_online, "restarts": supernode.restarts},
        "ledger": {
            "block": node.mirror.block,
            "head": _head(node),
            "confirmed_seconds_ago": (
                None if confirmed is None else round(node.clock.now() - confirmed.time, 1)
            ),
            "witnesses": 0 if witness is None else witness.standing.witnesses,
            "witness": None if witness is None else witness.as_json(),
            "trouble": None if trouble is None else trouble.diagnostic.as_json(),
        },
        "not_on_ledger": _refused(node),
        "patients": len(node.rows),
        "studies": studies,
        "budget": {
            "unit": "one patient at this hospital, over the life of the data",
            "epsilon_spent": round(node.epsilon_spent(holdout.NEVER), 4),
            "epsilon_spent_if_held_out": round(node.epsilon_spent(holdout.PERHAPS), 4),
            "epsilon_limit": node.settings.lifetime_epsilon,
            "delta": LIFETIME_DELTA,
            "patients_nearly_spent": int(node.lifetime.nearly_spent().sum()),
        },
        "audit": node.audit.log.standing(),
        "validation": validation_standing(
            node.folder, now=node.clock.now(), every_days=node.settings.revalidate_days
        ),
        "running": None if node.active is None else {"next_step": node.active.next_step},
    }


def _refused(node: Node) -> list[str]:
    try:
        return [reason for _, reason in node.relay.problems()]
    except TwinwardError:  # the vault is away: the trouble is told above
        return []


def _head(node: Node) -> str | None:
    try:
        return node.mirror.head.hex()
    except TwinwardError:
        return None


def _can_confirm(node: Node) -> bool:
    try:
        node.follower.confirm()
    except TwinwardError:
        return False
    return True


def status(folder: Path) -> dict[str, Any]:
    """Ask the daemon of this folder how it is.

    Raises:
        UsageError: as ``ask``.
    """
    return ask(folder, lambda node: node.Status(Nothing(), timeout=10))


def ask(folder: Path, question: Callable[[NodeLocalStub], Blob]) -> dict[str, Any]:
    """Ask the daemon of this folder something that it answers in JSON.

    Raises:
        UsageError: TW1050 no node here, TW1040 it is not running, TW1041 it did not answer.
        TwinwardError: What the daemon refuses.
    """
    load(NodeSettings, folder / FILE)
    address = LocalAddress.of(folder)
    with local_channel(address) as channel:
        try:
            blob = question(NodeLocalStub(channel))
        except grpc.RpcError as error:
            otherwise = UsageError(
                "the daemon of this folder does not answer",
                code="TW1041",
                at=str(address.socket),
                help="it may have been killed; start it again with `twinward node up`",
            )
            raise refusal_of(error, otherwise=otherwise) from error
    found: dict[str, Any] = json.loads(blob.data)
    return found


def as_text(found: dict[str, Any]) -> str:
    """The state for people."""
    from ledger.audit.anchoring import in_words  # noqa: PLC0415 - --help must be instant

    ledger, budget = found["ledger"], found["budget"]
    rows = [
        ("node", f"{found['org']} of {found['network']}, pid {found['pid']}"),
        ("health", "green" if found["healthy"] else "RED"),
        ("supernode", "online" if found["supernode"]["online"] else "offline"),
        (
            "ledger",
            (
                f"block {ledger['block']}, confirmed {ledger['confirmed_seconds_ago']} s ago, "
                f"1 operator, {ledger['witnesses']} witnesses"
            ),
        ),
        ("consent head", (ledger["head"] or "unreadable")[:16]),
        ("audit log", in_words(found["audit"])),
        ("policy", _policy(found["policy"])),
        *_stopped(found["training_stopped"]),
        ("patients", str(found["patients"])),
        *(
            (f"study {study['study']}", f"{study.get('cohort', 'unknown')} patients permit it")
            for study in found["studies"]
        ),
        (
            "privacy spent",
            (
                f"epsilon {budget['epsilon_spent']:g} of {budget['epsilon_limit']:g} "
                f"at delta {budget['delta']:g}, worst case; "
                f"{budget['epsilon_spent_if_held_out']:g} of who is held out to measure models"
            ),
        ),
    ]
    if budget["patients_nearly_spent"]:
        rows.append(
            (
                "WARNING",
                f"{budget['patients_nearly_spent']} patients have used four fifths of their limit",
            )
        )
    rows += [(f"validation {one['what']}", _validated(one)) for one in found["validation"]]
    if found["not_on_ledger"]:
        rows.append(("refused by ledger", "; ".join(sorted(set(found["not_on_ledger"])))))
    if ledger["trouble"]:
        rows.append(("trouble", f"[{ledger['trouble']['code']}] {ledger['trouble']['message']}"))
    return table(("WHAT", "STATE"), rows)


def _stopped(found: dict[str, Any] | None) -> list[tuple[str, str]]:
    if found is None:
        return []
    said = f"since {found['since'] or 'unknown'} by {found['by'] or 'unknown'}"
    reason = f": {found['reason']}" if found["reason"] else ""
    return [("TRAINING STOPPED", said + reason)]


def _policy(found: dict[str, Any]) -> str:
    if found["trouble"]:
        return f"NONE, every run is refused: [{found['trouble']['code']}]"
    if not found["take_part"]:
        return "switched off: take_part = false"
    hours = "" if found["open_now"] else ", outside of its hours now"
    return f"{found['digest'][:16]}, {found['approvals']} approvers for a plan{hours}"


def _validated(one: dict[str, Any]) -> str:
    """How a model or twin stands that was validated here."""
    days, trouble = one["days_ago"], one["trouble"]
    said = "no report yet" if days is None else f"{days:g} days ago"
    said += ", OVERDUE" if one["overdue"] else ""
    said += f", [{trouble['code']}] {trouble['message']}" if trouble else ""
    return said + "".join(f", ALARM: {alarm}" for alarm in one["alarms"])
