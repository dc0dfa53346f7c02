"""What the network cannot see: *alone*, *together* and *without privacy*, compared on one machine.

Whoever has all files in one place (a demonstration, a benchmark on public data) can train the same
model three ways and measure it on held-out patients. ``together`` is the network's own arithmetic:
the same clipped sums, noise, grid and descent; only the masks, which cancel, are left out. Noise is
fresh in every run; splits are fixed by their number.

AUROC *pooled* ranks all held-out patients in one list, *within* ranks each hospital's by themselves
and is left out where a class has fewer than ten: such a curve would be a list of patients.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hospital_node.data.table import Patients
from hospital_node.privacy.clipped_sum import LogisticClippedSum
from hospital_node.privacy.keystream import Keystream
from hospital_node.privacy.mechanism import Mechanism
from hospital_node.privacy.noise import gaussian
from models import registry
from models.cardiac_risk.risk import sigmoid
from models.evaluation import FEWEST_PER_CLASS, auroc
from twinward import descent, gdp
from twinward.errors import DataError
from twinward.ids import OrgName
from twinward.plan import Plan

Floats = NDArray[np.float64]

NOTE = (
    "Computed in one process from all files, which no party of the network ever has: "
    "the network itself cannot see these figures."
)
TRAIN_SHARE = 0.66
RIDGE = 30.0
"""Strength of the pull to the prior without privacy: the best on other splits (1000 to 1029)."""
OWN_PULL, OWN_CONSTANT = 20.0, 0.5
"""Strength of the pull to the released model when a hospital goes on alone; same choice."""
ALONE_RATE = 0.25
"""A single hospital has more noise per patient, so it takes smaller steps: the best on the same
other splits. With the steps of the plan, *alone* would look much worse than it is."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Encoded records and labels of one hospital's patients, in one order."""

    x: Floats
    y: Floats

    def take(self, which: NDArray[np.bool_]) -> Cohort:
        """The patients whose mask is true."""
        return Cohort(self.x[which], self.y[which])


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over splits, with the half-width of its 95 % interval over splits."""

    mean: float
    half_width: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """From one value per split."""
        if len(values) < 2:
            return cls(float(np.mean(values)), math.inf)
        spread = float(np.std(values, ddof=1)) / math.sqrt(len(values))
        return cls(float(np.mean(values)), 1.96 * spread)


@dataclass(frozen=True, slots=True)
class Row:
    """One way to train; a hospital's figure is None where a class is too small to show."""

    method: str
    pooled: Figure
    within: Mapping[OrgName, Figure | None]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The table, with what it was made from."""

    rows: tuple[Row, ...]
    splits: int
    epsilon: float
    delta: float

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values; a half-width that one split cannot give is null."""
        return {
            "note": NOTE,
            "measure": "AUROC on held-out patients",
            "splits": self.splits,
            "epsilon": self.epsilon,
            "delta": self.delta,
            "rows": [
                {
                    "method": row.method,
                    "pooled": _figure(row.pooled),
                    "within": {
                        name: "too few" if figure is None else _figure(figure)
                        for name, figure in row.within.items()
                    },
                }
                for row in self.rows
            ],
        }


def compare(hospitals: Mapping[OrgName, Patients], *, plan: Plan, splits: int = 10) -> Comparison:
    """Train three ways on each of the first ``splits`` splits and measure on held-out patients.

    Raises:
        DataError: TW8020, the hospitals are not those of the plan.
        BudgetError, TrainingError: the plan's mechanism refuses; see ``Mechanism``.
    """
    cohorts = encode(hospitals, plan=plan)
    calm = replace(plan, learning_rate=ALONE_RATE * plan.learning_rate)
    methods: dict[str, Callable[[Mapping[OrgName, Cohort]], Mapping[OrgName, Floats]]] = {
        "alone": lambda train: {
            name: alone(cohort, plan=calm, name=name) for name, cohort in train.items()
        },
        "together": lambda train: dict.fromkeys(train, together(train, plan=plan)),
        "without privacy": lambda train: dict.fromkeys(
            train, ridge(merged(train.values()), start=plan.start, strength=RIDGE)
        ),
    }
    measured: dict[str, list[tuple[float, dict[OrgName, float | None]]]] = {m: [] for m in methods}
    for train, test in (split(cohorts, number) for number in range(splits)):
        for method, fit in methods.items():
            measured[method].append(measure(fit(train), test))
    return Comparison(
        rows=tuple(_row(method, results) for method, results in measured.items()),
        splits=splits,
        epsilon=plan.epsilon,
        delta=plan.delta,
    )


def encode(hospitals: Mapping[OrgName, Patients], *, plan: Plan) -> dict[OrgName, Cohort]:
    """Every hospital's patients as the plan's model sees them, in the plan's order.

    Raises:
        DataError: TW8020, the hospitals are not those of the plan.
    """
    if set(hospitals) != set(plan.sites):
        raise DataError(
            "the files are not of the hospitals of the plan",
            code="TW8020",
            help=f"give one file for each of: {', '.join(plan.sites)}",
        )
    registry.require_same_spec(plan.model, plan.model_spec, sites=plan.sites)
    model = registry.risk(plan.model)
    tables = ((name, hospitals[name].columns) for name in plan.sites)
    return {
        name: Cohort(model.encode(table, site=name, sites=plan.sites), model.labels(table))
        for name, table in tables
    }


