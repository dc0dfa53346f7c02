"""The privacy statement of a plan, before anything is computed, checked against the mechanism."""

from __future__ import annotations

import math

from hospital_node.privacy.lifetime import LIFETIME_MU2
from hospital_node.privacy.mechanism import Mechanism
from ledger import verify
from twinward.errors import BudgetError
from twinward.plan import Plan
from twinward.statement import PrivacyStatement


def of_plan(
    plan: Plan, *, members: int | None = None, lifetime_mu2: float = LIFETIME_MU2
) -> PrivacyStatement:
    """What the plan promises when ``members`` hospitals sum; all of them by default.

    The numbers are the offline verifier's; what the node's mechanism would guarantee must agree.

    Raises:
        BudgetError: TW4402, mechanism and verifier disagree; and what ``Mechanism`` refuses.
    """
    count = len(plan.sites) if members is None else members
    guarantee = Mechanism(plan).guarantee(count)
    payload = plan.to_document().payload
    privacy = verify.privacy_statement(
        payload, member_counts=[count], charged=dict.fromkeys(plan.sites, plan.attempts)
    )
    same = (
        math.isclose(guarantee.mu, privacy["mu"], rel_tol=1e-6)
        and guarantee.members - guarantee.colluders == privacy["fewest_honest_shares"]
        and guarantee.share_sd * math.sqrt(privacy["fewest_honest_shares"])
        >= privacy["noise_multiplier"] * plan.max_grad_norm * (1 - 1e-9)
    )
    if not same:
        raise BudgetError(
            "the node's mechanism and the offline verifier disagree about this plan",
            code="TW4402",
            help="state nothing and train nothing with this version; report it",
        )
    return PrivacyStatement(payload, privacy, lifetime_mu2)
