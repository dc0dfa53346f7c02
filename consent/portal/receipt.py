"""The receipt that a patient takes home, in the order of ISO/IEC TS 27560:2023.

It carries the hospital's signed documents as they are, and the study with its salt: with them
anybody can find the patient's entry on the ledger, without them nobody can.
"""

from __future__ import annotations

import json
from typing import Any

from consent.fhir.meaning import resource
from consent.portal.site import Asked
from twinward.ids import OrgName


def record_of(one: Asked, *, hospital: OrgName) -> dict[str, Any]:
    """The record of one letter, with every receipt that the hospital signed for it."""
    grant, withdrawal = one.known["grant"], one.known["withdrawal"]
    return {
        "schema": "twinward/consent-record/v1",
        "form": "ISO/IEC TS 27560:2023",
        "record_metadata": {
            "record_id": grant["digest"] if grant else None,
            "pii_principal_id": grant["subject"] if grant else None,
        },
        "notice": {"language": "en", "text": one.text, "digest": one.terms.hex()},
        "pii_processing": {
            "purposes": grant["purposes"] if grant else [],
            "pii_controllers": [hospital],
            "pii_categories": list(one.covered),
            "pii_categories_left_out": list(one.left_out),
            "valid_until": grant["expiry"] if grant else None,
            "study": one.study.to_json(),
        },
        "event": {
            "state": one.rule.value,
            "grade": grant["grade"] if grant else None,
            "given_at": grant["received_at"] if grant else None,
            "withdrawn_at": withdrawal["received_at"] if withdrawal else None,
        },
        "receipts": {
            name: None if text is None else json.loads(text)
            for name, text in one.known["receipts"].items()
        },
    }


def fhir_of(one: Asked, *, hospital: OrgName) -> dict[str, Any] | None:
    """The permission as a FHIR R4 Consent; None if there never was one.

    It names the patient by the number on the ledger, not by the hospital's.
    """
    grant = one.known["grant"]
    if grant is None:
        return None
    patient = {"identifier": {"system": "urn:twinward:subject", "value": grant["subject"]}}
    made = resource(
        patient,
        one.study,
        hospital,
        names=grant["purposes"],
        begins=grant["begins"],
        expiry=grant["expiry"],
        received_at=grant["received_at"],
        grade=grant["grade"],
        digest=grant["digest"],
        without=grant["without"],
    )
    return made if one.has_said_yes else made | {"status": "inactive"}
