"""FHIR bundles become drafts of patients; what is wrong is named and costs only itself."""

import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hospital_node.data import importing, mapping
from hospital_node.data.fhir.bundle import FhirBundles
from tests.simulators.bundles import (
    LOINC,
    SNOMED,
    bundle,
    concept,
    condition,
    observation,
    patient,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FOLDER = os.environ.get("TWINWARD_DATA_DIR")
real_bundles = pytest.mark.skipif(
    FOLDER is None or not Path(FOLDER, "fhir_r4").is_dir(),
    reason="TWINWARD_DATA_DIR has no FHIR bundles",
)


def source(*files, **fields):
    read = mapping.read(importing.FHIR_MAPPING)
    if fields:
        changed = {
            **read.fields,
            **{name: read.fields[name].model_copy(update=new) for name, new in fields.items()},
        }
        read = read.model_copy(update={"fields": changed})
    return FhirBundles(files, read, now=NOW)


def decoded(*entries, **fields):
    """The one patient's values, and the kinds of defects with their fields."""
    drafts, defects = source(**fields).decode(bundle(*entries), name="b.json")
    kinds = {(each.kind, each.field) for each in defects if each.kind != "incomplete"}
    return (drafts[0].values if drafts else None), kinds


def test_codes_become_fields_in_the_units_of_the_models():
    values, defects = decoded(
        patient(),
        observation("2093-3", 5.2, "mmol/L"),
        observation("1558-6", 7.5, "mmol/L"),
        condition(),
        condition("429559004"),
        {
            "resource": {
                "resourceType": "Observation",
                "status": "final",
                "code": concept(LOINC, "55284-4"),
                "subject": {"reference": "Patient/mrn-1"},
                "effectiveDateTime": "2020-01-30",
                "component": [
                    {
                        "code": concept(LOINC, "8480-6"),
                        "valueQuantity": {
                            "value": 18.6,
                            "system": "http://unitsofmeasure.org",
                            "code": "kPa",
                        },
                    }
                ],
            }
        },
        observation(
            "8601-7", valueQuantity=None, valueCodeableConcept=concept(SNOMED, "428750005")
        ),
    )
    assert defects == set()
    assert values == {
        "age": 69.0,
        "sex": 0.0,
        "chol": pytest.approx(5.2 * 38.665),
        "fbs": 1.0,
        "num": 1.0,
        "cp": 1.0,
        "trestbps": pytest.approx(139.51, abs=0.01),
        "restecg": 1.0,
    }


def test_the_newest_value_counts_and_old_ones_do_not():
    values, _ = decoded(
        patient(),
        observation(value=120, effectiveDateTime="2019-02-01"),
        observation(value=150, effectiveDateTime="2020-01-31"),
        observation("2093-3", 200, "mg/dL", effectiveDateTime="2018-01-01"),
    )
    assert values == {"trestbps": 150.0, "age": 69.0, "sex": 0.0}


def test_an_observation_without_a_date_has_that_of_its_encounter():
    visit = {
        "fullUrl": "urn:uuid:v",
        "resource": {"resourceType": "Encounter", "id": "v", "period": {"start": "2015-03-01"}},
    }
    values, defects = decoded(
        patient(),
        visit,
        observation(effectiveDateTime="", encounter={"reference": "urn:uuid:v"}),
    )
    assert (values["age"], defects) == (64.0, set())


def test_silence_is_no_answer_unless_the_hospital_says_so():
    assert "num" not in decoded(patient(), observation())[0]
    assert decoded(patient(), observation(), num={"absent": 0.0})[0]["num"] == 0.0
    assert decoded(patient(), observation(), condition(), num={"absent": 0.0})[0]["num"] == 1.0


FAULTS = {
    "unit that measures something else": (observation(unit="kg"), ("unit-mismatch", "trestbps")),
    "unit that is none": (observation(unit="mmHg"), ("unit-unknown", "trestbps")),
    "no unit": (observation(valueQuantity={"value": 120}), ("unit-missing", "trestbps")),
    "text for a number": (observation(value="120"), ("not-a-number", "trestbps")),
    "a bound": (
        observation(valueQuantity={"value": 120, "comparator": "<"}),
        ("comparator", "trestbps"),
    ),
    "no value": (observation(valueQuantity=None), ("no-value", "trestbps")),
    "impossible value": (observation(value=1200), ("out-of-range", "trestbps")),
    "mistyped code": (observation("8480-7"), ("wrong-code", "")),
    "code of another system": (
        observation(code=concept("http://example.org/local", "8480-6")),
        ("wrong-code-system", ""),
    ),
    "answer that the field does not know": (
        observation("8601-7", valueCodeableConcept=concept(SNOMED, "22298006")),
        ("wrong-code", "restecg"),
    ),
    "preliminary": (observation(status="preliminary"), ("not-final", "")),
    "date that is none": (observation(effectiveDateTime="2020-02-31"), ("bad-date", "")),
    "date in the future": (observation(effectiveDateTime="2030-01-01"), ("future-date", "")),
    "date before birth": (observation(effectiveDateTime="1949-01-01"), ("before-birth", "")),
    "no date": (observation(effectiveDateTime=""), ("no-date", "")),
    "patient who is elsewhere": (
        observation(subject="Patient/unknown"),
        ("dangling-reference", ""),
    ),
    "part of a wrong form": (observation(component="none"), ("malformed", "")),
    "diagnosis in error": (
        condition(verificationStatus=concept("x", "entered-in-error")),
        ("not-final", ""),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_resource_is_named_and_costs_only_itself(fault):
    entry, expected = FAULTS[fault]
    sound = observation("2093-3", 200, "mg/dL")
    values, defects = decoded(patient(), entry, sound)
    assert expected in defects
    assert values["chol"] == 200.0
    assert values.keys() <= {"chol", "age", "sex"}


def test_the_same_resource_twice_counts_once():
    values, defects = decoded(patient(), observation(id="o"), observation(id="o", value=90))
    assert values["trestbps"] == 140.0
    assert defects == {("duplicate", "")}


def test_of_two_values_of_one_moment_none_is_believed():
    values, defects = decoded(patient(), observation(value=120), observation(value=180))
    assert "trestbps" not in values
    assert defects == {("contradicting-value", "trestbps")}


def test_a_diagnosis_that_was_refuted_is_none():
    refuted = condition(verificationStatus=concept("x", "refuted"))
    assert decoded(patient(), observation(), refuted) == (
        {"trestbps": 140.0, "age": 69.0, "sex": 0.0},
        set(),
    )


def test_a_patient_without_the_hospitals_number_is_left_out():
    assert decoded(patient(identifier=[]), observation()) == (None, {("no-identifier", "")})


def test_a_bundle_may_hold_several_patients():
    drafts, _ = source().decode(
        bundle(
            patient("A", address="urn:uuid:a"),
            patient("B", address="urn:uuid:b"),
            observation(value=111, subject="urn:uuid:a"),
            observation(value=122, subject="https://ehr.example/fhir/Patient/b"),
        ),
        name="b.json",
    )
    assert [(d.record, d.values["trestbps"]) for d in drafts] == [("A", 111.0), ("B", 122.0)]


SOUND = bundle(patient(), observation(), condition())
FILES = {
    "truncated": [SOUND[:200], gzip.compress(SOUND)[:-9], b""],
    "not-json": [b"record,age\n1,2\n", SOUND.replace(b"140", b"1 40"), b"\xff\xfe{}"],
    "not-a-bundle": [b"[]", b'{"resourceType": "Patient"}', b'{"resourceType": "Bundle"}'],
    "no-patient": [bundle(observation()), b'{"resourceType": "Bundle", "entry": []}'],
    "unreadable": [b"\x1f\x8bnot gzip at all, but it begins so"],
}


@pytest.mark.parametrize("kind", FILES)
def test_a_faulty_file_is_named_and_the_others_are_read(tmp_path, kind):
    for number, data in enumerate(FILES[kind]):
        (tmp_path / f"{number}.json").write_bytes(data)
    (tmp_path / "sound.json.gz").write_bytes(gzip.compress(SOUND))
    read = list(source(*sorted(tmp_path.iterdir())).parts(skip=0))
    assert [draft.record for part in read for draft in part.drafts] == ["MRN-1"]
    defects = [defect for part in read for defect in part.defects]
    assert [each.kind for each in defects] == [kind] * len(FILES[kind])
    assert {each.where for each in defects} == {f"{n}.json" for n in range(len(FILES[kind]))}


def test_no_defect_says_a_value(tmp_path):
    entries = [entry for entry, _ in FAULTS.values()]
    _, defects = source().decode(bundle(patient("SECRET-7"), *entries), name="b.json")
    said = json.dumps([each.as_json() for each in defects])
    assert not [word for word in ("SECRET", "1200", "mmHg", "2030", "1949") if word in said]


@real_bundles
def test_every_real_bundle_is_imported_and_every_reason_is_named():
    files = sorted(Path(FOLDER, "fhir_r4").iterdir())
    parts = list(source(*files).parts(skip=0))
    drafts = [draft for part in parts for draft in part.drafts]
    defects = [defect for part in parts for defect in part.defects]
    assert len(drafts) == len(files) == 28
    assert {(each.kind, each.field) for each in defects} == {("incomplete", "num")}
    assert sum(draft.qualifies for draft in drafts) == 28 - len(defects) == 6
    assert sum("trestbps" in draft.values for draft in drafts) == 27
    assert {draft.values["num"] for draft in drafts if draft.qualifies} == {1.0}
