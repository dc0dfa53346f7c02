"""What an R4 Consent means for a study, and how a kept grant reads as one.

IHE Privacy Consent on FHIR 1.1.0, Basic and Intermediate (https://profiles.ihe.net/ITI/PCF). What
a permission says and this network cannot keep to (single documents, authors, times of recording,
labels, chosen recipients) is refused by its element, never left out: that would widen it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from consent import purposes
from consent.fhir import exceptions
from consent.fhir.moments import span
from consent.fhir.refusal import Json, of_element
from consent.fhir.releases import PRIVACY, SCOPES
from consent.kept import KeptGrant
from consent.study import Study
from consent.terms import terms
from twinward.clock import iso
from twinward.ids import OrgName, RecordNumber

REASON: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
PURPOSES: Final = "urn:twinward:purposes"
GRADE: Final = "urn:twinward:fhir:grade"
ATTESTED_BY: Final = "urn:twinward:fhir:attested-by"
SIGNED: Final = "urn:twinward:fhir:signed-grant"
CATEGORY: Final = [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}]

_REASONS = {"HRESCH": "health-research", "TREAT": purposes.OWN_CARE}
_LONGEST = 200
_KNOWN = {
    "resourceType", "id", "meta", "language", "text", "extension", "identifier", "status", "scope",
    "category", "patient", "dateTime", "performer", "organization", "sourceAttachment",
    "sourceReference", "policy", "provision",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Permission:
    """What a Consent permits: purposes of one study, for one patient, until then (Unix seconds).

    ``without`` are the study's categories that the patient left out.
    """

    record: RecordNumber
    study: Study
    mask: int
    signed_on: float
    until: float
    without: tuple[str, ...] = ()


def policy_uri(study: Study, hospital: OrgName) -> str:
    """What ``Consent.policy.uri`` names: the study, and the terms that the patient was shown."""
    shown = terms(study, hospital=hospital).digest.hex()
    return f"urn:twinward:study:{study.id32.hex()}:terms:{shown}"


def patient_of(resource: Mapping[str, Any]) -> RecordNumber:
    """Whose Consent it is, checked or not.

    Raises:
        Refused: TW8601.
    """
    patient = resource.get("patient")
    given = patient.get("reference") if isinstance(patient, dict) else None
    if not isinstance(given, str) or not given.startswith("Patient/") or len(given) > _LONGEST:
        raise of_element("Consent.patient.reference", "Patient/NUMBER is needed", kind="required")
    return RecordNumber(given.removeprefix("Patient/"))


def denies(value: object) -> bool:
    """Whether a body, checked or not, is a Consent that refuses."""
    provision = value.get("provision") if isinstance(value, dict) else None
    return (
        isinstance(value, dict)
        and value.get("resourceType") == "Consent"
        and isinstance(provision, dict)
        and provision.get("type") == "deny"
    )


def about_studies(resource: Mapping[str, Any]) -> bool:
    """Whether a refusal reaches studies; one for other purposes only, such as payment, does not."""
    named = _objects(resource["provision"].get("purpose"))
    return not named or any(
        (each.get("system"), each.get("code")) == (REASON, "HRESCH")
        or each.get("system") == PURPOSES
        for each in named
    )


def study_of(
    resource: Mapping[str, Any], studies: Mapping[bytes, Study], hospital: OrgName
) -> Study | None:
    """The study whose terms the Consent names; None if it names none of ours."""
    uris = [policy.get("uri") for policy in _objects(resource.get("policy"))]
    return next((s for s in studies.values() if policy_uri(s, hospital) in uris), None)


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def permission(
    resource: Mapping[str, Any], studies: Mapping[bytes, Study], hospital: OrgName
) -> Permission:
    """What a Consent permits here.

    Raises:
        Refused: TW8601, the first element that cannot be kept to.
    """
    record = patient_of(resource)
    for name in sorted(set(resource) - _KNOWN):
        raise of_element(f"Consent.{name}", "this element is not kept")
    if resource["status"] != "active":
        raise of_element("Consent.status", "only an active Consent can be given")
    coding = resource["scope"].get("coding", [{}])[0]
    if (coding.get("system"), coding.get("code")) not in {
        (SCOPES, "patient-privacy"),
        (SCOPES, "research"),
    }:
        raise of_element("Consent.scope", "patient-privacy or research is needed")
    _require_parties(resource, record, hospital)
    study = study_of(resource, studies, hospital)
    if study is None or len(resource["policy"]) != 1 or set(resource["policy"][0]) != {"uri"}:
        raise of_element(
            "Consent.policy.uri", "one open study's terms are needed, as `$offers` names them"
        )
    provision = resource.get("provision", {})
    if provision.get("type") != "permit":
        raise of_element("Consent.provision.type", "permit or deny is needed", kind="required")
    begins, ends = _period(provision)
    signed_on, _ = _span(resource.get("dateTime"), "Consent.dateTime")
    if begins is not None and begins > signed_on:
        raise of_element("Consent.provision.period.start", "it may not begin after it was signed")
    mask, excepted = _mask(provision, hospital), exceptions.read(provision, study)
    mask |= purposes.bits(excepted.limits)
    return Permission(record, study, mask, signed_on, ends, excepted.without)


def _require_parties(resource: Mapping[str, Any], record: RecordNumber, hospital: OrgName) -> None:
    if [each.get("reference") for each in resource.get("performer", [])] != [f"Patient/{record}"]:
        raise of_element(
            "Consent.performer", "the patient's own is taken; others answer a mandate's letter"
        )
    ours = f"Organization/{hospital}"
    if [each.get("reference") for each in resource.get("organization", [])] != [ours]:
        raise of_element("Consent.organization", f"exactly {ours} is needed")
    if not ("sourceAttachment" in resource) ^ ("sourceReference" in resource):
        raise of_element("Consent.source", "what the patient signed is needed", kind="required")


def _period(provision: Mapping[str, Any]) -> tuple[float | None, float]:
    period, at = provision.get("period", {}), "Consent.provision.period"
    begins = _span(period["start"], f"{at}.start")[0] if "start" in period else None
    return begins, _span(period.get("end"), f"{at}.end")[1]


def _span(text: str | None, at: str) -> tuple[float, float]:
    if text is None:
        raise of_element(at, "this is needed", kind="required")
    found = span(text)
    if found is None:
        raise of_element(at, "this is no date", kind="value")
    return found


def _mask(provision: Mapping[str, Any], hospital: OrgName) -> int:
    at = "Consent.provision"
    known = {"type", "period", "purpose", "actor", "provision"}
    for name in sorted(set(provision) - known):
        raise of_element(f"{at}.{name}", "training cannot be limited by this")
    for number, actor in enumerate(provision.get("actor", [])):
        _require_recipient(actor, hospital, f"{at}.actor[{number}]")
    names = []
    for number, coding in enumerate(provision.get("purpose", [])):
        named = _purpose(coding)
        if named is None:
            raise of_element(f"{at}.purpose[{number}]", "this purpose is not in the table")
        names.append(named)
    if not names:
        raise of_element(f"{at}.purpose", "a purpose is needed", kind="required")
    return purposes.bits(names)


def _require_recipient(actor: Mapping[str, Any], hospital: OrgName, at: str) -> None:
    role = actor["role"].get("coding", [{}])[0]
    if (role.get("system"), role.get("code")) != (PARTICIPATION, "IRCP"):
        raise of_element(f"{at}.role", "a recipient (IRCP) is needed")
    if actor["reference"].get("reference") != f"Organization/{hospital}":
        raise of_element(f"{at}.reference", "a study's recipients cannot be chosen one by one")
    if set(actor) != {"role", "reference"}:
        raise of_element(at, "an actor has a role and a reference")


def _purpose(coding: Mapping[str, Any]) -> str | None:
    system, code = coding.get("system"), str(coding.get("code"))
    if system == REASON:
        return _REASONS.get(code)
    known = {row.name for row in purposes.PURPOSES}
    return code if system == PURPOSES and code in known else None


def written(kept: KeptGrant, study: Study, hospital: OrgName) -> Json:
    """A grant of the vault as an R4 Consent; `permission` reads the same from it."""
    return resource(
        {"reference": f"Patient/{kept.record}"},
        study,
        hospital,
        names=purposes.names(kept.grant.purposes),
        begins=kept.grant.not_before,
        expiry=kept.grant.expiry,
        received_at=kept.received_at,
        grade=kept.grade,
        digest=kept.digest.hex(),
        without=study.without(kept.grant.scope, hospital),
    )


def resource(
    patient: Json,
    study: Study,
    hospital: OrgName,
    *,
    names: Collection[str],
    begins: int,
    expiry: int,
    received_at: int,
    grade: str,
    digest: str,
    without: Collection[str] = (),
) -> Json:
    """A grant as an R4 Consent.

    Args:
        patient: Reference to the patient.
        study: What it is for.
        hospital: Whose records.
        names: Rows of the purpose table.
        begins: From then on, Unix seconds.
        expiry: Until then.
        received_at: When the hospital got it.
        grade: How it came about.
        digest: Its name on the ledger, in hex.
        without: Categories of the study that the patient left out.
    """
    provision: Json = {
        "type": "permit",
        "period": {
            "start": iso(begins),
            "end": iso(expiry - 1),  # FHIR counts the last second in
        },
        "purpose": [
            {"system": PURPOSES, "code": row.name} for row in purposes.PURPOSES if row.name in names
        ],
        **exceptions.written(names, without),
    }
    return {
        "resourceType": "Consent",
        "extension": [{"url": GRADE, "valueCode": grade}],
        "status": "active",
        "scope": PRIVACY,
        "category": CATEGORY,
        "patient": patient,
        "dateTime": iso(received_at),
        "performer": [patient],
        "organization": [{"reference": f"Organization/{hospital}"}],
        "sourceAttachment": {"title": f"urn:twinward:grant:{digest}"},
        "policy": [{"uri": policy_uri(study, hospital)}],
        "provision": provision,
    }
