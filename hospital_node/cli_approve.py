"""Commands of ``twinward node`` by which people approve plans: approve, and the approvers' keys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from twinward.console import emit, json_option, next_step, reports_errors, say
from twinward.files import read_given

if TYPE_CHECKING:
    from consent.study import Study
    from hospital_node.approvals import Outcome
    from twinward.plan import Plan
    from twinward.signing import Identity

FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
FILE_PATH = click.Path(path_type=Path, dir_okay=False)


@click.command()
@FOLDER
@click.argument("study", type=FILE_PATH)
@click.argument("plan", type=FILE_PATH)
@click.option(
    "--attack/--no-attack", default=True, show_default=True,
    help="First attack the code that would run the plan, with made-up patients.",
)  # fmt: skip
@click.option("--key", type=FILE_PATH, help="Your approver's key; where the policy asks for one.")
@click.option("--yes", is_flag=True, help="Sign without being asked once more.")
@json_option
@reports_errors
def approve(
    *, folder: Path, study: Path, plan: Path, attack: bool, key: Path | None, yes: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Say what PLAN costs a patient and what it changes, then approve STUDY and PLAN."""
    from hospital_node import accounts, approvals, audit_log, membership, policy_file
    from hospital_node.settings import FILE, NodeSettings
    from twinward.clock import SystemClock
    from twinward.settings import load
    from twinward.signing import Identity

    files, founding = (read_given(study), read_given(plan)), membership.load_founding(folder)
    approved = approvals.read(*files, founding=founding)
    asked = approved.plan
    policy, by = policy_file.read(folder).policy, Identity.load(key) if key else None
    signing = [f"approver:{one.name}" for one in policy.approvers if by and one.key == _hex(by)]
    about = [f"digest:{asked.digest.hex()}", *signing]
    audit_log.commanded(folder, "approve", about=about)
    cost = accounts.price_of(folder, files[1])
    say(cost["text"])
    changed = approvals.changes(folder, asked, founding=founding)
    say(_changes(changed))
    say(_left_out(approved.study))
    attacked = attack and _withstands(asked)
    if by is not None and not yes:
        click.confirm("Sign it?", abort=True, err=True)
    outcome = approvals.approve(
        folder,
        *files,
        founding=founding,
        policy=policy,
        org=load(NodeSettings, folder / FILE).org,
        now=SystemClock().now(),
        by=by,
    )
    agreed = outcome.approved.plan
    emit(
        {
            "price": cost,
            "study": agreed.study,
            "plan": agreed.digest.hex(),
            "epsilon": agreed.epsilon,
            "delta": agreed.delta,
            "holdout_share": agreed.holdout_share,
            "evaluation_epsilon": agreed.evaluation and agreed.evaluation.epsilon,
            "sizes": agreed.sizes and dict(zip(agreed.sites, agreed.sizes.classes, strict=True)),
            "least_percent": agreed.sizes and agreed.sizes.least_percent,
            "mode": agreed.aggregate,
            "visible_updates": agreed.visible_updates,
            "optional": {one.name: list(one.columns) for one in approved.study.optional},
            "attacked": attacked,
            "changed": changed,
            "approved": outcome.complete,
            "signed_by": sorted(outcome.signed_by),
            "needed": outcome.needed,
        },
        schema="node.approve",
        as_json=as_json,
        text=lambda: (
            f"{_standing(outcome)} `{agreed.study}`: {agreed.model}, {agreed.steps} steps and "
            f"{agreed.spare_attempts} spare, epsilon {agreed.epsilon:g} at delta "
            f"{agreed.delta:g}{_local(agreed)}{_held_out(agreed)}{_sizes(agreed)}"
            f"\nplan {agreed.digest.hex()}"
        ),
    )
    if outcome.complete:
        next_step(f"twinward node letters {folder} --study {agreed.study} --out LETTERS")
    else:
        next_step(f"another approver: twinward node approve {folder} {study} {plan} --key THEIRS")


def _hex(identity: Identity) -> str:
    return identity.public.raw.hex()


