"""The rules of a site's policy: what each of them looks at, and what it says in words.

Pure functions of the terms, of what was agreed about the study, and of what is known at a moment.
A rule answers True or False, or None where the fact that it needs is not known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from hospital_node.policy_terms import ANY, SitePolicy, StudyPolicy
from twinward.plan import Plan


class Moment(Enum):
    """When the policy is asked; each later moment asks more."""

    PLAN = "when a plan is approved"
    RUN = "when a run begins"
    STEP = "before a vector is made"


@dataclass(frozen=True, slots=True)
class Asked:
    """A plan and what is known at the moment; None is not known.

    Attributes:
        plan: What the coordinator asks for.
        org: This hospital.
        now: Unix seconds.
        code: Digest of the code that would run, in hex.
        runs: Runs of this plan that began here, without the one that is asked for.
        signed_by: Names of the approvers whose signatures hold for this plan and these terms.
        cohort: Patients who permit it and are not kept out. Never leaves; no message names it.
    """

    plan: Plan
    org: str
    now: float
    code: str | None = None
    runs: int | None = None
    signed_by: frozenset[str] | None = None
    cohort: int | None = None


Answer = tuple[bool | None, str]
Rule = Callable[[SitePolicy, StudyPolicy, Asked], Answer]
_PLAN, _RUN, _STEP = Moment.PLAN, Moment.RUN, Moment.STEP
_ALWAYS = frozenset(Moment)


def _within(what: str, asked: float, most: float) -> Answer:
    relation = "at most" if asked <= most else "more than the"
    return asked <= most, f"{what} {asked:g}, {relation} {most:g} agreed to"


def _all_in(what: str, asked: set[str], allowed: tuple[str, ...]) -> Answer:
    beyond = set() if ANY in allowed else asked - set(allowed)
    if beyond:
        return False, f"{what} {', '.join(sorted(beyond))} not agreed to"
    return True, f"{what} {', '.join(sorted(asked)) or 'none'}"


def _take_part(site: SitePolicy, _: StudyPolicy, __: Asked) -> Answer:
    return site.take_part, "on" if site.take_part else "switched off: take_part = false"


def _org(_: SitePolicy, __: StudyPolicy, asked: Asked) -> Answer:
    named = asked.org in asked.plan.sites
    return named, f"the plan {'names' if named else 'does not name'} `{asked.org}`"


def _until(site: SitePolicy, study: StudyPolicy, asked: Asked) -> Answer:
    if study.until is None:
        return True, "no last day"
    holds = site.local(asked.now).date() <= study.until
    return holds, f"the agreement {'holds until' if holds else 'ended on'} {study.until}"


def _peers(_: SitePolicy, study: StudyPolicy, asked: Asked) -> Answer:
    others = {str(site) for site in asked.plan.sites} - {asked.org}
    if len(others) < study.fewest_peers:
        return False, f"{len(others)} peers, fewer than fewest_peers = {study.fewest_peers}"
    return _all_in("peers", others, study.peers)


def _models(_: SitePolicy, study: StudyPolicy, asked: Asked) -> Answer:
    return _all_in("model", {asked.plan.model}, study.models)


def _purposes(_: SitePolicy, study: StudyPolicy, asked: Asked) -> Answer:
    return _all_in("purpose", {asked.plan.purpose}, study.purposes)


def _grades(_: SitePolicy, study: StudyPolicy, asked: Asked) -> Answer:
    return _all_in("grades", set(asked.plan.grades), study.grades)


def _scopes(_: SitePolicy, study: StudyPolicy, asked: Asked) -> Answer:
    return _all_in("data", reads(asked.plan), study.scopes)


def _plans(_: SitePolicy, study: StudyPolicy, asked: Asked) -> Answer:
    if not study.plans:
        return True, "no list of plans"
    listed = asked.plan.digest.hex() in study.plans
    return listed, f"{asked.plan.digest.hex()[:16]} is {'on' if listed else 'not on'} the list"


def _max_epsilon(_: SitePolicy, study: StudyPolicy, asked: Asked) -> Answer:
    return _within("a run for epsilon", asked.plan.epsilon, study.max_epsilon)


def _max_evaluation_epsilon(_: SitePolicy, study: StudyPolicy, asked: Asked) -> Answer:
    if asked.plan.evaluation is None:
        return True, "no evaluation"
    return _within(
        "measured for epsilon", asked.plan.evaluation.epsilon, study.max_evaluation_epsilon
    )


def _max_steps(_: SitePolicy, study: StudyPolicy, asked: Asked) -> Answer:
    return _within("steps and spare attempts", asked.plan.attempts, study.max_steps)


def _visible(_: SitePolicy, study: StudyPolicy, asked: Asked) -> Answer:
    if not asked.plan.visible_updates:
        return True, "updates leave masked"
    return study.visible_updates, "updates leave WITHOUT masks"


def _code(site: SitePolicy, _: StudyPolicy, asked: Asked) -> Answer:
    if not site.code:
        return True, "no list of code"
    if asked.code is None:
        return None, "not known which code would run"
    listed = asked.code in site.code
    return listed, f"installed code {asked.code[:16]} is {'on' if listed else 'not on'} the list"


def _hours(site: SitePolicy, _: StudyPolicy, asked: Asked) -> Answer:
    if not site.hours:
        return True, "at any time"
    inside = site.open_at(asked.now)
    here = site.local(asked.now).strftime("%a %H:%M")
    where = "inside" if inside else "outside of"
    return inside, f"{here} in {site.time_zone} is {where} {', '.join(site.hours)}"


def _max_runs(_: SitePolicy, study: StudyPolicy, asked: Asked) -> Answer:
    if study.max_runs is None:
        return True, "no cap"
    if asked.runs is None:
        return None, "not known how many runs there were"
    left = asked.runs < study.max_runs
    return left, f"{asked.runs} of {study.max_runs} runs of this plan were begun"


def _approvals(site: SitePolicy, _: StudyPolicy, asked: Asked) -> Answer:
    if site.approvals == 0:
        return True, "whoever may run `twinward node approve` here"
    if asked.signed_by is None:
        return None, f"{site.approvals} signatures are needed"
    names = ", ".join(sorted(asked.signed_by)) or "nobody"
    enough = len(asked.signed_by) >= site.approvals
    return enough, f"signed by {names}; {site.approvals} needed"


def _minimum_cohort(site: SitePolicy, study: StudyPolicy, asked: Asked) -> Answer:
    least = site.least(study)
    if asked.cohort is None:
        return None, f"{least} patients are needed"
    enough = asked.cohort >= least
    return enough, f"{'at least' if enough else 'fewer than'} {least} patients permit it"


RULES: tuple[tuple[str, frozenset[Moment], Rule], ...] = (
    ("take_part", _ALWAYS, _take_part),
    ("org", _ALWAYS, _org),
    ("until", _ALWAYS, _until),
    ("peers", _ALWAYS, _peers),
    ("models", _ALWAYS, _models),
    ("purposes", _ALWAYS, _purposes),
    ("grades", _ALWAYS, _grades),
    ("scopes", _ALWAYS, _scopes),
    ("plans", _ALWAYS, _plans),
    ("max_epsilon", _ALWAYS, _max_epsilon),
    ("max_evaluation_epsilon", _ALWAYS, _max_evaluation_epsilon),
    ("max_steps", _ALWAYS, _max_steps),
    ("visible_updates", _ALWAYS, _visible),
    ("code", _ALWAYS, _code),
    ("approvals", frozenset({_RUN, _STEP}), _approvals),
    ("hours", frozenset({_RUN, _STEP}), _hours),
    ("max_runs", frozenset({_RUN, _STEP}), _max_runs),
    # At a step it would tell outsiders that somebody withdrew: a run begins with enough or not.
    ("minimum_cohort", frozenset({_RUN}), _minimum_cohort),
)
"""Every rule but the first, ``study``: its name, when it is asked, and what it says."""


def reads(plan: Plan) -> set[str]:
    """What of a patient's record the plan's model reads: columns, or a history of readings."""
    columns = plan.model_spec.get("columns", ())
    return {str(column["name"]) for column in columns} or {"history"}
