"""FHIR R4 AuditEvents as the audit log writes them, and a check of their form.

Profiles of IHE Basic Audit Log Patterns 1.1.4 (https://profiles.ihe.net/ITI/BALP): every consent
decision is an ``AuthZconsent``, each use of a patient's data by a run a
``PrivacyDisclosure.Source``; what is about no single patient is a plain AuditEvent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from twinward.clock import iso

Json = dict[str, Any]

_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
_AUTHORIZATION = "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType"
_BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
AUTHORIZATION = f"{_BALP}AuthZconsent"
DISCLOSURE = f"{_BALP}PrivacyDisclosure.Source"

_CLIENT = (_DCM, "110150")
_USER = ("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP")
_PROVIDER = ("http://terminology.hl7.org/CodeSystem/v3-RoleClass", "PROV")
_AUTHORIZER = ("http://terminology.hl7.org/CodeSystem/extra-security-role-type", "authserver")
_SOURCE, _RECIPIENT = (_DCM, "110153"), (_DCM, "110152")
_PERSON, _CONSENT = (_ENTITY, "1"), ("http://hl7.org/fhir/resource-types", "Consent")


def consent_decision(
    *, org: str, patient: str, study: str, consent: str, permit: bool, rule: str, at: float
) -> Json:
    """Whether a patient's data may be used for a study from now on, and by which rule.

    Args:
        org: The hospital that decided.
        patient: Its own number of the patient; stays in the erasable body.
        study: Name of the study.
        consent: What names the consent on the ledger; ``none`` if there is none.
        permit: The decision.
        rule: The rule that decided, of ``consent.policy``.
        at: Unix seconds.
    """
    node = _named(f"urn:twinward:node:{org}")
    return {
        **_event(AUTHORIZATION, at=at, observer=node),
        "type": _coding(_DCM, "110113", "Security Alert"),
        "subtype": [_coding(_AUTHORIZATION, "AuthZ-Consent")],
        "action": "E",
        "outcome": "0" if permit else "8",
        "outcomeDesc": rule,
        "purposeOfEvent": [{"coding": [_coding(_REASON, "HRESCH")]}],
        "agent": [
            _agent(_AUTHORIZER, node),
            _agent(_CLIENT, _named("urn:twinward:federated-training"), network="localhost"),
            {**_agent(_USER, _named(f"urn:twinward:study:{study}")), "requestor": True},
            _agent(_PROVIDER, _named(f"urn:twinward:org:{org}")),
        ],
        "entity": [
            _patient(patient),
            {"type": _coding(*_CONSENT), "what": _named(f"urn:twinward:consent:{consent}")},
        ],
    }


def disclosure(*, org: str, patient: str, study: str, run: str, to: str, at: float) -> Json:
    """A patient's data entered a run: a noised sum over many patients goes to the recipient.

    Args:
        org: The hospital.
        patient: Its own number of the patient; stays in the erasable body.
        study: Name of the study.
        run: What names the run, in hex.
        to: Who receives the noised sum.
        at: Unix seconds.
    """
    node = _named(f"urn:twinward:node:{org}")
    return {
        **_event(DISCLOSURE, at=at, observer=node),
        "type": _coding(_DCM, "110106", "Export"),
        "subtype": [_coding(_LIFECYCLE, "disclose")],
        "action": "R",
        "outcome": "0",
        "outcomeDesc": "masked and noised sum; no record leaves",
        "purposeOfEvent": [{"coding": [_coding(_REASON, "HRESCH")]}],
        "agent": [
            _agent(_SOURCE, node, network=org),
            _agent(_RECIPIENT, _named(f"urn:twinward:org:{to}"), network=to),
        ],
        "entity": [
            _patient(patient),
            {
                "type": _coding(_ENTITY, "2", "System Object"),
                "role": _coding(_ROLE, "20", "Job"),
                "what": _named(f"urn:twinward:run:{run}"),
                "name": study,
            },
        ],
    }


def activity(
    *, org: str, what: str, by: str, about: Sequence[str], at: float, failure: str | None = None
) -> Json:
    """Something that the organisation's own machine or staff did, about no single patient.

    Args:
        org: The organisation.
        what: One word: the kind of the entry.
        by: Who did it: a program, or an account of this machine.
        about: What names the things it is about, such as ``run:HEX``.
        at: Unix seconds.
        failure: Why it was refused; None if it was done.
    """
    return {
        **_event(None, at=at, observer=_named(f"urn:twinward:node:{org}")),
        "type": _coding(_DCM, "110100", "Application Activity"),
        "subtype": [_coding("urn:twinward:audit", what)],
        "action": "E",
        "outcome": "0" if failure is None else "8",
        **({} if failure is None else {"outcomeDesc": failure}),
        "agent": [{**_agent(_CLIENT, _named(by)), "requestor": True}],
        "entity": [{"what": _named(f"urn:twinward:{name}")} for name in about],
    }


def care(
    *, org: str, what: str, by: str, patient: str, about: Sequence[str], at: float, words: str = ""
) -> Json:
    """Something that was done or said for one patient's own care.

    Args:
        org: The hospital.
        what: One word: the kind of the entry.
        by: Who did it.
        patient: The hospital's own number; stays in the erasable body.
        about: What names the things it is about, such as ``twin:NAME``.
        at: Unix seconds.
        words: Why, in the words of whoever did it; stays in the erasable body.
    """
    event = activity(org=org, what=what, by=by, about=about, at=at)
    said = {"outcomeDesc": words} if words else {}
    return {
        **event,
        **said,
        "purposeOfEvent": [{"coding": [_coding(_REASON, "TREAT")]}],
        "entity": [_patient(patient), *event["entity"]],
    }


def _event(profile: str | None, *, at: float, observer: Json) -> Json:
    meta = {} if profile is None else {"meta": {"profile": [profile]}}
    return {
        "resourceType": "AuditEvent",
        **meta,
        "recorded": iso(at),
        "source": {"observer": observer},
    }


def _coding(system: str, code: str, display: str | None = None) -> Json:
    return {"system": system, "code": code, **({} if display is None else {"display": display})}


def _named(value: str) -> Json:
    return {"identifier": {"value": value}}


def _patient(number: str) -> Json:
    return {
        "type": _coding(*_PERSON, "Person"),
        "role": _coding(_ROLE, "1", "Patient"),
        "what": {"type": "Patient", **_named(number)},
    }


def _agent(kind: tuple[str, str], who: Json, *, network: str | None = None) -> Json:
    at = {} if network is None else {"network": {"address": network, "type": "1"}}
    return {"type": {"coding": [_coding(*kind)]}, "who": who, "requestor": False, **at}


# The check: what R4 requires of every AuditEvent, and what the two profiles add.

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_KNOWN = {
    "resourceType", "id", "meta", "type", "subtype", "action", "period", "recorded", "outcome",
    "outcomeDesc", "purposeOfEvent", "agent", "source", "entity",
}  # fmt: skip
_VALUES = {"action": "CRUDE", "outcome": ("0", "4", "8", "12")}


def problems(event: Mapping[str, Any]) -> list[str]:
    """What is wrong with an AuditEvent by R4 and the profile that it claims; empty if nothing."""
    try:
        return list(_problems(event))
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        return [f"malformed: {type(error).__name__} {error}"]


def _problems(event: Mapping[str, Any]) -> Iterator[str]:
    if event["resourceType"] != "AuditEvent" or set(event) - _KNOWN:
        yield f"unknown elements: {sorted(set(event) - _KNOWN)}"
    if not _INSTANT.fullmatch(event["recorded"]):
        yield "recorded is not an instant"
    if not {"system", "code"} <= set(event["type"]):
        yield "type is not a coding"
    for name, allowed in _VALUES.items():
        if event.get(name) not in {None, *allowed}:
            yield f"{name} is not of the value set"
    if not event["source"]["observer"]:
        yield "there is no source"
    if not event["agent"] or not all(type(a["requestor"]) is bool for a in event["agent"]):
        yield "an agent is missing, or does not say whether it asked"
    yield from _by_profile(event)


def _by_profile(event: Mapping[str, Any]) -> Iterator[str]:
    for profile in event.get("meta", {}).get("profile", []):
        if profile == AUTHORIZATION:
            yield from _profile(
                event,
                kind=(_DCM, "110113"),
                subtype=(_AUTHORIZATION, "AuthZ-Consent"),
                action="E",
                agents={_CLIENT: True, _USER: False, _PROVIDER: False, _AUTHORIZER: False},
                observer=_AUTHORIZER,
                entities=(_PERSON, _CONSENT),
            )
        elif profile == DISCLOSURE:
            yield from _profile(
                event,
                kind=(_DCM, "110106"),
                subtype=(_LIFECYCLE, "disclose"),
                action="R",
                agents={_SOURCE: True, _RECIPIENT: True},
                observer=_SOURCE,
                entities=(_PERSON,),
            )
        else:
            yield f"unknown profile {profile}"


def _profile(
    event: Mapping[str, Any],
    *,
    kind: tuple[str, str],
    subtype: tuple[str, str],
    action: str,
    agents: Mapping[tuple[str, str], bool],
    observer: tuple[str, str],
    entities: Sequence[tuple[str, str]],
) -> Iterator[str]:
    """``agents``: each once, and whether it must state its place in the network."""
    if _code(event["type"]) != kind or event["action"] != action or "outcome" not in event:
        yield "type, action or outcome is not the profile's"
    if subtype not in [_code(each) for each in event["subtype"]]:
        yield "the profile's subtype is missing"
    for wanted, networked in agents.items():
        found = [a for a in event["agent"] if _code(a["type"]["coding"][0]) == wanted]
        if len(found) != 1 or not found[0]["who"] or (networked and "network" not in found[0]):
            yield f"agent {wanted[1]} is missing, there twice, or incomplete"
        elif wanted == observer and found[0]["who"] != event["source"]["observer"]:
            yield "the source is not the agent that it must be"
        elif found[0]["requestor"] != (wanted == _USER):
            yield f"agent {wanted[1]} is wrong about who asked"
    kinds = [_code(entity["type"]) for entity in event["entity"]]
    if len(kinds) < 2 or any(kinds.count(each) != 1 for each in entities):
        yield "an entity of the profile is missing or there twice"
    if any(
        _code(e["type"]) == _PERSON and _code(e["role"]) != (_ROLE, "1") for e in event["entity"]
    ):
        yield "the person is not in the role of the patient"
    if not all(entity["what"] for entity in event["entity"]):
        yield "an entity does not say what it is"


def _code(coding: Mapping[str, Any]) -> tuple[str, str]:
    return coding["system"], coding["code"]
