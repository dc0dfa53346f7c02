"""What this hospital has agreed to: signed studies and plans that people here approved.

Files under ``studies/NAME/``, exactly as the coordinator signed them. A plan that is not here, byte
for byte by its digest, is not run, whoever sends it. Where the policy asks for approvers, each of
them signs study, plan and the terms of the policy with a key of their own; what still lacks a
signature waits under ``pending/`` and is no approval. Changed terms need new signatures.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from consent.study import KIND as STUDY_KIND
from consent.study import Study
from hospital_node import policy_code
from hospital_node.policy import require
from hospital_node.policy_file import differences
from hospital_node.policy_rules import Asked, Moment
from hospital_node.policy_terms import SitePolicy
from models import registry
from twinward import canonical, files
from twinward.errors import IdentityError, TrainingError, TwinwardError, UsageError
from twinward.founding import Founding
from twinward.ids import OrgName, study_id
from twinward.plan import KIND as PLAN_KIND
from twinward.plan import Plan
from twinward.signing import Document, Identity, PublicIdentity

APPROVAL_KIND = "twinward/plan-approval/v1"
_APPROVAL, _PENDING = "approval.json", "pending"


@dataclass(frozen=True, slots=True)
class Approved:
    """A study and its plan that this hospital agreed to."""

    study: Study
    plan: Plan


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a plan has come.

    Attributes:
        approved: Study and plan.
        signed_by: Approvers whose signatures hold, by name.
        needed: How many the policy asks for.
    """

    approved: Approved
    signed_by: frozenset[str]
    needed: int

    @property
    def complete(self) -> bool:
        """Whether the plan is approved; otherwise it waits for another person."""
        return len(self.signed_by) >= self.needed


def read(study_file: bytes, plan_file: bytes, *, founding: Founding) -> Approved:
    """Read both, requiring the coordinator's signature and that they belong together.

    Raises:
        IdentityError: TW2002, TW2004, not signed by this network's coordinator.
        UsageError: TW1020, TW1037 and what parsing raises.
        TwinModelError: TW7001, TW7005, another model than is installed here; TW7006, patients
            could leave out what the model needs.
    """
    study_document = Document.decode(study_file, kind=STUDY_KIND, at="study file")
    plan_document = Document.decode(plan_file, kind=PLAN_KIND, at="plan file")
    for document in (study_document, plan_document):
        document.verify(founding.coordinator.identity)
    study, plan = Study.from_json(study_document.payload), Plan.from_document(plan_document)
    genesis = str(founding.chain["genesis_hash"])
    together = (
        study.name == plan.study
        and study.purpose == plan.purpose
        and study.network == plan.network == genesis
    )
    if not together:
        raise UsageError(
            "the study and the plan do not belong together, or not to this network",
            code="TW1037",
            help="ask the coordinator for both files of the study",
        )
    registry.require_same_spec(plan.model, plan.model_spec, sites=plan.sites)
    registry.require_may_lack(plan.model, study.optional_columns)
    return Approved(study, plan)


def approve(
    folder: Path,
    study_file: bytes,
    plan_file: bytes,
    *,
    founding: Founding,
    policy: SitePolicy,
    org: OrgName,
    now: float,
    by: Identity | None = None,
) -> Outcome:
    """Check against the site's policy and keep both files, or one signature more; safe to repeat.

    The plan is written last: a crash in between leaves a study without a plan, or signatures that
    are not for the plan that stands there, and neither is run.

    Raises:
        TrainingError: The policy does not permit it; see ``policy.require``.
        UsageError: TW7310 a key is needed, TW7312 this person has signed it already.
        IdentityError: TW7311, the key is of no approver.
    """
    approved = read(study_file, plan_file, founding=founding)
    code = policy_code.installed() if policy.code else None
    require(policy, Asked(approved.plan, org, now, code=code), at=Moment.PLAN)
    place = folder / "studies" / approved.study.name
    place.mkdir(parents=True, exist_ok=True)
    asked = _statement(approved, policy, org=org)
    document = _collected(place, asked)
    if policy.approvals or by is not None:
        document = _with_signature(document, policy, by)
    outcome = Outcome(approved, _names(document, policy), policy.approvals)
    target = place if outcome.complete else place / _PENDING
    target.mkdir(exist_ok=True)
    files.write_atomic(target / "study.json", study_file)
    files.write_atomic(target / _APPROVAL, document.encode())
    files.write_atomic(target / "plan.json", plan_file)
    if outcome.complete and (place / _PENDING).is_dir():
        for name in ("plan.json", _APPROVAL, "study.json"):
            (place / _PENDING / name).unlink(missing_ok=True)
    return outcome


