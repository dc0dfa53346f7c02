"""Studies and their plans: made once, signed by the coordinator, sent to hospitals as files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from consent.study import KIND as STUDY_KIND
from consent.study import Study
from models import registry
from twinward import files
from twinward.errors import UsageError
from twinward.founding import Founding
from twinward.ids import OrgName, StudyId, study_id
from twinward.plan import GRID_STEPS_PER_NORM, Plan
from twinward.plan import KIND as PLAN_KIND
from twinward.signing import Document, Identity, PublicIdentity, random_hex32

_YEAR_SECONDS = 365 * 86_400


@dataclass(frozen=True, slots=True)
class Template:
    """What a kind of study is unless its maker says otherwise; tuned on other data splits.

    ``divisor`` is the public constant that a summed gradient is divided by: about the number of
    patients that the study expects, never a count of those who came.
    """

    model: str
    title: str
    purpose: str
    categories: tuple[str, ...]
    epsilon: float = 1.0
    delta: float = 1e-5
    steps: int = 30
    spare_attempts: int = 3
    averaged_steps: int = 15
    max_grad_norm: float = 2.0
    learning_rate: float = 0.45
    divisor: int = 600
    max_patients_per_hospital: int = 4096
    deadline_seconds: float = 5.0


HYPER_PARAMETERS = (
    "steps, learning rate, clipping norm and input scales were chosen beforehand on other splits "
    "of the public UCI heart-disease records; none was tuned on the patients of this run"
)

TEMPLATES = {
    "heart-risk": Template(
        model="cardiac_risk/1",
        title="Who is at risk of heart disease?",
        purpose="heart-research",
        categories=("age and sex", "blood pressure and blood tests", "heart examinations"),
    ),
}


def template(name: str) -> Template:
    """The template of this name.

    Raises:
        UsageError: TW1038, there is none.
    """
    try:
        return TEMPLATES[name]
    except KeyError as error:
        raise UsageError(
            f"there is no template for a study `{name}`",
            code="TW1038",
            help=f"use one of: {', '.join(TEMPLATES)}",
        ) from error


def make(
    template: Template,
    *,
    name: StudyId,
    founding: Founding,
    sites: tuple[OrgName, ...],
    slot_seconds: float,
    now: float,
) -> tuple[Study, Plan]:
    """A study and its plan for these hospitals.

    ``slot_seconds`` is the fixed time after each sum at which every hospital sends, whatever its
    size; longer hides more of how long it computed.
    """
    genesis = str(founding.chain["genesis_hash"])
    model = registry.get(template.model)
    spec = model.spec(sites)
    study = Study(
        network=genesis,
        name=name,
        salt=random_hex32(),
        title=template.title,
        purpose=template.purpose,
        categories=template.categories,
        closes=int(now) + _YEAR_SECONDS,
    )
    plan = Plan(
        network=genesis,
        study=name,
        model=template.model,
        sites=sites,
        steps=template.steps,
        spare_attempts=template.spare_attempts,
        averaged_steps=template.averaged_steps,
        epsilon=template.epsilon,
        delta=template.delta,
        max_grad_norm=template.max_grad_norm,
        learning_rate=template.learning_rate,
        divisor=template.divisor,
        grid=template.max_grad_norm / GRID_STEPS_PER_NORM,
        word_bits=64,
        max_patients_per_hospital=template.max_patients_per_hospital,
        slot_seconds=slot_seconds,
        deadline_seconds=template.deadline_seconds,
        purpose=template.purpose,
        grades=("signed-on-device",),
        model_spec=spec,
        start_weights=tuple(float(weight) for weight in model.start(spec)),
    )
    plan.require_consistent()
    return study, plan


def publish(folder: Path, study: Study, plan: Plan, *, identity: Identity) -> tuple[Path, Path]:
    """Sign both and write them to ``folder/studies/NAME/``; an existing study is never replaced.

    Raises:
        UsageError: TW1036, the study exists.
    """
    place = study_folder(folder, study.name)
    if (place / "plan.json").exists():
        raise UsageError(
            f"the study `{study.name}` exists already",
            code="TW1036",
            at=str(place),
            help="a plan is approved by its hash and never changed; choose another name",
        )
    place.mkdir(parents=True, exist_ok=True)
    study_document = Document(STUDY_KIND, study.to_json()).signed_by(identity)
    files.write_atomic(place / "study.json", study_document.encode())
    files.write_atomic(place / "plan.json", plan.to_document().signed_by(identity).encode())
    return place / "study.json", place / "plan.json"


@dataclass(frozen=True, slots=True)
class SignedStudy:
    """A study of this coordinator, as it signed it."""

    digest: bytes
    plan: Plan
    plan_document: Document
    hyper_parameters: str


def load(folder: Path, name: str, *, identity: PublicIdentity) -> SignedStudy:
    """The study of this name, with its own signature checked again.

    Raises:
        UsageError: TW1039, there is none.
    """
    place = study_folder(folder, study_id(name))
    try:
        study_file = (place / "study.json").read_bytes()
        plan_file = (place / "plan.json").read_bytes()
    except FileNotFoundError as error:
        raise UsageError(
            f"there is no study `{name}` here",
            code="TW1039",
            at=str(place),
            help="make it with `twinward server plan`",
        ) from error
    study = Document.decode(study_file, kind=STUDY_KIND, at=str(place / "study.json"))
    plan = Document.decode(plan_file, kind=PLAN_KIND, at=str(place / "plan.json"))
    for document in (study, plan):
        document.verify(identity)
    return SignedStudy(study.digest, Plan.from_document(plan), plan, HYPER_PARAMETERS)


def study_folder(folder: Path, name: str) -> Path:
    """Where a study's files lie."""
    return folder / "studies" / study_id(name)
