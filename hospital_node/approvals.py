"""What this hospital has agreed to: signed studies and plans that a person here approved.

Files under ``studies/NAME/``, exactly as the coordinator signed them. A plan that is not here, byte
for byte by its digest, is not run, whoever sends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from consent.study import KIND as STUDY_KIND
from consent.study import Study
from hospital_node.policy import require_approved
from hospital_node.settings import NodeSettings
from models import registry
from twinward import files
from twinward.errors import TrainingError, UsageError
from twinward.founding import Founding
from twinward.ids import study_id
from twinward.plan import KIND as PLAN_KIND
from twinward.plan import Plan
from twinward.signing import Document


@dataclass(frozen=True, slots=True)
class Approved:
    """A study and its plan that this hospital agreed to."""

    study: Study
    plan: Plan


def read(study_file: bytes, plan_file: bytes, *, founding: Founding) -> Approved:
    """Read both, requiring the coordinator's signature and that they belong together.

    Raises:
        IdentityError: TW2002, TW2004, not signed by this network's coordinator.
        UsageError: TW1020, TW1037 and what parsing raises.
        TwinModelError: TW7001, TW7005, another model than is installed here.
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
    return Approved(study, plan)


def approve(
    folder: Path, study_file: bytes, plan_file: bytes, *, founding: Founding, settings: NodeSettings
) -> Approved:
    """Check against the site's policy and keep both files; safe to repeat.

    The plan is written last: a crash in between leaves a study without a plan, which is not run.
    """
    approved = read(study_file, plan_file, founding=founding)
    require_approved(approved.plan, settings)
    place = folder / "studies" / approved.study.name
    place.mkdir(parents=True, exist_ok=True)
    files.write_atomic(place / "study.json", study_file)
    files.write_atomic(place / "plan.json", plan_file)
    return approved


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