def changes(folder: Path, plan: Plan, *, founding: Founding) -> tuple[str, ...] | None:
    """How a plan differs from the one that was approved last; None if none was."""
    try:
        known = load(folder, plan.study, founding=founding).plan
    except TwinwardError:
        return None
    return differences(known.to_document().payload, plan.to_document().payload)


def signers(
    folder: Path, approved: Approved, policy: SitePolicy, *, org: OrgName
) -> frozenset[str]:
    """Approvers who signed exactly this study and plan under exactly these terms, by name."""
    place = folder / "studies" / study_id(approved.study.name)
    try:
        document = Document.decode((place / _APPROVAL).read_bytes(), kind=APPROVAL_KIND)
    except (OSError, TwinwardError):
        return frozenset()
    if document.message != _statement(approved, policy, org=org).message:
        return frozenset()
    return _names(document, policy)


def load(folder: Path, name: str, *, founding: Founding) -> Approved:
    """The approved study of this name.

    Raises:
        TrainingError: TW6004, this hospital has not approved it.
    """
    place = folder / "studies" / study_id(name)
    try:
        study_file = (place / "study.json").read_bytes()
        plan_file = (place / "plan.json").read_bytes()
    except FileNotFoundError as error:
        raise TrainingError(
            f"this hospital has not approved the study `{name}`",
            code="TW6004",
            at=str(place),
            help="review its files and run `twinward node approve`",
        ) from error
    return read(study_file, plan_file, founding=founding)


def names(folder: Path) -> list[str]:
    """The studies that are approved here."""
    return sorted(path.parent.name for path in folder.glob("studies/*/plan.json"))


def _statement(approved: Approved, policy: SitePolicy, *, org: OrgName) -> Document:
    """What every approver signs: the same words for all, so that signatures gather on one."""
    terms = policy.model_dump(mode="json", exclude={"contacts", "studies"})
    study = policy.of(approved.study.name)
    terms["study"] = None if study is None else study.model_dump(mode="json")
    return Document(
        APPROVAL_KIND,
        {
            "org": org,
            "plan": approved.plan.digest.hex(),
            "study": Document(STUDY_KIND, approved.study.to_json()).digest.hex(),
            "terms": canonical.tagged_hash("policy/v1", canonical.encode(terms)).hex(),
        },
    )


def _collected(place: Path, asked: Document) -> Document:
    """The signatures that were given to exactly this, in the place where it stands or waits."""
    for path in (place / _PENDING / _APPROVAL, place / _APPROVAL):
        with contextlib.suppress(OSError, TwinwardError):
            found = Document.decode(path.read_bytes(), kind=APPROVAL_KIND)
            if found.message == asked.message:
                return found
    return asked


def _with_signature(document: Document, policy: SitePolicy, by: Identity | None) -> Document:
    if by is None:
        raise UsageError(
            f"plans are approved here by {policy.approvals} people, each with a key of their own",
            code="TW7310",
            at="policy.toml: approvals",
            help="give your key with `--key FILE`; `twinward node approver key` makes one",
        )
    if by.public.raw.hex() not in {one.key for one in policy.approvers}:
        raise IdentityError(
            "this key is of nobody who may approve plans here",
            code="TW7311",
            at="policy.toml: approvers",
            help="use the key that stands there, or run `twinward node approver add`",
        )
    known = _names(document, policy)
    again = by.public.fingerprint in {who for who, _ in document.signatures}
    if again and len(known) < policy.approvals:
        raise UsageError(
            "you have signed this plan already; it needs another person",
            code="TW7312",
            note=f"{len(known)} of {policy.approvals} have signed",
            help="ask one of the other approvers to look at it and sign",
        )
    return document if again else document.signed_by(by)


def _names(document: Document, policy: SitePolicy) -> frozenset[str]:
    """Approvers named in the policy whose signature verifies."""
    found = set()
    for one in policy.approvers:
        with contextlib.suppress(IdentityError):
            document.verify(PublicIdentity(bytes.fromhex(one.key)))
            found.add(one.name)
    return frozenset(found)
