"""The cardiac risk model as the registry gives it out: names, limits, arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.cardiac_risk import encode as _encode
from models.cardiac_risk import inputs as _inputs
from twinward.ids import OrgName

Floats = NDArray[np.float64]


class CardiacRisk:
    """Probability that coronary angiography would show disease, from 14 routine columns.

    A risk model and not a twin: it knows nothing of how a body changes over time and cannot say
    what would happen under another treatment.
    """

    name = "cardiac_risk/1"
    kind = "risk"
    title = "Risk of coronary heart disease"
    intended_use = (
        "Research. Ranks patients who are examined for suspected coronary heart disease by the "
        "probability that angiography would show a narrowing. Read by clinicians and researchers, "
        "beside the examination and never instead of it."
    )
    limits = (
        "Not a medical device; not for decisions about a patient.",
        "Describes groups like those it was trained on. Claims no causes and answers no what-if.",
        "Trained on patients already referred for examination; it does not apply to screening.",
        "Made for records like those of the UCI archive, 1981 to 1988; medicine has changed since.",
        "Elsewhere than in the study's hospitals its ranking may hold but its level be wrong.",
        "About a fifth of the UCI patients are women; performance for them is less certain.",
        "Input scales and prior strength were chosen on other splits of the same public records.",
    )

    def spec(self, sites: Sequence[OrgName]) -> dict[str, Any]:
        """Every public constant of the model, as JSON values; goes into the plan."""
        return {"name": self.name, "kind": self.kind, **_inputs.spec(sites)}

    def names(self, sites: Sequence[OrgName]) -> tuple[str, ...]:
        """What each weight belongs to, in order."""
        return tuple(each.name for each in _inputs.inputs(sites))

    def start(self, spec: Mapping[str, Any]) -> Floats:
        """The first weights: the textbook prior of the specification; no data."""
        return np.array([each["start"] for each in spec["inputs"]], dtype=np.float64)

    def module(self, sites: Sequence[OrgName]) -> None:
        """None: a logistic model without intercept needs no torch to be trained."""
        del sites

    def record_shape(self, sites: Sequence[OrgName]) -> tuple[int, ...]:
        """Of one encoded record: a number for each input."""
        return (len(_inputs.inputs(sites)),)

    def encode(
        self, columns: _encode.Columns, *, site: OrgName | None, sites: Sequence[OrgName]
    ) -> Floats:
        """Records to rows of finite, bounded numbers; see ``encode.encode``."""
        return _encode.encode(columns, site=site, sites=sites)

    def labels(self, columns: _encode.Columns) -> Floats:
        """1.0 disease, 0.0 none, NaN not recorded."""
        return _encode.labels(columns)

    def predict(self, weights: Floats, x: Floats) -> Floats:
        """Probability of disease per row of encoded records."""
        return sigmoid(x @ weights)


def sigmoid(logit: Floats) -> Floats:
    """1 / (1 + exp(-logit)) without overflow for any finite or infinite logit."""
    small = np.exp(-np.abs(logit))
    return np.where(logit >= 0, 1.0, small) / (1.0 + small)
