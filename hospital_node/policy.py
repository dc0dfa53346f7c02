"""The site's policy: may this hospital do what a plan asks, now? One pure function, rule by rule.

No file, clock or ledger is read here: what a rule looks at is in ``Asked``. A rule that needs a
fact which nobody gave refuses; a plan is permitted when every rule that is asked at that moment
permits it.
"""

from __future__ import annotations

from dataclasses import dataclass

from hospital_node.policy_rules import RULES, Asked, Moment
from hospital_node.policy_terms import SitePolicy
from twinward.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether it may happen, which rule decided, and why in words.

    ``permit`` is None only in a list of verdicts, of a rule whose fact is not known.
    """

    permit: bool | None
    rule: str
    because: str


def verdicts(site: SitePolicy, asked: Asked) -> tuple[Decision, ...]:
    """What every rule says, also those that are asked later; the first is always ``study``."""
    study = site.of(asked.plan.study)
    if study is None:
        return (
            Decision(False, "study", f"this hospital does not take part in `{asked.plan.study}`"),
        )
    found = [Decision(True, "study", f"`{study.study}` was agreed to")]
    for name, _, rule in RULES:
        permit, because = rule(site, study, asked)
        found.append(Decision(permit, name, because))
    return tuple(found)


def decide(site: SitePolicy, asked: Asked, *, at: Moment) -> Decision:
    """Whether the plan is permitted at this moment; the first rule that does not permit decides."""
    due = {"study", *(name for name, moments, _ in RULES if at in moments)}
    for verdict in verdicts(site, asked):
        if verdict.rule in due and verdict.permit is not True:
            return Decision(False, verdict.rule, verdict.because)
    return Decision(True, "all", f"{len(due)} rules permit it {at.value}")


def require(site: SitePolicy, asked: Asked, *, at: Moment) -> None:
    """Refuse what the policy does not permit, naming the rule.

    Raises:
        TrainingError: TW6002 no such study, TW6005 too few patients, TW7302 switched off, TW7303
            outside of the hours, TW7304 too few signatures, TW7305 no run left, TW6003 all others.
    """
    decision = decide(site, asked, at=at)
    if decision.permit is not True:
        raise _REFUSALS.get(decision.rule, _beyond)(decision, asked)


def _beyond(decision: Decision, asked: Asked) -> TrainingError:
    return TrainingError(
        f"the plan exceeds what this hospital agreed to: {decision.rule}: {decision.because}",
        code="TW6003",
        at=f"policy.toml: studies[{asked.plan.study}]",
        help="ask the coordinator for a plan within the agreement, or change the agreement",
    )


def _no_study(decision: Decision, _: Asked) -> TrainingError:
    return TrainingError(
        decision.because,
        code="TW6002",
        at="policy.toml: studies",
        help="add a [[studies]] entry if the hospital has agreed to it",
    )


def _too_few(decision: Decision, _: Asked) -> TrainingError:
    return TrainingError(
        decision.because,
        code="TW6005",
        at="policy.toml: minimum_cohort",
        help="the hospital sits this run out; invite more patients or lower the minimum",
    )


def _switched_off(_: Decision, __: Asked) -> TrainingError:
    return TrainingError(
        "this hospital has switched its part in runs off",
        code="TW7302",
        at="policy.toml: take_part",
        help="set `take_part = true` when it shall go on; attempts made stay charged",
    )


def _closed(decision: Decision, _: Asked) -> TrainingError:
    return TrainingError(
        f"this hospital computes at other hours: {decision.because}",
        code="TW7303",
        at="policy.toml: hours",
        help="run it again inside of the hours, or change them; attempts made stay charged",
    )


def _unsigned(decision: Decision, _: Asked) -> TrainingError:
    return TrainingError(
        f"the plan lacks approvals under the policy as it is now: {decision.because}",
        code="TW7304",
        at="policy.toml: approvals",
        help="have another person run `twinward node approve` with a key of their own",
    )


def _no_run_left(decision: Decision, asked: Asked) -> TrainingError:
    return TrainingError(
        f"the runs that this hospital agreed to are used up: {decision.because}",
        code="TW7305",
        at=f"policy.toml: studies[{asked.plan.study}].max_runs",
        help="agree to more runs, or to another plan",
    )


_REFUSALS = {
    "study": _no_study,
    "minimum_cohort": _too_few,
    "take_part": _switched_off,
    "hours": _closed,
    "approvals": _unsigned,
    "max_runs": _no_run_left,
}
