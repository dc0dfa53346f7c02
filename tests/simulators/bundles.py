"""FHIR R4 bundles of made-up patients, with one thing wrong where a test wants it."""

import json

LOINC, SNOMED, UCUM = "http://loinc.org", "http://snomed.info/sct", "http://unitsofmeasure.org"


def concept(system, code):
    return {"coding": [{"system": system, "code": code}]}


def patient(number="MRN-1", *, address="urn:uuid:p", **other):
    """A Patient with the hospital's own number."""
    kind = concept("http://terminology.hl7.org/CodeSystem/v2-0203", "MR")
    return {
        "fullUrl": address,
        "resource": {
            "resourceType": "Patient",
            "id": number.lower(),
            "identifier": [{"value": "other"}, {"type": kind, "value": number}],
            "gender": "female",
            "birthDate": "1950-06-30",
            **other,
        },
    }


def observation(loinc="8480-6", value=140, unit="mm[Hg]", *, subject="urn:uuid:p", **other):
    """A measured Observation; systolic pressure unless told."""
    quantity = {"value": value, "unit": unit, "system": UCUM, "code": unit}
    return {
        "resource": {
            "resourceType": "Observation",
            "status": "final",
            "code": concept(LOINC, loinc),
            "subject": {"reference": subject},
            "effectiveDateTime": "2020-01-31T10:00:00+01:00",
            "valueQuantity": quantity,
            **other,
        }
    }


def condition(code="53741008", *, subject="urn:uuid:p", **other):
    """A Condition; coronary artery disease unless told."""
    return {
        "resource": {
            "resourceType": "Condition",
            "code": concept(SNOMED, code),
            "subject": {"reference": subject},
            "onsetDateTime": "2019-05-01",
            **other,
        }
    }


def bundle(*entries):
    """A transaction Bundle with these entries, as bytes."""
    return json.dumps(
        {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}
    ).encode()
