"""The site's policy: a plan is approved here or nowhere; the refusal names the rule."""

from __future__ import annotations

from hospital_node.settings import NodeSettings, StudyPolicy
from twinward.errors import TrainingError
from twinward.plan import Plan


def require_approved(plan: Plan, settings: NodeSettings) -> StudyPolicy:
    """The rule of this site that allows the plan.

    Raises:
        TrainingError: TW6002 unknown study, TW6003 a limit of the site is exceeded.
    """
    for policy in settings.studies:
        if policy.study == plan.study:
            break
    else:
        raise TrainingError(
            f"this hospital does not take part in the study `{plan.study}`",
            code="TW6002",
            at="node.toml: studies",
            help="add a [[studies]] entry if the hospital has agreed to it",
        )
    limits = {
        "models": plan.model in policy.models,
        "purposes": plan.purpose in policy.purposes,
        "max_epsilon": plan.epsilon <= policy.max_epsilon,
        "max_evaluation_epsilon": plan.evaluation is None
        or plan.evaluation.epsilon <= policy.max_evaluation_epsilon,
        "max_steps": plan.attempts <= policy.max_steps,
        "visible_updates": policy.visible_updates or not plan.visible_updates,
        "grades": set(plan.grades) <= set(policy.grades),
        "org": settings.org in plan.sites,
    }
    broken = [name for name, kept in limits.items() if not kept]
    if broken:
        raise TrainingError(
            f"the plan exceeds what this hospital agreed to: {', '.join(broken)}",
            code="TW6003",
            at=f"node.toml: studies[{plan.study}]",
            help="ask the coordinator for a plan within the agreement, or change the agreement",
        )
    return policy