def _changes(changed: Sequence[str] | None) -> str:
    if changed is None:
        return "it is the first plan of this study here"
    if not changed:
        return "it is the plan that was approved here last, unchanged"
    lines = (f"  {line}" for line in changed)
    return "\n".join(("against the plan that was approved here last:", *lines))


def _standing(outcome: Outcome) -> str:
    if outcome.complete:
        return "approved"
    return f"NOT approved yet, {len(outcome.signed_by)} of {outcome.needed} have signed,"


def _withstands(plan: Plan) -> bool:
    """Whether the code that runs this plan was attacked; stops where an attack refutes the claim.

    Raises:
        BudgetError: TW4400.
    """
    from hospital_node.privacy.audit import report

    if plan.aggregate != "secure_sum":
        say(f"not attacked: there are no attacks on plans of mode `{plan.aggregate}` yet")
        return False
    say("attacking the code that runs this plan, with made-up patients ...")
    found = report.audit(plan, size=report.QUICK)
    found.require_passed()
    say(f"{len(found.checks)} attacks, none refuted the claim")
    return True


def _local(plan: Plan) -> str:
    if plan.fedavg is None:
        return ""
    hidden = "leaves WITHOUT a mask" if plan.visible_updates else "leaves masked"
    return (
        f"\neach of them is {plan.fedavg.local_steps} steps at this hospital, which adds all of "
        f"the noise; its update {hidden}"
    )


def _left_out(study: Study) -> str:
    if not study.optional:
        return "patients can leave nothing out: they say yes to all of it, or no"
    lines = (f"  {one.name}: {', '.join(one.columns)}" for one in study.optional)
    return "\n".join(("patients can leave out, with the columns of it:", *lines))


def _sizes(plan: Plan) -> str:
    if plan.sizes is None:
        return ""
    declared = ", ".join(f"{s} {c}" for s, c in zip(plan.sites, plan.sizes.classes, strict=True))
    return (
        f"\nevery step needs hospitals with {plan.sizes.least_percent} % of the patients, by the "
        f"sizes that hospitals declare: {declared}"
    )


def _held_out(plan: Plan) -> str:
    if plan.evaluation is None:
        return ""
    return (
        f"\n{plan.evaluation.holdout_share:.0%} of the patients are kept out of training to "
        f"measure the model, at epsilon {plan.evaluation.epsilon:g} for each of them"
    )


@click.group()
def approver() -> None:
    """The people who may approve plans here, each by a key of their own."""


@approver.command()
@click.argument("out", type=FILE_PATH)
@json_option
@reports_errors
def key(*, out: Path, as_json: bool) -> None:
    """Make a key for one person in the new file OUT; keep it where only that person can read it."""
    from twinward.signing import Identity

    out.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Identity.generate()
    made.save(out)
    emit(
        {"file": str(out), "key": _hex(made)},
        schema="node.approver.key",
        as_json=as_json,
        text=lambda: f"{_hex(made)}\nsecret key in {out}",
    )
    next_step(f"twinward node approver add FOLDER --name YOURS --key {_hex(made)}")


@approver.command()
@FOLDER
@click.option("--name", required=True, help="Short name of the person.")
@click.option("--key", "public", required=True, help="Public key that `key` printed.")
@json_option
@reports_errors
def add(*, folder: Path, name: str, public: str, as_json: bool) -> None:
    """Name one more person in the policy; plans need new signatures after it."""
    from hospital_node import audit_log, policy_file
    from twinward.organisation import Organisation

    policy_file.read(folder)
    if Organisation(folder).founding_file.exists():  # before that there is no log to enter it in
        audit_log.commanded(folder, "add-approver")
    site = policy_file.add_approver(folder, name=name, key=public).policy
    emit(
        {"approvers": [one.name for one in site.approvers], "needed": site.approvals},
        schema="node.approver.add",
        as_json=as_json,
        text=lambda: (
            f"approvers: {', '.join(one.name for one in site.approvers)}; "
            f"a plan needs {site.approvals} of them"
        ),
    )
    if site.approvals < 2 <= len(site.approvers):
        next_step(f"set `approvals = 2` in {folder / policy_file.FILE}")


COMMANDS = (approve, approver)
