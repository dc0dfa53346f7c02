"""What the policy would say of a plan, without approving, charging or entering anything."""

from __future__ import annotations

from pathlib import Path

from hospital_node import membership, policy_code
from hospital_node.policy import Decision, decide, verdicts
from hospital_node.policy_rules import Asked, Moment
from hospital_node.policy_terms import SitePolicy
from twinward.clock import SystemClock
from twinward.errors import UsageError
from twinward.ids import OrgName
from twinward.plan import KIND as PLAN_KIND
from twinward.plan import Plan
from twinward.signing import Document

_NOT_JOINED = "TW1035"


def dry_run(
    folder: Path, plan_file: bytes, *, site: SitePolicy, org: OrgName
) -> tuple[tuple[Decision, ...], Decision]:
    """Every rule's verdict at this moment, and whether the plan could be approved.

    The coordinator's signature is required as soon as this hospital belongs to a network.

    Raises:
        UsageError: TW1011, TW1012, TW1020, it is no plan.
        IdentityError: TW2002, TW2004, the coordinator did not sign it.
    """
    document = Document.decode(plan_file, kind=PLAN_KIND, at="plan file")
    try:
        document.verify(membership.load_founding(folder).coordinator.identity)
    except UsageError as error:
        if error.code != _NOT_JOINED:
            raise
    plan = Plan.from_document(document)
    asked = Asked(plan, org, SystemClock().now(), code=policy_code.installed())
    return verdicts(site, asked), decide(site, asked, at=Moment.PLAN)
