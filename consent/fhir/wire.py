"""FHIR requests and answers as they stand in HTTP: bodies, releases, versions, refusals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from consent.fhir.kept import Version
from consent.fhir.meaning import patient_of
from consent.fhir.refusal import Issue, Json, Refused, outcome
from consent.fhir.releases import to_r5
from consent.fhir.resource import Release
from consent.fhir.smart import TokenRefused
from twinward.errors import ConsentError, LedgerError, TwinwardError, UsageError
from twinward.logging import log

LARGEST_BODY = 64 * 1024
HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
_FHIR = "application/fhir+json"


async def body(request: Request) -> bytes:
    """What was sent, whole.

    Raises:
        Refused: TW8600, more than 64 KiB.
    """
    read = b""
    async for part in request.stream():
        read += part
        if len(read) > LARGEST_BODY:
            raise Refused(413, [Issue("too-long", "", "more than 64 KiB")], code="TW8600")
    return read


def form(request: Request, body: bytes) -> Mapping[str, str]:
    """The fields of a form.

    Raises:
        TokenRefused: it is none.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip()
    if kind != "application/x-www-form-urlencoded":
        raise TokenRefused("invalid_request", "a form is needed")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20))
    except ValueError as error:
        raise TokenRefused("invalid_request", "this is not a form") from error


def json_of(body: bytes) -> Any:
    """What a body says.

    Raises:
        Refused: TW8600, it is not JSON.
    """
    try:
        value = json.loads(body, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()  # a lone half of a character is no text
    except (ValueError, RecursionError) as error:
        issue = Issue("structure", "", "the body is not JSON")
        raise Refused(400, [issue], code="TW8600") from error
    return value


def _no_constant(name: str) -> None:
    raise ValueError(name)


def question(value: object) -> tuple[Any, str]:
    """Patient and study of a decision that is asked for.

    Raises:
        Refused: TW8600.
    """
    at = "Parameters.parameter"
    parameters = value.get("parameter") if isinstance(value, dict) else None
    if not isinstance(value, dict) or value.get("resourceType") != "Parameters":
        raise Refused(400, [Issue("structure", "", "Parameters are needed")], code="TW8600")
    given = {
        each["name"]: each
        for each in (parameters if isinstance(parameters, list) else [])
        if isinstance(each, dict) and isinstance(each.get("name"), str)
    }
    study = given.get("study", {}).get("valueString")
    if set(given) != {"patient", "study"} or not isinstance(study, str):
        issue = Issue("required", at, "patient (valueReference) and study (valueString) are needed")
        raise Refused(400, [issue], code="TW8600")
    return patient_of({"patient": given["patient"].get("valueReference")}), study


def release_of(request: Request, header: str = "accept") -> Release:
    """The release that is asked for, or that the body is of; R4 unless it is said."""
    asked = request.headers.get(header, "").replace(" ", "")
    return Release.R5 if "fhirVersion=5.0" in asked else Release.R4


def in_release(release: Release, resource: Json) -> Json:
    """A resource that is kept, in the words of this release."""
    return to_r5(resource) if release is Release.R5 else resource


def version(
    found: Version, release: Release, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """One version of a Consent; its ``ETag`` names it."""
    more = {"etag": found.etag, **(headers or {})}
    return fhir(in_release(release, found.resource), status=status, headers=more, release=release)


def fhir(
    value: Json,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    release: Release = Release.R4,
) -> Response:
    """A resource, or a bundle, as FHIR's JSON."""
    kind = f"{_FHIR}; fhirVersion={release.value}"
    more = {**HEADERS, **(headers or {})}
    return JSONResponse(value, status_code=status, headers=more, media_type=kind)


def refusal(error: TwinwardError) -> Response:
    """A no, as an OperationOutcome that tells nothing of what a record holds."""
    if isinstance(error, Refused):
        asks = {"www-authenticate": "Bearer"} if error.status == 401 else {}
        return fhir(error.outcome(), status=error.status, headers=asks)
    unknown = error.code.startswith("TW310")  # the ledger is not known well enough
    match error:
        case ConsentError() | UsageError() if not unknown:
            status, kind = 422, "business-rule"
        case ConsentError() | LedgerError():
            status, kind = 503, "transient"
        case _:
            log().error("fhir refused", code=error.code)
            status, kind = 500, "exception"
    issue = Issue(kind, "", error.diagnostic.message)
    return fhir(outcome([issue], code=error.code), status=status)


def on_status(request: Request, error: Exception) -> Response:
    """A no of the router: an address that is not here, a method that is not served."""
    del request
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    kind = "not-found" if error.status_code == 404 else "not-supported"
    said = outcome([Issue(kind, "", error.detail)], code="TW8604")
    return fhir(said, status=error.status_code, headers=error.headers)
