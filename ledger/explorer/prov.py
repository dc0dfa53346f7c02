"""Lineage for other programs: W3C PROV-JSON, and FHIR R4 Provenance.

PROV-JSON: https://www.w3.org/submissions/prov-json/. Documents, plans and models are entities,
runs and approvals activities, members agents. FHIR: https://hl7.org/fhir/R4/provenance.html, one
resource for each record, in a collection. Both hold digests, times and members; nothing about a
patient.
"""

from __future__ import annotations

from typing import Any

from ledger.events import Event
from ledger.explorer.lineage import Lineage
from ledger.explorer.view import View, kind_of
from twinward.clock import iso

Json = dict[str, Any]
_SPACE = "urn:twinward:"
_XSD_TIME = "xsd:dateTime"
_PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"


def prov_json(view: View, found: Lineage) -> Json:
    """The lineage as one PROV-JSON document."""
    made: dict[str, Json] = {
        "prefix": {"tw": _SPACE, "xsd": "http://www.w3.org/2001/XMLSchema#"},
        "entity": {},
        "activity": {},
        "agent": {},
        "wasDerivedFrom": {},
        "wasAttributedTo": {},
        "wasGeneratedBy": {},
        "used": {},
        "wasAssociatedWith": {},
    }

    def relate(kind: str, **ends: str) -> None:
        name = f"_:{kind}{len(made[kind]) + 1}"
        made[kind][name] = {f"prov:{end}": value for end, value in ends.items()}

    def agent(account: bytes) -> str:
        name = f"tw:member-{account.hex()}"
        made["agent"][name] = {
            "prov:type": {"$": "prov:Organization", "type": "xsd:QName"},
            "prov:label": view.member(account),
        }
        return name

    for digest, event in found.records.items():
        made["entity"][_entity(digest)] = {
            "prov:type": {"$": f"tw:{kind_of(event)}", "type": "xsd:QName"},
            "prov:label": view.papers.title(digest) or digest.hex(),
            "tw:recorded": {"$": iso(event.time), "type": _XSD_TIME},
            "tw:event": event.number,
        }
        relate("wasAttributedTo", entity=_entity(digest), agent=agent(event.raw("by")))
        for parent in event.parts("parents"):
            if parent in found.records:
                relate(
                    "wasDerivedFrom", generatedEntity=_entity(digest), usedEntity=_entity(parent)
                )
    for run in found.runs:
        name = f"tw:run-{run.run.hex()}"
        made["activity"][name] = {
            "prov:type": {"$": "tw:run", "type": "xsd:QName"},
            "prov:startTime": iso(run.reservations[0].time),
        }
        relate("used", activity=name, entity=_entity(run.plan))
        for event in run.reservations:
            relate("wasAssociatedWith", activity=name, agent=agent(event.raw("hospital")))
        if run.model is not None and run.model in found.records:
            made["activity"][name]["prov:endTime"] = iso(found.records[run.model].time)
            relate("wasGeneratedBy", entity=_entity(run.model), activity=name)
    for event in found.approvals:
        name = f"tw:approval-{event.number}"
        made["activity"][name] = {
            "prov:type": {"$": "tw:approval", "type": "xsd:QName"},
            "prov:startTime": iso(event.time),
            "prov:endTime": iso(event.time),
        }
        relate("used", activity=name, entity=_entity(event.raw("digest")))
        relate("wasAssociatedWith", activity=name, agent=agent(event.raw("by")))
    return {kind: content for kind, content in made.items() if content}


def fhir(view: View, found: Lineage) -> Json:
    """The lineage as a FHIR R4 Bundle of Provenance resources, one for each record."""
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": iso(view.history.time),
        "entry": [
            {
                "fullUrl": f"{_SPACE}provenance:{digest.hex()}",
                "resource": _provenance(view, found, digest, event),
            }
            for digest, event in found.records.items()
        ],
    }


def _provenance(view: View, found: Lineage, digest: bytes, event: Event) -> Json:
    resource: Json = {
        "resourceType": "Provenance",
        "target": [_reference(view, digest)],
        "recorded": iso(event.time),
        "activity": {
            "coding": [{"system": _OPERATION, "code": "CREATE", "display": "create"}],
            "text": f"recorded as {kind_of(event)}",
        },
        "agent": [_agent(view, event.raw("by"), "author")],
    }
    approvals = [e for e in found.approvals if e.raw("digest") == digest]
    resource["agent"] += [_agent(view, e.raw("by"), "verifier") for e in approvals]
    for run in found.runs:
        if run.model == digest:
            resource["occurredPeriod"] = {
                "start": iso(run.reservations[0].time),
                "end": iso(event.time),
            }
            hospitals = [e.raw("hospital") for e in run.reservations]
            resource["agent"] += [_agent(view, one, "performer") for one in hospitals]
    sources = [
        {"role": "derivation", "what": _reference(view, parent)}
        for parent in event.parts("parents")
    ]
    return resource | ({"entity": sources} if sources else {})


def _reference(view: View, digest: bytes) -> Json:
    return {
        "identifier": {"system": f"{_SPACE}sha256", "value": digest.hex()},
        "display": view.papers.title(digest) or digest.hex()[:12],
    }


def _agent(view: View, account: bytes, role: str) -> Json:
    return {
        "type": {"coding": [{"system": _PARTICIPANT, "code": role}]},
        "who": {
            "identifier": {"system": f"{_SPACE}member", "value": account.hex()},
            "display": view.member(account),
        },
    }


def _entity(digest: bytes) -> str:
    return f"tw:{digest.hex()}"
