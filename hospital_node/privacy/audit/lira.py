"""Membership inference on public data: can one tell who was in the training from the model alone?

The likelihood-ratio attack (Carlini et al. 2022, "Membership inference attacks from first
principles"), online and with all models as each other's shadows: many models, each trained on a
random half; for each patient and model, how likely the model's answer is among models that had the
patient against models that had not, the model itself left out of both.

It never says *passed*: how well members of a cohort can be told is a statement about its patients.
So this module takes public records only, known by the hash of their files, and refuses all others.
The release gate is ``report``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hospital_node.data import uci
from hospital_node.data.table import Patients
from hospital_node.privacy.clipped_sum import Floats
from hospital_node.privacy.experiment import RIDGE, Cohort, Figure, encode, merged, ridge
from hospital_node.privacy.keystream import Keystream
from hospital_node.privacy.simulation import Setting, distributed_noise, train_many
from models.cardiac_risk import recipe
from models.evaluation import auroc
from twinward.console import table
from twinward.errors import DataError
from twinward.files import read_given
from twinward.ids import OrgName
from twinward.plan import Plan

PUBLIC = frozenset({
    "a74b7efa387bc9d108d7d0115d831fe9b414b29ae7124f331b622b4efa0427c8",
    "d1ad108f785768cd3d7e82dc522e6f5a61eea93cccfb3a46ee8076f73fc3d796",
    "834a405ccf5b66ab4056bb77794adc8df0b7125186454c0a1d002d33c6c3b314",
    "e7c93d8d0d2acdadfa4c5e8de768e2191e7f618b952e29623f1f0d5949ff6b8f",
})  # fmt: skip
"""SHA-256 of the four files of the UCI heart-disease archive: Cleveland, Hungary, Switzerland, VA.
(Janosi, Steinbrunn, Pfisterer, Detrano; CC BY 4.0.)"""

_FALSE_POSITIVES = 0.01
_SMALLEST_SPREAD = 1e-6


@dataclass(frozen=True, slots=True)
class PublicCohort:
    """Patients of a public archive; only ``public`` makes one."""

    hospitals: Mapping[OrgName, Patients]


def public(folder: Path) -> PublicCohort:
    """The records in this folder, if every file of them is known to be public.

    Raises:
        DataError: TW4401, a file is not; and what ``uci.read`` refuses.
    """
    files = uci.find(folder)
    for path in files.values():
        if hashlib.sha256(read_given(path)).hexdigest() not in PUBLIC:
            raise DataError(
                "this file is not one of the public archive: membership is not inferred from it",
                code="TW4401",
                at=path.name,
                note="how well members of a cohort can be told is itself a release about them",
                help="use the public UCI heart-disease files; to check a hospital's own node run "
                "`twinward privacy audit`, which needs no record",
            )
    return PublicCohort({name: uci.read(path, hospital=name) for name, path in files.items()})


@dataclass(frozen=True, slots=True)
class Leak:
    """How well members can be told from others. Chance is 0.5 and 0.01.

    Means over models, with 95 % intervals over models; all models share the same patients.
    """

    method: str
    area: Figure
    hits: Figure


def compare(cohort: PublicCohort, *, plan: Plan, models: int = 128) -> tuple[Leak, ...]:
    """The same model trained without privacy, nearly unregularised, and with noise.

    Every model is trained on a half of the patients that only its number decides, the same halves
    for all ways of training. ``plan`` says how; its hospitals are replaced by the archive's.
    """
    own = _plan_for(plan, cohort)
    everyone = merged(encode(cohort.hospitals, plan=own).values())
    include = halves(everyone.y.size, models=models)
    ways = {
        "no privacy, hardly any regularisation": _ridges(everyone, include, own, strength=0.1),
        "no privacy": _ridges(everyone, include, own, strength=RIDGE),
        **{
            f"epsilon {epsilon:g}": _noised(everyone, include, own, epsilon=epsilon)
            for epsilon in (8.0, 3.0, 1.0)
        },
    }
    return tuple(
        leak(method, confidences(weights, everyone), include) for method, weights in ways.items()
    )


def halves(patients: int, *, models: int) -> NDArray[np.bool_]:
    """Who is in which training, [patients, models]; a half on average, fixed by the numbers."""
    key = hashlib.sha256(b"twinward/lira/halves").digest()
    return (Keystream(key).uniforms(patients * models) < 0.5).reshape(patients, models)


def confidences(weights: Floats, everyone: Cohort) -> Floats:
    """Log-odds that each model gives to the true label of each patient, [patients, models]."""
    sign = 2.0 * everyone.y - 1.0
    return sign[:, None] * (everyone.x @ weights.T)


def leak(method: str, shown: Floats, include: NDArray[np.bool_]) -> Leak:
    """The attack on each model in turn, by all the others."""
    scores = likelihood_ratios(shown, include)
    areas, hits = [], []
    for model in range(include.shape[1]):
        member = include[:, model]
        areas.append(auroc(scores[:, model], member.astype(np.float64)))
        # This position among the others is passed by one more of them once in a hundred, exactly.
        threshold = np.quantile(scores[~member, model], 1 - _FALSE_POSITIVES, method="weibull")
        hits.append(float((scores[member, model] > threshold).mean()))
    return Leak(method, Figure.of(areas), Figure.of(hits))


def likelihood_ratios(shown: Floats, include: NDArray[np.bool_]) -> Floats:
    """How much likelier the answer is with the patient in, as a logarithm, by the other models."""
    return _log_density(shown, include) - _log_density(shown, ~include)


def _log_density(shown: Floats, world: NDArray[np.bool_]) -> Floats:
    """Under a Gaussian of the models of this world, the model itself left out."""
    others = world.sum(axis=1, keepdims=True) - world
    total = (shown * world).sum(axis=1, keepdims=True) - shown * world
    squares = (shown**2 * world).sum(axis=1, keepdims=True) - shown**2 * world
    mean = total / others
    variance = np.maximum(squares / others - mean**2, 0.0) * others / (others - 1)
    spread = np.sqrt(variance) + _SMALLEST_SPREAD
    density: Floats = -0.5 * ((shown - mean) / spread) ** 2 - np.log(spread)
    return density


def _ridges(everyone: Cohort, include: NDArray[np.bool_], plan: Plan, *, strength: float) -> Floats:
    return np.stack(
        [ridge(everyone.take(half), start=plan.start, strength=strength) for half in include.T]
    )


def _noised(everyone: Cohort, include: NDArray[np.bool_], plan: Plan, *, epsilon: float) -> Floats:
    own = replace(plan, epsilon=epsilon)
    setting = Setting(
        distributed_noise(own, hospitals=len(own.sites)), recipe.learning_rate(epsilon)
    )
    settings = [setting] * include.shape[1]
    return train_many(everyone.x, everyone.y, plan=own, settings=settings, include=include)


def as_json(leaks: Sequence[Leak], *, models: int) -> dict[str, Any]:
    """Plain JSON values."""
    return {
        "attack": "online likelihood ratio, black box",
        "models": models,
        "chance": {"auc": 0.5, "tpr_at_1_percent_fpr": _FALSE_POSITIVES},
        "rows": [
            {
                "method": each.method,
                "auc": round(each.area.mean, 4),
                "auc_half_width": _finite(each.area.half_width),
                "tpr_at_1_percent_fpr": round(each.hits.mean, 4),
                "tpr_half_width": _finite(each.hits.half_width),
            }
            for each in leaks
        ],
    }


def as_text(leaks: Sequence[Leak]) -> str:
    """A table for people."""
    rows = [
        (
            each.method,
            f"{each.area.mean:.4f} +- {each.area.half_width:.4f}",
            f"{each.hits.mean:.4f} +- {each.hits.half_width:.4f}",
        )
        for each in (*leaks, Leak("chance", Figure(0.5, 0.0), Figure(_FALSE_POSITIVES, 0.0)))
    ]
    return table(("TRAINED WITH", "AREA (AUC)", "MEMBERS FOUND AT 1 % FALSE"), rows)


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _plan_for(plan: Plan, cohort: PublicCohort) -> Plan:
    """The recipe of the plan, for the hospitals of the archive and half of their patients."""
    return recipe.plan(
        network=plan.network,
        study=plan.study,
        sites=list(cohort.hospitals),
        divisor=max(1, sum(map(len, cohort.hospitals.values())) // 2),
        purpose=plan.purpose,
        grades=plan.grades,
        epsilon=plan.epsilon,
        delta=plan.delta,
    )
