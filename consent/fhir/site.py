"""The FHIR API over HTTP: addresses, tokens, versions, and an OperationOutcome for every no."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from consent.fhir import describe
from consent.fhir.kept import Version
from consent.fhir.meaning import patient_of
from consent.fhir.refusal import Issue, Json, Refused, outcome
from consent.fhir.registry import Registry, not_found
from consent.fhir.releases import to_r4, to_r5
from consent.fhir.resource import Release, parse
from consent.fhir.search import understand
from consent.fhir.smart import Bearer, TokenRefused, Tokens
from twinward.errors import ConsentError, LedgerError, TwinwardError, UsageError
from twinward.logging import log
from twinward.web.limits import Limit

LARGEST_BODY = 64 * 1024
_FHIR = "application/fhir+json"
_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

Answer = Callable[[Request, Bearer], Awaitable[Response]]


class Api:
    """The API of one hospital."""

    def __init__(self, registry: Registry, tokens: Tokens, *, base: str, limit: Limit) -> None:
        """An API at ``base``, such as ``https://ehr.hospital.example:8443/fhir``."""
        self._registry = registry
        self._tokens = tokens
        self._base = base
        self._limit = limit

    def application(self) -> ASGIApp:
        """The routes under ``/fhir``."""
        one = "/fhir/Consent/{id}"
        routes = [
            Route("/fhir/metadata", self._public(describe.capability)),
            Route("/fhir/openapi.json", self._public(describe.openapi)),
            Route("/fhir/.well-known/smart-configuration", self._public(describe.configuration)),
            Route("/fhir/token", self._token, methods=["POST"]),
            Route("/fhir/Consent/$offers", self._asked("r", self._offers)),
            Route("/fhir/Consent/$decide", self._asked("r", self._decide), methods=["POST"]),
            Route("/fhir/Consent", self._asked("s", self._search)),
            Route("/fhir/Consent", self._asked("c", self._create), methods=["POST"]),
            Route(one, self._asked("r", self._read)),
            Route(one, self._asked("u", self._end), methods=["PUT"]),
            Route(f"{one}/_history", self._asked("r", self._history)),
            Route(f"{one}/_history/{{version}}", self._asked("r", self._vread)),
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: _on_status})

    def _public(self, made: Callable[[str], Json]) -> Callable[[Request], Response]:
        return lambda _request: JSONResponse(made(self._base), headers=_HEADERS)

    def _asked(self, act: str, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            try:
                return await answer(request, self._bearer(request, act))
            except TwinwardError as error:
                return _refusal(error)
            except ClientDisconnect:
                raise
            except Exception as error:  # noqa: BLE001 - its words could quote a record
                log().error("fhir failed", error=type(error).__name__, act=act)
                issue = Issue("exception", "", "an unexpected error; nothing was told or changed")
                return _fhir(outcome([issue], code="TW8608"), status=500)

        return respond

    def _bearer(self, request: Request, act: str) -> Bearer:
        self._require_patience(request)
        bearer = self._tokens.bearer(request.headers.get("authorization", ""))
        if bearer is None:
            raise Refused(401, [Issue("login", "", "a token is needed")], code="TW8611")
        if not bearer.may(act):
            raise Refused(403, [Issue("forbidden", "", "no such scope")], code="TW8612")
        return bearer

    def _require_patience(self, request: Request) -> None:
        if self._limit.wait(request.client.host if request.client else ""):
            raise Refused(429, [Issue("throttled", "", "too often")], code="TW8609")

    async def _token(self, request: Request) -> Response:
        try:
            self._require_patience(request)
            form = _form(request, await _body(request))
            answer = await run_in_threadpool(self._tokens.give, form)
        except TokenRefused as error:
            status = 401 if error.word == "invalid_client" else 400
            said = {"error": error.word, "error_description": error.diagnostic.message}
            return JSONResponse(said, status_code=status, headers=_HEADERS)
        except TwinwardError as error:
            return _refusal(error)
        return JSONResponse(answer, headers=_HEADERS)

    async def _offers(self, request: Request, bearer: Bearer) -> Response:
        del request, bearer
        parts = [
            {
                "name": "study",
                "part": [
                    {"name": "name", "valueString": study.name},
                    {"name": "title", "valueString": study.title},
                    {"name": "purpose", "valueString": study.purpose},
                    {"name": "policy", "valueUri": policy},
                ],
            }
            for study, policy in await run_in_threadpool(self._registry.offers)
        ]
        return _fhir({"resourceType": "Parameters", **({"parameter": parts} if parts else {})})

    async def _decide(self, request: Request, bearer: Bearer) -> Response:
        asked = _question(_json(await _body(request)))
        found, consent = await run_in_threadpool(
            lambda: self._registry.decide(asked[0], asked[1], client=bearer.client)
        )
        known = None
        if consent is not None:
            known = {"name": "consent", "valueReference": {"reference": f"Consent/{consent}"}}
        return _fhir(
            {
                "resourceType": "Parameters",
                "parameter": [
                    {"name": "decision", "valueCode": "permit" if found.permit else "deny"},
                    {"name": "rule", "valueCode": found.rule.value},
                    {"name": "words", "valueString": found.rule.words},
                    *([] if known is None else [known]),
                ],
            }
        )

    async def _search(self, request: Request, bearer: Bearer) -> Response:
        del bearer
        search, release = understand(request.query_params.multi_items()), _release(request)
        total, found = await run_in_threadpool(
            lambda: self._registry.versions.find(
                search.where, after=search.after, limit=search.count
            )
        )
        links = [{"relation": "self", "url": self._address(request.query_params.multi_items())}]
        if found and len(found) == search.count:
            after = [*search.asked, ("_after", str(found[-1].seq))]
            links.append({"relation": "next", "url": self._address(after)})
        entries = [
            {
                "fullUrl": f"{self._base}/Consent/{each.id}",
                "resource": _in(release, each.resource),
                "search": {"mode": "match"},
            }
            for each in found
        ]
        bundle: Json = {"resourceType": "Bundle", "type": "searchset", "total": total}
        bundle["link"] = links
        return _fhir(bundle | ({"entry": entries} if entries else {}))

    async def _create(self, request: Request, bearer: Bearer) -> Response:
        value = _json(await _body(request))
        if _release(request, "content-type") is Release.R5:
            value = to_r4(parse(value, release=Release.R5))
        added = await run_in_threadpool(lambda: self._registry.create(value, client=bearer.client))
        where = f"{self._base}/Consent/{added.id}/_history/{added.version}"
        return _version(added, _release(request), status=201, headers={"location": where})

    async def _read(self, request: Request, bearer: Bearer) -> Response:
        del bearer
        name = str(request.path_params["id"])
        found = await run_in_threadpool(lambda: self._registry.versions.newest(name))
        if found is None:
            raise not_found()
        if request.headers.get("if-none-match") == found.etag:
            return Response(status_code=304, headers={**_HEADERS, "etag": found.etag})
        return _version(found, _release(request))

    async def _end(self, request: Request, bearer: Bearer) -> Response:
        name, value = str(request.path_params["id"]), _json(await _body(request))
        ended = await run_in_threadpool(
            lambda: self._registry.end(
                name, value, match=request.headers.get("if-match"), client=bearer.client
            )
        )
        return _version(ended, _release(request))

    async def _history(self, request: Request, bearer: Bearer) -> Response:
        del bearer
        name, release = str(request.path_params["id"]), _release(request)
        found = await run_in_threadpool(lambda: self._registry.versions.history(name))
        if not found:
            raise not_found()
        entries = [
            {
                "fullUrl": f"{self._base}/Consent/{each.id}",
                "resource": _in(release, each.resource),
                "request": {
                    "method": "POST" if each.version == 1 else "PUT",
                    "url": "Consent" if each.version == 1 else f"Consent/{each.id}",
                },
                "response": {
                    "status": "201" if each.version == 1 else "200",
                    "etag": each.etag,
                    "lastModified": each.resource["meta"]["lastUpdated"],
                },
            }
            for each in found
        ]
        bundle = {"resourceType": "Bundle", "type": "history", "total": len(found)}
        return _fhir({**bundle, "entry": entries})

    async def _vread(self, request: Request, bearer: Bearer) -> Response:
        del bearer
        name, number = str(request.path_params["id"]), str(request.path_params["version"])
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise not_found()
        found = await run_in_threadpool(lambda: self._registry.versions.version(name, int(number)))
        if found is None:
            raise not_found()
        return _version(found, _release(request))

    def _address(self, query: list[tuple[str, str]]) -> str:
        return f"{self._base}/Consent" + (f"?{urlencode(query)}" if query else "")


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise Refused(413, [Issue("too-long", "", "more than 64 KiB")], code="TW8600")
    return body


def _form(request: Request, body: bytes) -> Mapping[str, str]:
    kind = request.headers.get("content-type", "").split(";")[0].strip()
    if kind != "application/x-www-form-urlencoded":
        raise TokenRefused("invalid_request", "a form is needed")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20))
    except ValueError as error:
        raise TokenRefused("invalid_request", "this is not a form") from error


