"""One verdict over all attacks: the gate that a release passes, or does not.

Every attack answers with the chance of its finding if the claim were true. The claim is refuted
when one of them is below its part of one in a thousand, so a correct node fails less often than
that (Bonferroni), and a verdict *refuted* has at least 99.9 % confidence. Made-up patients and the
mechanism only: the verdict depends on no record, so a node may publish it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from hospital_node.privacy.audit import canaries, noise_test, sampler_test
from hospital_node.privacy.audit.canaries import Canary
from hospital_node.privacy.audit.one_run import FEWEST_NUMBERS, one_run
from hospital_node.privacy.audit.subject import Claim, Subject, magnified
from hospital_node.privacy.noise import Entropy
from twinward.console import table
from twinward.errors import BudgetError
from twinward.plan import Plan
from twinward.secsum.profile import MIN_MEMBERS

FALSE_ALARM = 0.9e-3
"""Of a whole audit of a correct node; the confidence of *refuted* is one minus this."""

_MOST_CHECKS = 40
_MOST_MEMBERS = 5
"""The canary game has this many hospitals at most: more only add empty ones and time."""
_MOST_DRAWS = 2e8
_FEWEST_TRAININGS = 30


@dataclass(frozen=True, slots=True)
class Size:
    """How hard to look: trainings per world of each game, and draws of noise."""

    own: int
    magnified: int
    hostile: int
    draws: int


QUICK = Size(own=120, magnified=100, hostile=30, draws=250_000)
FULL = Size(own=2500, magnified=400, hostile=60, draws=1_000_000)


@dataclass(frozen=True, slots=True)
class Check:
    """One attack: what it found, and how likely that is if the claim is true."""

    name: str
    found: str
    p: float

    @property
    def refuted(self) -> bool:
        """Whether the finding refutes the claim, with this check's part of the false alarms."""
        return self.p < FALSE_ALARM / _MOST_CHECKS


