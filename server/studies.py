"""Studies and their plans: made once, signed by the coordinator, sent to hospitals as files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from consent.study import KIND as STUDY_KIND
from consent.study import OptionalCategory, Study
from models import prior_recipe, registry
from models.baseline.population import VITALS_START, WELLNESS_START
from models.cardiac_ecg import recipe as electrocardiogram
from models.cardiac_ecg.risk import ABNORMALITY, INFARCTION
from models.cardiac_risk import recipe as logistic
from models.census.population import WardCounts
from models.glucose.population import GlucosePrior
from models.glucose_forecast.population import GlucoseForecastStep
from models.mlp_risk import recipe as network
from twinward import files
from twinward.errors import UsageError
from twinward.founding import Founding
from twinward.ids import OrgName, StudyId, study_id
from twinward.plan import KIND as PLAN_KIND
from twinward.plan import Evaluation, Plan
from twinward.quorum import Sizes
from twinward.signing import Document, Identity, PublicIdentity, random_hex32

_YEAR_SECONDS = 365 * 86_400
_SILENCE_SECONDS = 5.0
"""How long after its slot a hospital may be silent before the attempt is given up."""


@dataclass(frozen=True, slots=True)
class Template:
    """A kind of study: what patients are asked, and how its model is trained."""

    recipe: Callable[..., Plan]
    title: str
    purpose: str
    categories: tuple[str, ...]
    expected_patients: int
    """Public guess over all hospitals; a summed gradient is divided by it, never by a count."""
    hyper_parameters: str
    """Where the numbers of the recipe come from; printed on the model card."""
    evaluation: Evaluation | None
    """How the finished model is measured unless the coordinator asks for something else."""
    optional: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Categories that a patient can leave out, and the columns of a record that hold each."""


_HEART: dict[str, Any] = {
    "title": "Who is at risk of heart disease?",
    "purpose": "heart-research",
    "categories": (
        "age and sex",
        "whether vessels of the heart are narrow",
        "blood pressure and blood tests",
        "heart examinations",
    ),
    "optional": {
        "blood pressure and blood tests": ("trestbps", "chol", "fbs"),
        "heart examinations": (
            "cp",
            "restecg",
            "thalach",
            "exang",
            "oldpeak",
            "slope",
            "ca",
            "thal",
        ),
    },
    "expected_patients": 900,
    "evaluation": logistic.EVALUATION,
}

_ECG: dict[str, Any] = {
    "purpose": "heart-research",
    "categories": ("electrocardiograms", "what cardiologists reported on them"),
    "expected_patients": 300,
    "evaluation": logistic.EVALUATION,
    "hyper_parameters": (
        "form of the network, steps, rates and norm were chosen beforehand on other splits of the "
        "public PTB-XL recordings; none was tuned on the patients of this run"
    ),
}

_TWINS: dict[str, Any] = {
    "purpose": "diabetes-research",
    "expected_patients": 80,
    "evaluation": None,
    "hyper_parameters": (
        "the length to which each patient's numbers are cut and the weight of the noise were "
        "chosen on virtual people and on public sensor records, none of them a patient of this run"
    ),
}

_BASELINE: dict[str, Any] = {
    "purpose": "health-research",
    "expected_patients": 400,
    "evaluation": None,
    "hyper_parameters": (
        "weights, ends and the length to which each patient's numbers are cut were chosen on "
        "made-up people; no patient was looked at"
    ),
}

_MOST_ADMITTED = 20_000
"""Patients of one hospital whose admissions are summed at most."""

_NETWORK_NUMBERS = (
    "layers, steps, learning rates and norms were chosen beforehand on made-up patients, input "
    "scales on other splits of the public UCI heart-disease records; none was tuned on the "
    "patients of this run"
)