def _json(body: bytes) -> Any:
    try:
        value = json.loads(body, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()  # a lone half of a character is no text
    except (ValueError, RecursionError) as error:
        issue = Issue("structure", "", "the body is not JSON")
        raise Refused(400, [issue], code="TW8600") from error
    return value


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _question(value: object) -> tuple[Any, str]:
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


def _release(request: Request, header: str = "accept") -> Release:
    asked = request.headers.get(header, "").replace(" ", "")
    return Release.R5 if "fhirVersion=5.0" in asked else Release.R4


def _in(release: Release, resource: Json) -> Json:
    return to_r5(resource) if release is Release.R5 else resource


def _version(
    found: Version, release: Release, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    more = {"etag": found.etag, **(headers or {})}
    return _fhir(_in(release, found.resource), status=status, headers=more, release=release)


def _fhir(
    value: Json,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    release: Release = Release.R4,
) -> Response:
    kind = f"{_FHIR}; fhirVersion={release.value}"
    more = {**_HEADERS, **(headers or {})}
    return JSONResponse(value, status_code=status, headers=more, media_type=kind)


def _refusal(error: TwinwardError) -> Response:
    if isinstance(error, Refused):
        asks = {"www-authenticate": "Bearer"} if error.status == 401 else {}
        return _fhir(error.outcome(), status=error.status, headers=asks)
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
    return _fhir(outcome([issue], code=error.code), status=status)


def _on_status(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    kind = "not-found" if error.status_code == 404 else "not-supported"
    said = outcome([Issue(kind, "", error.detail)], code="TW8604")
    return _fhir(said, status=error.status_code, headers=error.headers)
