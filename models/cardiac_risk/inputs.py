"""The one table of every constant that stands between a patient's record and the model.

Each input is ``scale * clip((value - centre) / spread, -limit, +limit)``; a value that is missing
gives 0, the centre. Centres and spreads are round textbook numbers, never statistics of patients;
scales say how far an input may move a model of a few hundred patients; ``prior`` is what textbooks
say before any data, as log-odds per unit before scaling. The plan of a study carries this table
in full, so a hospital approves the numbers and not the name of a version.

Provenance of the numbers, told on the model card: centres, spreads and signs of the prior come
from general medical knowledge; the scales 0.4, 0.4 and 2 and the prior's strength were chosen on
other splits of the public UCI heart-disease records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from twinward.errors import TwinModelError
from twinward.ids import OrgName

Form = Literal["value", "short_of_target", "equals", "at_least", "missing", "site", "constant"]

FORMS: Mapping[Form, str] = {
    "value": "the number in the column",
    "short_of_target": "argument * (220 - age) minus the number in the column",
    "equals": "1 if the number in the column is the argument, else 0",
    "at_least": "1 if the number in the column is the argument or more, else 0",
    "missing": "1 if the column is missing, else 0; itself never missing",
    "site": "1 if the record is from the hospital in `sites` at this index, else 0",
    "constant": "the argument",
}
"""How the value of an input is read from the columns of a record."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a record, in the order and coding of the UCI heart-disease archive.

    A value that is not a finite number from ``low`` to ``high`` counts as missing; with ``whole``,
    so does one that is not a whole number.
    """

    name: str
    low: float
    high: float
    whole: bool
    meaning: str


COLUMNS = (
    Column("age", 1, 120, whole=False, meaning="age in years"),
    Column("sex", 0, 1, whole=True, meaning="1 male, 0 female"),
    Column("cp", 1, 4, whole=True, meaning="chest pain: 1 typical, 2 atypical, 3 other, 4 none"),
    Column("trestbps", 40, 300, whole=False, meaning="resting systolic pressure, mm Hg"),
    Column("chol", 50, 1000, whole=False, meaning="serum cholesterol, mg/dL"),
    Column("fbs", 0, 1, whole=True, meaning="fasting sugar above 120 mg/dL"),
    Column(
        "restecg", 0, 2, whole=True, meaning="resting ECG: 1 ST-T abnormality, 2 LV hypertrophy"
    ),
    Column("thalach", 30, 250, whole=False, meaning="highest heart rate under exercise, 1/min"),
    Column("exang", 0, 1, whole=True, meaning="angina under exercise"),
    Column("oldpeak", -5, 10, whole=False, meaning="ST depression under exercise, mm"),
    Column("slope", 1, 3, whole=True, meaning="ST slope at peak: 1 up, 2 flat, 3 down"),
    Column("ca", 0, 3, whole=True, meaning="major vessels coloured by fluoroscopy"),
    Column("thal", 3, 7, whole=True, meaning="thallium scan: 3 normal, 6 fixed, 7 reversible"),
)
"""What the model reads of a record. The fourteenth column, ``num``, is the label."""

LABEL = Column("num", 0, 4, whole=True, meaning="angiographic narrowing; above 0 is disease")


@dataclass(frozen=True, slots=True)
class Input:
    """One number that the model sees: where it comes from and every constant on the way."""

    name: str
    column: str
    form: Form
    argument: float
    centre: float
    spread: float
    scale: float
    prior: float
    reason: str
    limit: float = 2.5

    @property
    def start(self) -> float:
        """First weight of this input: the prior, per unit after scaling."""
        return self.prior / self.scale


_STRONG, _WEAK, _NONE = 0.25, 0.125, 0.0
_PLAIN, _MINOR, _SITE = 1.0, 0.4, 2.0


def _number(name: str, column: str, centre: float, spread: float, **kind: Any) -> Input:
    return Input(name, column, "value", 0.0, centre, spread, **kind)


def _flag(name: str, column: str, form: Form, argument: float, share: float, **kind: Any) -> Input:
    return Input(name, column, form, argument, share, 0.5, **kind)


def _missing(column: str, share: float) -> Input:
    reason = "whether a test was made says something about the patient; weak, no prior"
    return _flag(
        f"{column}_missing", column, "missing", 0.0, share, scale=_MINOR, prior=_NONE, reason=reason
    )


def _pain(kind: int) -> Input:
    reason = "no prior: textbook and clinic disagree on the sign; a quarter of patients per type"
    return _flag(
        f"chest_pain_{kind}", "cp", "equals", kind, 0.25, scale=_PLAIN, prior=_NONE, reason=reason
    )


_INPUTS = (
    _number("age", "age", 55, 10, scale=_PLAIN, prior=_STRONG, reason="older, higher risk"),
    _flag("male", "sex", "equals", 1, 0.7, scale=_PLAIN, prior=_STRONG, reason="men, higher risk"),
    *(_pain(kind) for kind in (1, 2, 3, 4)),
    _number(
        "pressure", "trestbps", 130, 20, scale=_MINOR, prior=_WEAK, reason="raises risk, weakly"
    ),
    _number(
        "cholesterol", "chol", 220, 45, scale=_MINOR, prior=_WEAK, reason="raises risk, weakly"
    ),
    _flag(
        "fasting_sugar", "fbs", "equals", 1, 0.15, scale=_MINOR, prior=_WEAK,
        reason="raises risk, weakly",
    ),
    _flag(
        "ecg_st_t", "restecg", "equals", 1, 0.2, scale=_MINOR, prior=_WEAK,
        reason="raises risk, weakly",
    ),
    _flag(
        "ecg_hypertrophy", "restecg", "equals", 2, 0.2, scale=_MINOR, prior=_WEAK,
        reason="raises risk, weakly",
    ),
    Input(
        "heart_rate_shortfall", "thalach", "short_of_target", 0.85, 0.0, 22.0, _PLAIN, _STRONG,
        "beats per minute short of 85 % of (220 - age), the usual target of a stress test",
    ),
    _flag(
        "exercise_angina", "exang", "equals", 1, 0.35, scale=_PLAIN, prior=_STRONG,
        reason="raises risk",
    ),
    _number(
        "st_depression", "oldpeak", 0.7, 1, scale=_PLAIN, prior=_STRONG, reason="raises risk"
    ),
    _flag(
        "slope_flat_or_down", "slope", "at_least", 2, 0.5, scale=_PLAIN, prior=_STRONG,
        reason="raises risk",
    ),
    _number("vessels", "ca", 0.5, 1, scale=_PLAIN, prior=_STRONG, reason="more, higher risk"),
    _flag(
        "thallium_abnormal", "thal", "at_least", 4, 0.5, scale=_PLAIN, prior=_STRONG,
        reason="raises risk",
    ),
    _missing("chol", 0.1),
    _missing("slope", 0.3),
    _missing("ca", 0.5),
    _missing("thal", 0.5),
    _missing("oldpeak", 0.1),
)  # fmt: skip


def inputs(sites: Sequence[OrgName]) -> tuple[Input, ...]:
    """All inputs in their order: 22 of the record, one per hospital, the constant.

    The model has an intercept per hospital, pulled towards the common one by its scale; someone
    from elsewhere gets the common one.

    Raises:
        TwinModelError: TW7002, no hospital or one named twice.
    """
    if not sites or len(set(sites)) != len(sites):
        raise TwinModelError(
            "the hospitals of a model must be named, each once",
            code="TW7002",
            help="list the study's hospitals in the order of the plan",
        )
    share = 1 / len(sites)
    reason = "each hospital its own base rate; twice the pull, so a small one can move"
    per_site = tuple(
        Input(f"site_{site}", site, "site", index, share, 0.5, _SITE, _NONE, reason)
        for index, site in enumerate(sites)
    )
    constant = Input("constant", "", "constant", 0.7, 0.0, 1.0, _PLAIN, _NONE, "common base rate")
    return (*_INPUTS, *per_site, constant)


def spec(sites: Sequence[OrgName]) -> dict[str, Any]:
    """Everything public that decides how a record becomes numbers, as plain JSON values."""
    return {
        "columns": [
            {
                "name": column.name,
                "low": float(column.low),
                "high": float(column.high),
                "whole": column.whole,
                "meaning": column.meaning,
            }
            for column in (*COLUMNS, LABEL)
        ],
        "inputs": [
            {
                "name": each.name,
                "column": each.column,
                "form": each.form,
                "argument": float(each.argument),
                "centre": float(each.centre),
                "spread": float(each.spread),
                "limit": float(each.limit),
                "scale": each.scale,
                "prior": each.prior,
                "start": each.start,
                "reason": each.reason,
            }
            for each in inputs(sites)
        ],
        "forms": dict(FORMS),
        "rule": "scale * clip((value - centre) / spread, -limit, limit); missing gives 0",
        "sites": list(sites),
    }
