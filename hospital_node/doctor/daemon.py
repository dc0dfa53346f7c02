"""Checks of the running node, by what it says of itself on this machine's own socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hospital_node.doctor.site import Site
from twinward.doctor.findings import Concern, NotChecked
from twinward.errors import ConsentError, Diagnostic, TrainingError
from twinward.rpc.replies import RemoteRefusal


def daemon(site: Site) -> str:
    """It answers, or is stopped; nothing in between."""
    return "not running" if site.status is None else f"running, pid {site.status['pid']}"


def rules(site: Site) -> str:
    """The policy that it holds."""
    _raise_told(_running(site)["policy"]["trouble"])
    return "read by the running node"


def consents(site: Site) -> str:
    """Its copy of the consents was confirmed lately."""
    ledger = _running(site)["ledger"]
    _raise_told(ledger["trouble"])
    age, limit = ledger["confirmed_seconds_ago"], site.settings.mirror_max_age_seconds
    if age is None:
        raise ConsentError(
            "the record of consents has not been confirmed since the node started",
            code="TW3103",
            help="wait a few seconds; if it stays, check ledger and coordinator",
        )
    if age > limit:
        raise ConsentError(
            f"the record of consents was last confirmed {age:.0f} s ago; this site's limit is "
            f"{limit:.0f} s",
            code="TW3104",
            help="bring the ledger and the coordinator back; withdrawals work meanwhile",
        )
    return f"confirmed {age:g} s ago"


def witnessing(site: Site) -> str:
    """Its own ledger node agrees with the ledger."""
    found = _running(site)["ledger"]
    if found["witness"] is None:
        raise NotChecked("witness is off")
    _raise_told(found["witness"]["trouble"])
    return f"block {found['witness']['block']}, {found['witnesses']} witnesses"


def supernode(site: Site) -> str:
    """Flower's part is accepted by the coordinator."""
    found = _running(site)["supernode"]
    if not found["online"]:
        raise TrainingError(
            "the SuperLink has not accepted this SuperNode",
            code="TW6221",
            at=str(site.state("supernode") / "supernode.log"),
            help="check that the coordinator is up and has this hospital's key",
        )
    return f"online, started again {found['restarts']} times"


def budget(site: Site) -> str:
    """Patients have privacy left to spend."""
    found = _running(site)["budget"]
    if found["patients_nearly_spent"]:
        raise Concern(
            f"{found['patients_nearly_spent']} patients have used four fifths of their limit",
            code="TW7363",
            help="see `twinward node price` for what a plan would cost; what was spent does not "
            "come back",
        )
    return f"epsilon {found['epsilon_spent']:g} of {found['epsilon_limit']:g}, worst case"


def _running(site: Site) -> dict[str, Any]:
    if site.status is None:
        raise NotChecked("the node is not running")
    return site.status


def _raise_told(trouble: Mapping[str, Any] | None) -> None:
    """What the daemon reports as its trouble, as the refusal that it is."""
    if trouble is not None:
        raise RemoteRefusal(
            Diagnostic(
                code=str(trouble["code"]),
                message=str(trouble["message"]),
                at=trouble.get("at"),
                note=trouble.get("note"),
                help=str(trouble["help"]),
                exit_status=int(trouble["exit"]),
            )
        )
