"""A Consent of R4 or R5 as it arrives: checked against the release's own definition.

The definitions are those of `fhir.resources`; R4B's Consent is R4's. What that library leaves open
(closed code sets, how deep a resource may be) is closed here.
https://hl7.org/fhir/R4/consent.html https://hl7.org/fhir/R5/consent.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cache
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from consent.fhir.refusal import Issue, Json, Refused

_DEEPEST = 32


class Release(StrEnum):
    """A release of FHIR."""

    R4 = "4.0"
    R5 = "5.0"


_STATUS = {
    Release.R4: {"draft", "proposed", "active", "rejected", "inactive", "entered-in-error"},
    Release.R5: {"draft", "active", "inactive", "not-done", "entered-in-error", "unknown"},
}
_TYPES = {"permit", "deny"}
_MEANINGS = {"instance", "related", "dependents", "authoredby"}


def parse(value: object, *, release: Release) -> Json:
    """The resource, well-formed by its release.

    Raises:
        Refused: TW8600, with every element that is wrong.
    """
    if not isinstance(value, dict) or value.get("resourceType") != "Consent":
        raise _malformed([Issue("structure", "Consent", "this is not a Consent resource")])
    _require_json_of_fhir(value)
    try:
        _model(release).model_validate(value)
    except ValidationError as error:
        raise _malformed(
            [
                Issue("structure", path(each["loc"]), _plain(each["type"]))
                for each in error.errors(include_input=False, include_context=False)
            ]
        ) from error
    except (RecursionError, TypeError, ValueError, AttributeError) as error:
        raise _malformed([Issue("structure", "Consent", "the resource is malformed")]) from error
    issues = list(_closed(value, release))
    if issues:
        raise _malformed(issues)
    return cast("Json", value)


def path(parts: tuple[int | str, ...]) -> str:
    """A place in the resource as FHIRPath."""
    found = "Consent"
    for part in parts:
        found += f"[{part}]" if isinstance(part, int) else f".{part}"
    return found


@cache
def _model(release: Release) -> type[BaseModel]:
    if release is Release.R4:
        from fhir.resources.R4B import consent as r4  # noqa: PLC0415 - half a second

        return cast("type[BaseModel]", r4.Consent)
    from fhir.resources import consent as r5  # noqa: PLC0415 - half a second

    return cast("type[BaseModel]", r5.Consent)


def _closed(value: Mapping[str, Any], release: Release) -> Iterator[Issue]:
    """Codes outside their closed sets."""
    if value.get("status") not in _STATUS[release]:
        yield Issue("code-invalid", "Consent.status", "the status is not one of this release")
    if release is Release.R5:
        if value.get("decision", "deny") not in _TYPES:
            yield Issue("code-invalid", "Consent.decision", "not permit or deny")
        roots = [(f"Consent.provision[{n}]", p) for n, p in enumerate(value.get("provision", []))]
    else:
        roots = [("Consent.provision", value["provision"])] if "provision" in value else []
    while roots:
        at, provision = roots.pop()
        if provision.get("type", "deny") not in _TYPES:
            yield Issue("code-invalid", f"{at}.type", "not permit or deny")
        for number, data in enumerate(provision.get("data", [])):
            if data.get("meaning") not in _MEANINGS:
                yield Issue("code-invalid", f"{at}.data[{number}].meaning", "no such meaning")
        nested = enumerate(provision.get("provision", []))
        roots.extend((f"{at}.provision[{number}]", each) for number, each in nested)


def _require_json_of_fhir(value: Json) -> None:
    """No null, nothing empty, not too deep (https://hl7.org/fhir/R4/json.html)."""
    layer: list[tuple[tuple[int | str, ...], Any]] = [((), value)]
    for _ in range(_DEEPEST):
        inner: list[tuple[tuple[int | str, ...], Any]] = []
        for at, one in layer:
            if one is None or one in ("", [], {}):
                raise _malformed([Issue("structure", path(at), "null and empty are not FHIR")])
            if isinstance(one, dict):
                inner.extend(((*at, name), each) for name, each in one.items())
            elif isinstance(one, list):
                inner.extend(((*at, number), each) for number, each in enumerate(one))
        layer = inner
    if layer:
        raise _malformed([Issue("structure", "Consent", "the resource is nested too deeply")])


_WORDS = {
    "missing": "a required element is missing",
    "extra_forbidden": "there is no such element",
}


def _plain(kind: str) -> str:
    return _WORDS.get(kind, "the value is not of the element's type")


def _malformed(issues: list[Issue]) -> Refused:
    return Refused(400, issues, code="TW8600")
