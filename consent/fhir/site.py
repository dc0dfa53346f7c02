"""The FHIR API over HTTP: addresses, tokens, versions, and an OperationOutcome for every no."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from consent.fhir import describe, exceptions, wire
from consent.fhir.refusal import Issue, Json, Refused, outcome
from consent.fhir.registry import Registry, not_found
from consent.fhir.releases import to_r4
from consent.fhir.resource import Release, parse
from consent.fhir.search import understand
from consent.fhir.smart import Bearer, TokenRefused, Tokens
from twinward.errors import TwinwardError
from twinward.logging import log
from twinward.web.limits import Limit

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
        return Starlette(routes=routes, exception_handlers={HTTPException: wire.on_status})

    def _public(self, made: Callable[[str], Json]) -> Callable[[Request], Response]:
        return lambda _request: JSONResponse(made(self._base), headers=wire.HEADERS)

    def _asked(self, act: str, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            try:
                return await answer(request, self._bearer(request, act))
            except TwinwardError as error:
                return wire.refusal(error)
            except ClientDisconnect:
                raise
            except Exception as error:  # noqa: BLE001 - its words could quote a record
                log().error("fhir failed", error=type(error).__name__, act=act)
                issue = Issue("exception", "", "an unexpected error; nothing was told or changed")
                return wire.fhir(outcome([issue], code="TW8608"), status=500)

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
            form = wire.form(request, await wire.body(request))
            answer = await run_in_threadpool(self._tokens.give, form)
        except TokenRefused as error:
            status = 401 if error.word == "invalid_client" else 400
            said = {"error": error.word, "error_description": error.diagnostic.message}
            return JSONResponse(said, status_code=status, headers=wire.HEADERS)
        except TwinwardError as error:
            return wire.refusal(error)
        return JSONResponse(answer, headers=wire.HEADERS)

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
                    *(
                        {"name": "optional", "valueCoding": exceptions.category(one.name)}
                        for one in study.optional
                    ),
                ],
            }
            for study, policy in await run_in_threadpool(self._registry.offers)
        ]
        return wire.fhir({"resourceType": "Parameters", **({"parameter": parts} if parts else {})})

    async def _decide(self, request: Request, bearer: Bearer) -> Response:
        asked = wire.question(wire.json_of(await wire.body(request)))
        found = await run_in_threadpool(
            lambda: self._registry.decide(asked[0], asked[1], client=bearer.client)
        )
        known = None
        if found.consent is not None:
            reference = {"reference": f"Consent/{found.consent}"}
            known = {"name": "consent", "valueReference": reference}
        rule = found.decision.rule
        return wire.fhir(
            {
                "resourceType": "Parameters",
                "parameter": [
                    {"name": "decision", "valueCode": "permit" if rule.permits else "deny"},
                    {"name": "rule", "valueCode": rule.value},
                    {"name": "words", "valueString": rule.words},
                    *([] if known is None else [known]),
                    *(
                        {"name": "withheld", "valueCoding": exceptions.category(name)}
                        for name in found.withheld
                    ),
                ],
            }
        )

    async def _search(self, request: Request, bearer: Bearer) -> Response:
        del bearer
        search, release = understand(request.query_params.multi_items()), wire.release_of(request)
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
                "resource": wire.in_release(release, each.resource),
                "search": {"mode": "match"},
            }
            for each in found
        ]
        bundle: Json = {"resourceType": "Bundle", "type": "searchset", "total": total}
        bundle["link"] = links
        return wire.fhir(bundle | ({"entry": entries} if entries else {}))

    async def _create(self, request: Request, bearer: Bearer) -> Response:
        value = wire.json_of(await wire.body(request))
        if wire.release_of(request, "content-type") is Release.R5:
            value = to_r4(parse(value, release=Release.R5))
        added = await run_in_threadpool(lambda: self._registry.create(value, client=bearer.client))
        where = f"{self._base}/Consent/{added.id}/_history/{added.version}"
        return wire.version(
            added, wire.release_of(request), status=201, headers={"location": where}
        )

    async def _read(self, request: Request, bearer: Bearer) -> Response:
        del bearer
        name = str(request.path_params["id"])
        found = await run_in_threadpool(lambda: self._registry.versions.newest(name))
        if found is None:
            raise not_found()
        if request.headers.get("if-none-match") == found.etag:
            return Response(status_code=304, headers={**wire.HEADERS, "etag": found.etag})
        return wire.version(found, wire.release_of(request))

    async def _end(self, request: Request, bearer: Bearer) -> Response:
        name, value = str(request.path_params["id"]), wire.json_of(await wire.body(request))
        ended = await run_in_threadpool(
            lambda: self._registry.end(
                name, value, match=request.headers.get("if-match"), client=bearer.client
            )
        )
        return wire.version(ended, wire.release_of(request))

    async def _history(self, request: Request, bearer: Bearer) -> Response:
        del bearer
        name, release = str(request.path_params["id"]), wire.release_of(request)
        found = await run_in_threadpool(lambda: self._registry.versions.history(name))
        if not found:
            raise not_found()
        entries = [
            {
                "fullUrl": f"{self._base}/Consent/{each.id}",
                "resource": wire.in_release(release, each.resource),
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
        return wire.fhir({**bundle, "entry": entries})

    async def _vread(self, request: Request, bearer: Bearer) -> Response:
        del bearer
        name, number = str(request.path_params["id"]), str(request.path_params["version"])
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise not_found()
        found = await run_in_threadpool(lambda: self._registry.versions.version(name, int(number)))
        if found is None:
            raise not_found()
        return wire.version(found, wire.release_of(request))

    def _address(self, query: list[tuple[str, str]]) -> str:
        return f"{self._base}/Consent" + (f"?{urlencode(query)}" if query else "")
