"""A twin's answer as FHIR R4 resources for the hospital's own record. Stays at the hospital.

A Bundle of type ``collection``: for each scenario an Observation with the course (SampledData, in
UCUM) and a RiskAssessment that says it in words, with the limits and how often intervals held. No
probability is stated: what is calibrated is an interval, and the share of copies is not. Everything
is marked as asserted by software (``AIAST``) and preliminary: a clinician makes it more than that.

https://hl7.org/fhir/R4/riskassessment.html, https://hl7.org/fhir/R4/observation.html
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from models.twin import Explanation, Quantity, TwinSpec
from twinward.clock import iso

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hospital_node.twins.answer import Answer

Json = dict[str, Any]

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
_LOCAL = "urn:twinward:twin"
_ASSERTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "AIAST",
    "display": "Artificial Intelligence asserted",
}
_DATED = 1e7
"""Minutes since 1970 that make a diary's time a date (1989 and later); below it only counts."""


def of_answer(
    answer: Answer, *, org: str, record: str, now: float, fresh: Callable[[], UUID]
) -> Json:
    """What a twin says of the next hours, as a Bundle.

    Args:
        answer: With its intervals.
        org: The hospital.
        record: Its own number of the patient.
        now: Unix seconds; stands for the last reading where the diary has no dates.
        fresh: Makes names of resources.
    """
    dated = answer.asked_at >= _DATED
    since = answer.asked_at * 60 if dated else now
    about = _About(answer.spec, org, record, now)
    resources: list[tuple[str, Json]] = []
    for row, title in enumerate(answer.scenarios):
        course = f"urn:uuid:{fresh()}"
        resources.append((course, _course(answer, row, title, about=about, since=since)))
        told = _assessment(answer, row, title, about=about, since=since, basis=course)
        if not dated:
            told["note"].append({"text": "The diary has no dates: times count from this moment."})
        resources.append((f"urn:uuid:{fresh()}", told))
    return _bundle(resources, now=now)


def of_explanation(
    found: Explanation,
    *,
    spec: TwinSpec,
    org: str,
    record: str,
    now: float,
    fresh: Callable[[], UUID],
) -> Json:
    """What is particular about a patient's twin, as a Bundle with one Observation."""
    about = _About(spec, org, record, now)
    observation = {
        **about.resource("Observation", "preliminary"),
        "code": _local("parameters", f"{spec.title}: this patient's own parameters"),
        "effectiveDateTime": iso(now),
        "component": [
            {
                "code": _local(name, name.replace("_", " ")),
                "valueQuantity": _quantity(own, "1"),
                "interpretation": [{"text": f"percentile {percentile:.0f}; usual is {usual:.3g}"}],
            }
            for name, own, usual, percentile in found.rows
        ],
        "note": [{"text": words} for words in (*found.words, *spec.limits)],
    }
    if not observation["component"]:
        del observation["component"]
        observation["valueString"] = "; ".join(found.words)
    return _bundle([(f"urn:uuid:{fresh()}", observation)], now=now)


class _About:
    """What every resource says of the same twin and patient."""

    def __init__(self, spec: TwinSpec, org: str, record: str, now: float) -> None:
        self._spec, self._org, self._record, self._now = spec, org, record, now

    def resource(self, kind: str, status: str) -> Json:
        """A resource's beginning; of an Observation also when and by what it was made."""
        made = {"issued": iso(self._now), "device": self.device} if kind == "Observation" else {}
        system = f"urn:twinward:org:{self._org}:record"
        return {
            "resourceType": kind,
            "meta": {"security": [dict(_ASSERTED)]},
            "status": status,
            "subject": {
                "type": "Patient",
                "identifier": {"system": system, "value": self._record},
            },
            **made,
        }

    @property
    def device(self) -> Json:
        """The twin, as what made the statement."""
        return {
            "type": "Device",
            "identifier": {"system": _LOCAL, "value": self._spec.name},
            "display": self._spec.title,
        }