def split(
    cohorts: Mapping[OrgName, Cohort], number: int
) -> tuple[dict[OrgName, Cohort], dict[OrgName, Cohort]]:
    """Train and test part of each hospital, 66 to 34 within each class; fixed by its number."""
    train, test = {}, {}
    for name, cohort in cohorts.items():
        stream = Keystream(hashlib.sha256(f"twinward/split/{name}/{number}".encode()).digest())
        chosen = np.zeros(cohort.y.size, dtype=bool)
        for label in (0.0, 1.0):
            members = np.flatnonzero(cohort.y == label)
            order = np.argsort(stream.uniforms(members.size))
            chosen[members[order[: round(TRAIN_SHARE * members.size)]]] = True
        train[name], test[name] = cohort.take(chosen), cohort.take(~chosen)
    return train, test


def together(train: Mapping[OrgName, Cohort], *, plan: Plan) -> Floats:
    """The weights that the network would release for these patients."""
    mechanism = Mechanism(plan)
    norm = plan.max_grad_norm
    sums = [LogisticClippedSum(part.x, part.y, max_grad_norm=norm) for part in train.values()]
    everyone = [np.ones(each.patients, dtype=bool) for each in sums]

    def words(weights: Floats) -> NDArray[np.int64]:
        total = np.zeros(plan.dimension, dtype=np.int64)
        for clipped, include in zip(sums, everyone, strict=True):
            total += mechanism.contribute(clipped(weights, include), len(sums)).vector
        return total

    return _descend(replace(plan, divisor=_training_part(plan)), words)


def alone(train: Cohort, *, plan: Plan, name: OrgName) -> Floats:
    """What this hospital would get by itself at the same epsilon: all of the noise is its own.

    It needs no spare attempts and no allowance for colluders, and gets neither.
    """
    own = replace(plan, divisor=max(1, train.y.size), sites=(name,), spare_attempts=0)
    sd = gdp.noise_multiplier(own.mu, own.steps) * own.max_grad_norm
    clipped = LogisticClippedSum(train.x, train.y, max_grad_norm=own.max_grad_norm)
    include = np.ones(clipped.patients, dtype=bool)

    def words(weights: Floats) -> NDArray[np.int64]:
        noised = clipped(weights, include) + gaussian(own.dimension, sd=sd)
        return np.rint(noised / own.grid).astype(np.int64)

    return _descend(own, words)


def personalise(released: Floats, own: Cohort, *, plan: Plan) -> Floats:
    """The released model fitted further to a hospital's own patients, for its own use only.

    The most likely weights under the prior N(released, 1/20) per input and N(released, 2) for the
    constant. The result holds exact statistics of these patients: it, and whatever is measured or
    calibrated on it, stays inside the hospital.
    """
    constant = np.array([each["form"] == "constant" for each in plan.model_spec["inputs"]])
    return ridge(own, start=released, strength=np.where(constant, OWN_CONSTANT, OWN_PULL))


def ridge(train: Cohort, *, start: Floats, strength: float | Floats) -> Floats:
    """The non-private model: logistic loss plus ``strength / 2 |w - start|^2``, by Newton.

    ``strength`` is one number, or one per weight.
    """
    weights, pull = start.copy(), np.broadcast_to(strength, start.shape)
    for _ in range(12):
        p = sigmoid(train.x @ weights)
        slope = train.x.T @ (p - train.y) + pull * (weights - start)
        curvature = (train.x * (p * (1 - p))[:, None]).T @ train.x
        step = np.linalg.solve(curvature + np.diag(pull), slope)
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def measure(
    weights: Mapping[OrgName, Floats], test: Mapping[OrgName, Cohort]
) -> tuple[float, dict[OrgName, float | None]]:
    """Pooled AUROC, and each hospital's own, or None where a class has fewer than ten."""
    scores = {name: sigmoid(part.x @ weights[name]) for name, part in test.items()}
    pooled = auroc(np.concatenate(list(scores.values())), merged(test.values()).y)
    return pooled, {
        name: auroc(scores[name], part.y) if _enough(part.y) else None
        for name, part in test.items()
    }


def merged(cohorts: Iterable[Cohort]) -> Cohort:
    """All patients in one place, which is what the network exists to avoid."""
    parts = list(cohorts)
    return Cohort(np.concatenate([p.x for p in parts]), np.concatenate([p.y for p in parts]))


def _descend(plan: Plan, words: Callable[[Floats], NDArray[np.int64]]) -> Floats:
    weights, iterates = plan.start, []
    for _ in range(plan.steps):
        weights = descent.step(plan, weights, words(weights))
        iterates.append(weights)
    return descent.release(plan, iterates)


def _training_part(plan: Plan) -> int:
    """The plan's public guess at the number of patients, scaled to the part that trains here."""
    return max(1, round(TRAIN_SHARE * plan.divisor / (1 - plan.holdout_share)))


def _enough(labels: Floats) -> bool:
    return min(int((labels == 1.0).sum()), int((labels == 0.0).sum())) >= FEWEST_PER_CLASS


def _row(method: str, results: Sequence[tuple[float, Mapping[OrgName, float | None]]]) -> Row:
    within: dict[OrgName, Figure | None] = {}
    for name in results[0][1]:
        values = [found for _, each in results if (found := each[name]) is not None]
        within[name] = Figure.of(values) if len(values) == len(results) else None
    return Row(method, Figure.of([pooled for pooled, _ in results]), within)


def _figure(figure: Figure) -> dict[str, float | None]:
    half = figure.half_width
    return {
        "mean": round(figure.mean, 4),
        "half_width": round(half, 4) if math.isfinite(half) else None,
    }
