"""One Consent between the releases R4 and R5, element by element, or a refusal that names one.

R4 says *permit*, and when; R5 has a default decision and provisions that are exceptions to it. A
permission with conditions therefore becomes the default *deny* with one exception, so that nobody
who reads an export can read more than was said. What has no counterpart is refused, never dropped.
`to_r4` after `to_r5` gives the same resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consent.fhir.refusal import Json, of_element

SCOPES = "http://terminology.hl7.org/CodeSystem/consentscope"
PRIVACY = {"coding": [{"system": SCOPES, "code": "patient-privacy"}]}
_TIME = "http://hl7.org/fhir/4.0/StructureDefinition/extension-Consent.dateTime"
_OPPOSITE = {"permit": "deny", "deny": "permit"}
_SAME = (
    "resourceType",
    "id",
    "meta",
    "implicitRules",
    "language",
    "text",
    "extension",
    "identifier",
)
_SAME_IN_PROVISION = ("period", "action", "securityLabel", "purpose", "code", "dataPeriod", "data")
_RENAMED = {"patient": "subject", "performer": "grantor", "organization": "controller"}
_AS_LIST = ("sourceAttachment", "sourceReference")
_DATE_LENGTH = len("2026-01-31")


def to_r5(r4: Mapping[str, Any]) -> Json:
    """An R4 Consent as R5.

    Raises:
        Refused: TW8601, an element has no counterpart.
    """
    taken = _Taking(r4)
    found = {name: taken(name) for name in _SAME if name in r4}
    found["status"] = taken("status")
    if found["status"] not in {"draft", "active", "inactive", "entered-in-error"}:
        raise of_element("Consent.status", "R5 has no such status")
    scope, category = taken("scope"), taken("category")
    found["category"] = category if scope == PRIVACY else [scope, *category]
    for old, new in _RENAMED.items():
        if old in r4:
            found[new] = taken(old)
    if "dateTime" in r4:
        found |= _dated(taken("dateTime"))
    for name in _AS_LIST:
        if name in r4:
            found[name] = [taken(name)]
    if "policy" in r4:
        found["policyBasis"] = {"url": _only_uri(taken("policy"))}
    if "policyRule" in r4:
        found["regulatoryBasis"] = [taken("policyRule")]
    if "provision" in r4:
        found |= _decided(taken("provision"))
    taken.require_all("Consent")
    return found


def to_r4(r5: Mapping[str, Any]) -> Json:
    """An R5 Consent as R4.

    Raises:
        Refused: TW8601, an element has no counterpart.
    """
    taken = _Taking(r5)
    found = {name: taken(name) for name in _SAME if name in r5}
    found["status"] = taken("status")
    if found["status"] not in {"draft", "active", "inactive", "entered-in-error"}:
        raise of_element("Consent.status", "R4 has no such status")
    found |= _scoped(taken("category") if "category" in r5 else [])
    for old, new in _RENAMED.items():
        if new in r5:
            found[old] = taken(new)
    if "date" in r5:
        found["dateTime"] = _undated(taken("date"), taken("_date") if "_date" in r5 else None)
    for name in _AS_LIST:
        if name in r5:
            found[name] = _only(taken(name), f"Consent.{name}")
    if "policyBasis" in r5:
        basis = taken("policyBasis")
        if set(basis) != {"url"}:
            raise of_element("Consent.policyBasis", "R4 keeps only the address of a policy")
        found["policy"] = [{"uri": basis["url"]}]
    if "regulatoryBasis" in r5:
        found["policyRule"] = _only(taken("regulatoryBasis"), "Consent.regulatoryBasis")
    decision = taken("decision") if "decision" in r5 else None
    provisions = taken("provision") if "provision" in r5 else []
    taken.require_all("Consent")
    return found | _ruled(decision, provisions)


def _scoped(category: list[Json]) -> Json:
    first = category[0] if category else {}
    scoped = first.get("coding", [{}])[0].get("system") == SCOPES
    rest = category[1:] if scoped else category
    if not rest:
        raise of_element("Consent.category", "R4 requires a category", kind="required")
    return {"scope": first if scoped else PRIVACY, "category": rest}


def _ruled(decision: str | None, provisions: list[Json]) -> Json:
    if provisions:
        root = _only(provisions, "Consent.provision")
        kind = None if decision is None else _OPPOSITE[decision]
        return {"provision": _provision_r4(root, kind, "Consent.provision[0]")}
    return {} if decision is None else {"provision": {"type": decision}}


def _decided(root: Json) -> Json:
    kind = root.get("type")
    if set(root) == {"type"}:
        return {"decision": kind}
    found: Json = {"provision": [_provision_r5(root, "Consent.provision")]}
    return found if kind is None else {"decision": _OPPOSITE[kind], **found}


def _provision_r5(value: Mapping[str, Any], at: str) -> Json:
    taken, kind = _Taking(value), value.get("type")
    found = {name: taken(name) for name in _SAME_IN_PROVISION if name in value}
    if "type" in value:
        taken("type")
    if "actor" in value:
        found["actor"] = taken("actor")
    if "class" in value:
        found["resourceType"] = taken("class")
    nested = taken("provision") if "provision" in value else []
    for number, each in enumerate(nested):
        if kind is None or each.get("type") != _OPPOSITE[kind]:
            raise of_element(
                f"{at}.provision[{number}].type",
                "in R5 an exception always says the opposite of what it stands in",
            )
    if nested:
        found["provision"] = [
            _provision_r5(each, f"{at}.provision[{number}]") for number, each in enumerate(nested)
        ]
    taken.require_all(at)
    return found


def _provision_r4(value: Mapping[str, Any], kind: str | None, at: str) -> Json:
    taken = _Taking(value)
    found: Json = {} if kind is None else {"type": kind}
    found |= {name: taken(name) for name in _SAME_IN_PROVISION if name in value}
    if "actor" in value:
        found["actor"] = taken("actor")
        for number, actor in enumerate(found["actor"]):
            if set(actor) != {"role", "reference"}:
                raise of_element(f"{at}.actor[{number}]", "R4 needs a role and a reference")
    if "resourceType" in value:
        found["class"] = taken("resourceType")
    nested = taken("provision") if "provision" in value else []
    if nested and kind is None:
        raise of_element("Consent.decision", "exceptions of exceptions need a decision")
    if nested:
        inner = _OPPOSITE[kind or "deny"]
        found["provision"] = [
            _provision_r4(each, inner, f"{at}.provision[{number}]")
            for number, each in enumerate(nested)
        ]
    taken.require_all(at)
    return found


def _dated(moment: str) -> Json:
    if len(moment) <= _DATE_LENGTH:
        return {"date": moment}
    exact = {"extension": [{"url": _TIME, "valueDateTime": moment}]}
    return {"date": moment[:_DATE_LENGTH], "_date": exact}


def _undated(day: str, more: Mapping[str, Any] | None) -> str:
    if more is None:
        return day
    exact = _only(more.get("extension", []), "Consent.date.extension")
    if set(exact) != {"url", "valueDateTime"} or exact["url"] != _TIME:
        raise of_element("Consent.date.extension", "this extension is not known")
    moment = str(exact["valueDateTime"])
    if not moment.startswith(day):
        raise of_element("Consent.date.extension", "it names another day", kind="invalid")
    return moment


def _only_uri(policies: list[Json]) -> Any:
    policy = _only(policies, "Consent.policy")
    if set(policy) != {"uri"}:
        raise of_element("Consent.policy", "R5 keeps only the address of a policy")
    return policy["uri"]


def _only(values: Any, at: str) -> Any:
    if len(values) != 1:
        raise of_element(at, "the other release has exactly one of these")
    return values[0]


class _Taking:
    """Reads elements and remembers which, so that none can be forgotten."""

    def __init__(self, value: Mapping[str, Any]) -> None:
        self._value = value
        self._left = set(value)

    def __call__(self, name: str) -> Any:
        self._left.discard(name)
        return self._value[name]

    def require_all(self, at: str) -> None:
        for name in sorted(self._left):
            raise of_element(f"{at}.{name}", "the other release has no such element")