def _course(answer: Answer, row: int, title: str, *, about: _About, since: float) -> Json:
    output = answer.spec.outputs[0]
    step = float(answer.minutes[1] - answer.minutes[0]) if answer.minutes.size > 1 else 1.0
    lines = (
        ("middle", "middle of the copies", answer.middle[row]),
        ("low", "lower end of the 90 % interval", answer.low[row]),
        ("high", "upper end of the 90 % interval", answer.high[row]),
    )
    return {
        **about.resource("Observation", "preliminary"),
        "code": {**_coded(output), "text": f"{output.title}, forecast: {title}"},
        "effectivePeriod": {
            "start": iso(since + 60 * float(answer.minutes[0])),
            "end": iso(since + 60 * float(answer.minutes[-1])),
        },
        "method": {"text": f"simulation by the twin {answer.spec.name}; not measured"},
        "component": [
            {
                "code": _local(name, words),
                "valueSampledData": {
                    "origin": _quantity(0, output.unit),
                    "period": step * 60_000,
                    "dimensions": 1,
                    "data": _sampled(values),
                },
            }
            for name, words, values in lines
        ],
    }


def _assessment(
    answer: Answer, row: int, title: str, *, about: _About, since: float, basis: str
) -> Json:
    output = answer.spec.outputs[0]
    held = [
        f"{share:.0%} at {minutes:g} min (of {count})"
        for minutes, share, count in answer.coverage
        if count
    ]
    rationale = (
        f"90 % intervals held for this patient: {', '.join(held)}"
        if held
        else "too little is known of this patient for an interval"
    )
    if not math.isnan(answer.skill):
        rationale += f"; error an hour ahead is {answer.skill:.2f} of that of no change"
    hours = [at for at, each in enumerate(answer.minutes) if each % 60 == 0] or [-1]
    return {
        **about.resource("RiskAssessment", "preliminary"),
        "method": {"text": f"{answer.spec.title} ({answer.spec.name}), from {answer.population}"},
        "code": {"text": f"course of {output.title.lower()}: {title}"},
        "occurrenceDateTime": iso(since),
        "performer": about.device,
        "basis": [{"reference": basis}],
        "prediction": [
            {
                "outcome": {"text": _in_words(answer, row, at)},
                "whenPeriod": {
                    "start": iso(since),
                    "end": iso(since + 60 * float(answer.minutes[at])),
                },
                "rationale": rationale,
            }
            for at in hours
        ],
        "note": [{"text": each} for each in (answer.spec.intended_use, *answer.spec.limits)],
    }


def _in_words(answer: Answer, row: int, at: int) -> str:
    output = answer.spec.outputs[0]
    said = (
        f"{output.title} in {answer.minutes[at]:g} min: {answer.middle[row, at]:.0f} {output.unit}"
    )
    low, high = answer.low[row, at], answer.high[row, at]
    if np.isfinite([low, high]).all():
        said += f" (90 % interval {low:.0f} to {high:.0f})"
    if row:
        said += f"; {answer.change[row - 1, 0, at]:+.0f} against as planned"
    return said


def _bundle(resources: Sequence[tuple[str, Json]], *, now: float) -> Json:
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": iso(now),
        "entry": [{"fullUrl": name, "resource": each} for name, each in resources],
    }


def _coded(output: Quantity) -> Json:
    if output.code.startswith("local:"):
        return _local(output.code.removeprefix("local:"), output.title)
    return {"coding": [{"system": LOINC, "code": output.code}]}


def _local(code: str, words: str) -> Json:
    return {"coding": [{"system": _LOCAL, "code": code}], "text": words}


def _quantity(value: float, unit: str) -> Json:
    return {"value": round(float(value), 4), "unit": unit, "system": UCUM, "code": unit}


def _sampled(values: NDArray[np.float64]) -> str:
    """Decimals with a blank between; E where nothing can be said (R4, SampledData)."""
    return " ".join(f"{each:.1f}" if math.isfinite(each) else "E" for each in values)
