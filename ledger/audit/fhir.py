"""FHIR R4 AuditEvents as the audit log writes them; `ledger.audit.profiles` checks their form.

Profiles of IHE Basic Audit Log Patterns 1.1.4 (https://profiles.ihe.net/ITI/BALP): every consent
decision is an ``AuthZconsent``, each use of a patient's data by a run a
``PrivacyDisclosure.Source``, each page that an auditor asks for a ``Query``; all else is a plain
AuditEvent.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from ledger.audit import codes
from twinward.clock import iso

Json = dict[str, Any]


def consent_decision(
    *,
    org: str,
    patient: str,
    study: str,
    consent: str,
    permit: bool,
    rule: str,
    at: float,
    client: str = "federated-training",
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
        client: Which program asked.
    """
    node = _named(f"urn:twinward:node:{org}")
    return {
        **_event(codes.AUTHORIZATION, at=at, observer=node),
        "type": _coding(codes.DCM, "110113", "Security Alert"),
        "subtype": [_coding(codes.AUTHORIZATION_TYPE, "AuthZ-Consent")],
        "action": "E",
        "outcome": "0" if permit else "8",
        "outcomeDesc": rule,
        "purposeOfEvent": [{"coding": [_coding(codes.REASON, "HRESCH")]}],
        "agent": [
            _agent(codes.AUTHORIZER, node),
            _agent(codes.CLIENT, _named(f"urn:twinward:{client}"), network="localhost"),
            {**_agent(codes.USER, _named(f"urn:twinward:study:{study}")), "requestor": True},
            _agent(codes.PROVIDER, _named(f"urn:twinward:org:{org}")),
        ],
        "entity": [
            _patient(patient),
            {"type": _coding(*codes.CONSENT), "what": _named(f"urn:twinward:consent:{consent}")},
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
        **_event(codes.DISCLOSURE, at=at, observer=node),
        "type": _coding(codes.DCM, "110106", "Export"),
        "subtype": [_coding(codes.LIFECYCLE, "disclose")],
        "action": "R",
        "outcome": "0",
        "outcomeDesc": "masked and noised sum; no record leaves",
        "purposeOfEvent": [{"coding": [_coding(codes.REASON, "HRESCH")]}],
        "agent": [
            _agent(codes.SOURCE, node, network=org),
            _agent(codes.RECIPIENT, _named(f"urn:twinward:org:{to}"), network=to),
        ],
        "entity": [
            _patient(patient),
            {
                "type": _coding(codes.ENTITY, "2", "System Object"),
                "role": _coding(codes.ROLE, "20", "Job"),
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
        "type": _coding(codes.DCM, "110100", "Application Activity"),
        "subtype": [_coding("urn:twinward:audit", what)],
        "action": "E",
        "outcome": "0" if failure is None else "8",
        **({} if failure is None else {"outcomeDesc": failure}),
        "agent": [{**_agent(codes.CLIENT, _named(by)), "requestor": True}],
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
        "purposeOfEvent": [{"coding": [_coding(codes.REASON, "TREAT")]}],
        "entity": [_patient(patient), *event["entity"]],
    }


def sign_in(
    *, org: str, who: str, way: str, address: str, at: float, failure: str | None = None
) -> Json:
    """Somebody signed in at the auditors' site, or tried to.

    Args:
        org: Whose site.
        who: The account; ``unknown`` where there is none of the name that was typed.
        way: ``passphrase``, ``invitation`` or ``provider``.
        address: Where the browser is, as the connection says; stays in the erasable body.
        at: Unix seconds.
        failure: The code of the refusal; None if they are in.
    """
    user = _agent(codes.USER, _named(f"urn:twinward:auditor:{who}"))
    return {
        **_event(None, at=at, observer=_named(f"urn:twinward:node:{org}")),
        "type": _coding(codes.DCM, "110114", "User Authentication"),
        "subtype": [_coding(codes.DCM, "110122", "Login")],
        "action": "E",
        "outcome": "0" if failure is None else "8",
        **({} if failure is None else {"outcomeDesc": failure}),
        "agent": [{**user, "requestor": True, "network": _reached(address)}],
        "entity": [{"what": _named(f"urn:twinward:way:{way}")}],
    }


def visit(*, org: str, who: str, site: str, asked: str, address: str, at: float) -> Json:
    """An auditor asked for a page that their account may see.

    Args:
        org: Whose site.
        who: The account.
        site: Where browsers reach the site.
        asked: Path and query of the address.
        address: Where the browser is, as the connection says; stays in the erasable body.
        at: Unix seconds.
    """
    server = _named(f"urn:twinward:node:{org}")
    browser = _agent(codes.SOURCE, _named("urn:twinward:browser"))
    return {
        **_event(codes.QUERY, at=at, observer=server),
        "type": _coding(*codes.REST, "Restful Operation"),
        "subtype": [_coding(*codes.SEARCH)],
        "action": "E",
        "outcome": "0",
        "agent": [
            {**browser, "network": _reached(address)},
            {**_agent(codes.RECIPIENT, server), "network": {"address": site, "type": "5"}},
            {**_agent(codes.USER, _named(f"urn:twinward:auditor:{who}")), "requestor": True},
        ],
        "entity": [
            {
                "type": _coding(*codes.QUERIED, "System Object"),
                "role": _coding(codes.ROLE, "24", "Query"),
                "description": asked,
                "query": b64encode(asked.encode()).decode(),
            }
        ],
    }


def _reached(address: str) -> Json:
    """An IP address."""
    return {"address": address or "unknown", "type": "2"}


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
        "type": _coding(*codes.PERSON, "Person"),
        "role": _coding(codes.ROLE, "1", "Patient"),
        "what": {"type": "Patient", **_named(number)},
    }


def _agent(kind: tuple[str, str], who: Json, *, network: str | None = None) -> Json:
    at = {} if network is None else {"network": {"address": network, "type": "1"}}
    return {"type": {"coding": [_coding(*kind)]}, "who": who, "requestor": False, **at}
