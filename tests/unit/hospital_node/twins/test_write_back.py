"""A twin's answer as FHIR R4: valid by the published rules, in UCUM, and no bolder than it is."""

import json
from itertools import count
from uuid import UUID

import numpy as np
import pytest
from fhir.resources.R4B.bundle import Bundle

from hospital_node.twins import write_back
from hospital_node.twins.answer import Answer
from models import twins
from models.twin import Explanation

NOW = 1_795_000_000.0
RECORD = "0042"


def about():
    numbers = count(1)
    return {
        "org": "harbour",
        "record": RECORD,
        "now": NOW,
        "fresh": lambda: UUID(int=next(numbers)),
    }


def answer(*, asked_at=30_000_000.0, low=90.0):
    minutes = np.arange(5.0, 125.0, 5.0)
    middle = np.stack([np.full(24, 150.0), np.full(24, 120.0)])
    return Answer(
        spec=twins.get("glucose/1").spec,
        population="public",
        asked_at=asked_at,
        scenarios=("as planned", "bolus=2@0"),
        minutes=minutes,
        middle=middle,
        low=np.full((2, 24), low),
        high=np.full((2, 24), 200.0 if np.isfinite(low) else np.inf),
        change=np.full((1, 3, 24), -30.0),
        coverage=((60.0, 0.91, 40),) if np.isfinite(low) else (),
        recent=(),
        skill=0.8,
    )


def checked(bundle):
    """What the published rules of R4 leave of it, as plain JSON; they are the library's."""
    found = Bundle.model_validate_json(json.dumps(bundle))
    return [entry.resource for entry in found.entry]


def test_an_answer_is_a_course_and_an_assessment_for_each_scenario():
    resources = checked(write_back.of_answer(answer(), **about()))
    kinds = ["Observation", "RiskAssessment"] * 2
    assert [each.get_resource_type() for each in resources] == kinds
    course, told = resources[2], resources[3]
    assert (course.code.coding[0].system, course.code.coding[0].code) == (
        "http://loinc.org", "99504-3",
    )  # fmt: skip
    sampled = course.component[1].valueSampledData
    assert sampled.data.split() == ["90.0"] * 24
    assert (sampled.origin.system, sampled.origin.code) == ("http://unitsofmeasure.org", "mg/dL")
    assert float(sampled.period) == 5 * 60_000
    assert told.basis[0].reference == "urn:uuid:00000000-0000-0000-0000-000000000003"
    assert "-30 against as planned" in told.prediction[0].outcome.text
    assert "91% at 60 min (of 40)" in told.prediction[0].rationale


def test_it_is_marked_as_said_by_software_and_states_its_limits_and_no_probability():
    for resource in checked(write_back.of_answer(answer(), **about())):
        assert resource.status == "preliminary"
        assert resource.meta.security[0].code == "AIAST"
        assert resource.subject.identifier.value == RECORD
        for prediction in getattr(resource, "prediction", None) or ():
            assert prediction.probabilityDecimal is None
            assert prediction.qualitativeRisk is None
    notes = {note.text for note in resource.note}
    assert set(twins.get("glucose/1").spec.limits) <= notes


@pytest.mark.parametrize("dated", [True, False])
def test_times_are_those_of_the_diary_if_it_has_dates_and_say_so_if_not(dated):
    asked = 30_000_000.0 if dated else 1435.0
    told = checked(write_back.of_answer(answer(asked_at=asked), **about()))[1]
    since = 30_000_000.0 * 60 if dated else NOW
    assert told.occurrenceDateTime.timestamp() == since
    assert told.prediction[0].whenPeriod.end.timestamp() == since + 3600
    assert any("no dates" in note.text for note in told.note) is not dated


def test_where_nothing_can_be_said_of_an_interval_none_is_written():
    course, told = checked(write_back.of_answer(answer(low=-np.inf), **about()))[:2]
    assert set(course.component[1].valueSampledData.data.split()) == {"E"}
    assert "interval" not in told.prediction[0].outcome.text
    assert told.prediction[0].rationale.startswith("too little is known")


@pytest.mark.parametrize("rows", [(("insulin_effect", 0.9, 1.0, 40.0),), ()])
def test_what_is_particular_about_a_patient_is_one_observation(rows):
    found = Explanation(rows=rows, words=("the time of day moves the forecast",))
    spec = twins.get("glucose/1").spec
    (resource,) = checked(write_back.of_explanation(found, spec=spec, **about()))
    if rows:
        assert resource.component[0].valueQuantity.code == "1"
        assert "percentile 40" in resource.component[0].interpretation[0].text
    else:
        assert resource.valueString == "the time of day moves the forecast"