TEMPLATES = {
    "heart-risk": Template(
        recipe=logistic.plan,
        hyper_parameters=(
            "steps, learning rate, clipping norm and input scales were chosen beforehand on other "
            "splits of the public UCI heart-disease records; none was tuned on the patients of "
            "this run"
        ),
        **_HEART,
    ),
    "heart-network": Template(
        recipe=network.plan,
        hyper_parameters=_NETWORK_NUMBERS,
        **_HEART,
    ),
    "heart-fedavg": Template(
        recipe=network.local_plan,
        hyper_parameters=_NETWORK_NUMBERS,
        **_HEART,
    ),
    "heart-robust": Template(
        recipe=partial(network.local_plan, local=network.ROBUST),
        hyper_parameters=_NETWORK_NUMBERS,
        **_HEART,
    ),
    "ecg-infarction": Template(
        recipe=partial(electrocardiogram.plan, model=INFARCTION.name),
        title="Does an electrocardiogram show an infarction?",
        **_ECG,
    ),
    "ecg-infarction-fedavg": Template(
        recipe=partial(electrocardiogram.local_plan, model=INFARCTION.name),
        title="Does an electrocardiogram show an infarction?",
        **_ECG,
    ),
    "ecg-abnormality": Template(
        recipe=partial(electrocardiogram.plan, model=ABNORMALITY.name),
        title="Is an electrocardiogram abnormal?",
        **_ECG,
    ),
    "glucose-prior": Template(
        recipe=partial(prior_recipe.plan, prior=GlucosePrior()),
        title="How do people with type-1 diabetes differ in what food and insulin do?",
        categories=("glucose readings", "meals as logged", "insulin doses as logged"),
        **_TWINS,
    ),
    "glucose-forecast": Template(
        recipe=partial(prior_recipe.plan, prior=GlucoseForecastStep()),
        title="How does glucose go on within the next hour?",
        categories=("glucose readings",),
        **_TWINS,
    ),
    "vitals-baseline": Template(
        recipe=partial(prior_recipe.plan, prior=VITALS_START),
        title="What are usual vital signs, and how much do one person's readings vary?",
        categories=("pulse, blood pressure, breathing, oxygen and temperature",),
        **_BASELINE,
    ),
    "wellness-baseline": Template(
        recipe=partial(prior_recipe.plan, prior=WELLNESS_START),
        title="What is usual sleep, pulse and weight, and how much do one person's days vary?",
        categories=("sleep, steps, resting pulse and weight",),
        **_BASELINE,
    ),
    "ward-counts": Template(
        recipe=partial(
            prior_recipe.plan, prior=WardCounts(), max_patients_per_hospital=_MOST_ADMITTED
        ),
        title="How long do patients stay, and on which weekdays do they come?",
        purpose="general-research",
        categories=("days of admission and how long each stay was",),
        expected_patients=2000,
        evaluation=None,
        hyper_parameters=(
            "parts of stays, and how far the sums are believed, were chosen on made-up wards; no "
            "patient was looked at"
        ),
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
    without: Collection[OrgName] = (),
    epsilon: float,
    slot_seconds: float,
    expected_patients: int | None,
    holdout_share: float | None = None,
    evaluation_epsilon: float | None = None,
    sample_rate: float | None = None,
    grades: Collection[str] = ("signed-on-device",),
    sizes: Mapping[str, int] | None = None,
    least_percent: int = 50,
    shards: int | None = None,
    now: float,
) -> tuple[Study, Plan]:
    """A study and its plan for all hospitals but those that it goes ``without``.

    ``slot_seconds`` is the fixed time after each sum at which every hospital sends, whatever its
    size; longer hides more of how long it computed. A ``holdout_share`` of 0 leaves the
    evaluation out; None takes the template's. With a ``sample_rate`` every attempt is over a secret
    sample of the patients, and the noise follows from the rate; takes some seconds. ``grades`` are
    the ways in which a consent may have come about (``consent.policy.Grade``). With ``sizes``,
    declared classes by hospital, every step needs ``least_percent`` of their sum. With ``shards``
    each run trains one of so many parts of the patients, and nobody is kept out to measure it.

    Raises:
        UsageError: TW1020, the numbers do not make a usable plan; TW6243, shards of a model whose
            weights have no mean.
        BudgetError: TW4001, no noise that can be accounted keeps a sampled run to its epsilon.
    """
    genesis = str(founding.chain["genesis_hash"])
    study = Study(
        network=genesis,
        name=name,
        salt=random_hex32(),
        title=template.title,
        purpose=template.purpose,
        categories=template.categories,
        optional=tuple(
            OptionalCategory(name, template.optional[name]) for name in sorted(template.optional)
        ),
        closes=int(now) + _YEAR_SECONDS,
    )
    evaluation = _evaluation(
        None if shards else template.evaluation, share=holdout_share, epsilon=evaluation_epsilon
    )
    summed = 1.0 if evaluation is None else 1.0 - evaluation.holdout_share
    summed /= shards or 1
    summed *= 1.0 if sample_rate is None else sample_rate
    plan = template.recipe(
        network=genesis,
        study=name,
        sites=tuple(one.org for one in founding.hospitals if one.org not in without),
        divisor=max(1, round(summed * (expected_patients or template.expected_patients))),
        purpose=template.purpose,
        grades=tuple(sorted(set(grades))),
        epsilon=epsilon,
        slot_seconds=slot_seconds,
        deadline_seconds=slot_seconds + _SILENCE_SECONDS,
        evaluation=evaluation,
    )
    registry.require_may_lack(plan.model, study.optional_columns)
    if sizes:
        plan = _sized(plan, sizes, least_percent)
    if shards is not None:
        plan = _in_shards(plan, shards)
    return study, plan if sample_rate is None else _sampled(plan, sample_rate)


def _sized(plan: Plan, sizes: Mapping[str, int], least_percent: int) -> Plan:
    """The plan with what each of its hospitals declared."""
    if set(sizes) != set(plan.sites):
        raise UsageError(
            "a size is needed for each hospital of the plan, and for no other",
            code="TW6241",
            note=f"the plan names {', '.join(plan.sites)}",
            help="give `--size HOSPITAL=CLASS` for each, as the hospitals declared them",
        )
    declared = Sizes(tuple(sizes[site] for site in plan.sites), least_percent)
    return Plan.from_document(replace(plan, sizes=declared).to_document())


def _in_shards(plan: Plan, shards: int) -> Plan:
    """The plan in parts; only of a logistic model, where a mean of weights is a mean of scores."""
    if registry.prior(plan.model) or registry.risk(plan.model).module(plan.sites) is not None:
        raise UsageError(
            f"`{plan.model}` cannot be trained in shards: its weights have no meaning as a mean",
            code="TW6243",
            help="plan it without `--shards`, or take a logistic model such as heart-risk",
        )
    return Plan.from_document(replace(plan, shards=shards).to_document())


def _sampled(plan: Plan, rate: float) -> Plan:
    from twinward.accounting.sampled import calibrate  # noqa: PLC0415 - scipy

    sampling = calibrate(epsilon=plan.epsilon, delta=plan.delta, rate=rate, attempts=plan.releases)
    return Plan.from_document(replace(plan, sampling=sampling).to_document())


def _evaluation(
    usual: Evaluation | None, *, share: float | None, epsilon: float | None
) -> Evaluation | None:
    if share == 0 or (usual is None and share is None):
        return None
    usual = usual or logistic.EVALUATION
    return replace(
        usual,
        holdout_share=usual.holdout_share if share is None else share,
        epsilon=usual.epsilon if epsilon is None else epsilon,
    )


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
        UsageError: TW1039, there is none; TW1038, this version has no template of that name.
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
    origin = template(name).hyper_parameters
    return SignedStudy(study.digest, Plan.from_document(plan), plan, origin)


def study_folder(folder: Path, name: str) -> Path:
    """Where a study's files lie."""
    return folder / "studies" / study_id(name)
