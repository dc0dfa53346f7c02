"""What R4 requires of every AuditEvent, and what the profiles add that ours claim."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ledger.audit import codes

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
        if profile == codes.AUTHORIZATION:
            yield from _profile(
                event,
                kind=(codes.DCM, "110113"),
                subtype=(codes.AUTHORIZATION_TYPE, "AuthZ-Consent"),
                action="E",
                agents={
                    codes.CLIENT: True,
                    codes.USER: False,
                    codes.PROVIDER: False,
                    codes.AUTHORIZER: False,
                },
                observer=codes.AUTHORIZER,
                entities=(codes.PERSON, codes.CONSENT),
            )
        elif profile == codes.DISCLOSURE:
            yield from _profile(
                event,
                kind=(codes.DCM, "110106"),
                subtype=(codes.LIFECYCLE, "disclose"),
                action="R",
                agents={codes.SOURCE: True, codes.RECIPIENT: True},
                observer=codes.SOURCE,
                entities=(codes.PERSON,),
            )
        elif profile == codes.QUERY:
            yield from _profile(
                event,
                kind=codes.REST,
                subtype=codes.SEARCH,
                action="E",
                agents={codes.SOURCE: True, codes.RECIPIENT: True, codes.USER: False},
                observer=codes.RECIPIENT,
                entities=(codes.QUERIED,),
                at_least=1,
            )
            if not all("query" in entity for entity in event["entity"]):
                yield "a query does not say what was asked"
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
    at_least: int = 2,
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
        elif found[0]["requestor"] != (wanted == codes.USER):
            yield f"agent {wanted[1]} is wrong about who asked"
    kinds = [_code(entity["type"]) for entity in event["entity"]]
    if len(kinds) < at_least or any(kinds.count(each) != 1 for each in entities):
        yield "an entity of the profile is missing or there twice"
    if any(
        _code(e["type"]) == codes.PERSON and _code(e["role"]) != (codes.ROLE, "1")
        for e in event["entity"]
    ):
        yield "the person is not in the role of the patient"
    if not all(entity.get("what") or "query" in entity for entity in event["entity"]):
        yield "an entity does not say what it is"


def _code(coding: Mapping[str, Any]) -> tuple[str, str]:
    return coding["system"], coding["code"]