@dataclass(frozen=True, slots=True)
class Audit:
    """All attacks on one plan."""

    plan: str
    epsilon: float
    delta: float
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no attack refuted the claim. It does not prove the claim: mathematics does."""
        return not any(check.refuted for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "plan": self.plan,
            "epsilon": self.epsilon,
            "delta": self.delta,
            "passed": self.passed,
            "confidence_of_a_refutation": 1 - FALSE_ALARM,
            "checks": [
                {"name": c.name, "found": c.found, "p": c.p, "refuted": c.refuted}
                for c in self.checks
            ],
        }

    def require_passed(self) -> None:
        """Let a release go on, or stop it.

        Raises:
            BudgetError: TW4400, an attack refuted the privacy claim.
        """
        refuted = [check for check in self.checks if check.refuted]
        if refuted:
            raise BudgetError(
                f"the privacy claim of this plan is refuted by the attack `{refuted[0].name}`",
                code="TW4400",
                note=f"found {refuted[0].found}; {len(refuted)} of {len(self.checks)} attacks "
                "succeeded",
                help="release nothing and stop training with this version: what it claims about "
                "privacy is not true",
            )


def audit(
    plan: Plan,
    *,
    subject: Subject | None = None,
    size: Size = FULL,
    coins: Entropy = os.urandom,
) -> Audit:
    """Attack the code that runs this plan, in all ways: seconds if quick, half a minute if full.

    Args:
        plan: Whose claim is attacked.
        subject: The code path; by default the one that hospitals run.
        size: How many trainings.
        coins: Random bytes that decide which canaries take part; not the noise.

    Raises:
        BudgetError: TW4403, the plan is of another mode than ``secure_sum``.
    """
    if plan.aggregate != "secure_sum":
        raise BudgetError(
            f"the audit attacks plans of mode `secure_sum`, not `{plan.aggregate}`",
            code="TW4403",
            help="audit a `secure_sum` plan of the same model: engine and noise are the same",
        )
    under = subject or Subject.of(plan)
    checks = tuple(_checks(plan, under, size, coins))
    assert len(checks) <= _MOST_CHECKS  # noqa: S101 - the bound on false alarms rests on it
    return Audit(plan.digest.hex(), plan.epsilon, plan.delta, checks)


def _checks(plan: Plan, subject: Subject, size: Size, coins: Entropy) -> Iterator[Check]:
    attempts = subject.attempts_let_out(plan)
    paid = attempts <= plan.attempts
    yield Check("book", f"{attempts} vectors for the price of {plan.attempts}", float(paid))
    loud = (canaries.loud(subject, plan), canaries.loud(subject, plan, records=3))
    hostile = canaries.hostile(subject, plan)
    for canary in (*loud, *hostile):
        yield _reach(plan, subject, canary)
    glass = magnified(plan)
    small = plan.dimension < FEWEST_NUMBERS
    games = [
        *((plan, canary, size.own) for canary in loud[:1] if small),
        *((glass, canary, size.magnified) for canary in loud),
        *((plan, canary, size.hostile) for canary in hostile),
    ]
    for under, canary, trainings in games:
        yield _game(under, subject, canary, trainings=trainings, attempts=attempts)
    if plan.sampling is not None:
        for finding in sampler_test.examine(subject, plan, calls=size.draws // 50):
            yield Check(
                f"sampler: {finding.name}", f"{finding.value:.4f} ({finding.meaning})", finding.p
            )
    for members in sorted({MIN_MEMBERS, len(plan.sites)}):
        yield from _noise(plan, subject, members=members, draws=size.draws)
    if plan.evaluation is not None:
        counts = plan.for_evaluation()
        for check in _noise(counts, subject, members=len(plan.sites), draws=size.draws):
            yield replace(check, name=f"evaluation: {check.name}")
    if not small and subject.inputs is None:
        yield _one_run(magnified(plan, epsilon=2.0), subject, attempts=attempts, coins=coins)


def _reach(plan: Plan, subject: Subject, canary: Canary) -> Check:
    worst = canaries.reach(subject, plan, canary)
    return Check(
        f"reach of one patient: {canary.name}", f"{worst:.6f} clipping norms", float(worst <= 1.0)
    )


def _game(plan: Plan, subject: Subject, canary: Canary, *, trainings: int, attempts: int) -> Check:
    members = min(len(plan.sites), _MOST_MEMBERS)
    claim = Claim.of(plan, members=members)
    draws = 2 * attempts * plan.dimension * (members - claim.colluders)
    fewer = min(trainings, max(_FEWEST_TRAININGS, int(_MOST_DRAWS / draws)))
    scores = canaries.play(
        subject, plan, canary, trainings=fewer, attempts=attempts, members=members
    )
    confidence = 1 - FALSE_ALARM / _MOST_CHECKS
    if plan.sampling is None:
        found = canaries.estimate(scores, claim=claim, confidence=confidence)
    else:
        found = canaries.estimate_sampled(scores, plan=plan, claim=claim, confidence=confidence)
    return Check(
        f"canary at epsilon {plan.epsilon:g}: {canary.name}",
        f"mu {found.mu_hat:.3f}, at least {found.mu_low:.3f}, claimed {claim.mu:.3f}, "
        f"{2 * fewer} trainings",
        found.p,
    )


def _noise(plan: Plan, subject: Subject, *, members: int, draws: int) -> Iterator[Check]:
    claim = Claim.of(plan, members=members)
    share = claim.honest_sd / (members - claim.colluders) ** 0.5
    calls = max(400, -(-draws // plan.dimension))
    noise = noise_test.draw(subject, plan, members=members, calls=calls)
    for finding in noise_test.examine(noise, steps_per_unit=share / plan.grid):
        yield Check(
            f"noise of {members} members: {finding.name}",
            f"{finding.value:.4f} ({finding.meaning})",
            finding.p,
        )


def _one_run(plan: Plan, subject: Subject, *, attempts: int, coins: Entropy) -> Check:
    found = one_run(
        subject,
        plan,
        members=min(len(plan.sites), _MOST_MEMBERS),
        attempts=attempts,
        confidence=1 - FALSE_ALARM / _MOST_CHECKS,
        coins=coins,
    )
    return Check(
        f"one run with {found.canaries} canaries, at epsilon {plan.epsilon:g}",
        f"{found.right} of {found.calls} calls right; epsilon at least {found.epsilon_low:.2f}, "
        f"claimed {found.epsilon_claimed:.2f} at delta {found.delta:.0e}",
        found.p,
    )


def as_text(audit: Audit) -> str:
    """The report for people; the verdict last."""
    rows = [
        (check.name, check.found, f"{check.p:.2g}", "REFUTED" if check.refuted else "holds")
        for check in audit.checks
    ]
    verdict = (
        "no attack refuted the claim (this does not prove it: the mathematics does)"
        if audit.passed
        else f"the claim is REFUTED with {1 - FALSE_ALARM:.2%} confidence"
    )
    title = f"plan {audit.plan[:16]}, epsilon {audit.epsilon:g} at delta {audit.delta:g}"
    return f"{title}\n\n{table(('ATTACK', 'FOUND', 'P', 'CLAIM'), rows)}\n\n{verdict}"
