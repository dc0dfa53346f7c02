"""What a patient takes home or looks up: receipts in three forms, uses of their data, results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from consent.portal import receipt, receipt_pdf, results
from consent.portal.site import Asked, Portal
from twinward.web.guard import too_often
from twinward.web.limits import Limit
from twinward.web.shell import as_json, nothing_here

KINDS = (
    "disclosure",
    "withdrawal",
    "grant-attested",
    "objection",
    "delegate-named",
    "delegate-ended",
    "mandate-yes",
    "mandate-stop",
    "twin-agreed",
    "twin-ended",
    "twin-asked",
    "twin-shown",
    "twin-alerts",
    "twin-individualised",
    "twin-overridden",
    "twin-validated",
)
"""Entries of the audit log that have words of their own here."""
WIDTH = 318
"""Of the bar, in the picture's own units."""


class TakeHome:
    """Pages and files that only show."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._html = portal.shell.html
        # A check proves and verifies at the node; people press the button once.
        self._checks = Limit(per_second=1 / 10, burst=5)

    def router(self) -> APIRouter:
        """The addresses of these pages."""
        router, one = APIRouter(), "/studies/{place}"
        router.add_api_route(f"{one}/receipt.json", self.receipt)
        router.add_api_route(f"{one}/receipt.pdf", self.receipt_pdf)
        router.add_api_route(f"{one}/receipt.fhir.json", self.receipt_fhir)
        router.add_api_route(f"{one}/uses", self.uses)
        router.add_api_route(f"{one}/uses", self.check, methods=["POST"])
        router.add_api_route(f"{one}/uses.json", self.uses_json)
        router.add_api_route(f"{one}/result", self.result)
        return router

    def receipt(self, request: Request) -> Response:
        """The record in the order of ISO/IEC TS 27560."""
        one = self._portal.letter(request)
        return _file(as_json(receipt.record_of(one, hospital=self._portal.hospital)), "json")

    def receipt_pdf(self, request: Request) -> Response:
        """The same to print, in the visitor's language."""
        one, portal = self._portal.letter(request), self._portal
        made = receipt_pdf.made(
            one,
            hospital=portal.hospital,
            now=portal.clock.now(),
            language=portal.shell.language(request),
        )
        return _file(Response(made, media_type="application/pdf"), "pdf")

    def receipt_fhir(self, request: Request) -> Response:
        """The permission as a FHIR R4 Consent, for another record system."""
        one = self._portal.letter(request)
        found = receipt.fhir_of(one, hospital=self._portal.hospital)
        if found is None:
            raise nothing_here()
        return _file(as_json(found, media_type="application/fhir+json"), "fhir.json")

    def uses(self, request: Request) -> Response:
        """Who used the data, and how much privacy was spent."""
        return self._uses(request, check=False)

    def check(self, request: Request) -> Response:
        """The same, once the hospital has checked that nothing is missing or changed.

        Raises:
            UsageError: TW7032, too many checks in this visit.
        """
        session = self._portal.shell.session(request)
        seconds = self._checks.wait(session.subject if session else "")
        if seconds:
            raise too_often(seconds)
        return self._uses(request, check=True)

    def uses_json(self, request: Request) -> Response:
        """The hospital's signed statement, for an auditor."""
        one = self._portal.letter(request)
        said = self._portal.desk.uses(code=one.code, study=one.study.id32, check=False)
        response = Response(said.encode(), media_type="application/json")
        response.headers["content-disposition"] = 'attachment; filename="uses.json"'
        return response

    def result(self, request: Request) -> Response:
        """What came out of the study, in plain words."""
        one, shell = self._portal.letter(request), self._portal.shell
        language = shell.language(request).code
        found = results.of(self._portal.state, one.study.name)
        if found is None:
            raise nothing_here()
        shown = language if language in found else "en"
        return self._html(
            request, "result.html", title="result_title", one=one, text=found[shown], shown=shown
        )

    def _uses(self, request: Request, *, check: bool) -> Response:
        one: Asked = self._portal.letter(request)
        said = self._portal.desk.uses(code=one.code, study=one.study.id32, check=check).payload
        return self._html(
            request,
            "uses.html",
            title="uses_title",
            one=one,
            checked=said["checked"],
            lines=[(line["at"], _words_for(line), line["study"]) for line in said["lines"]],
            spent=said["spent"] and _picture(said["spent"]),
        )


def _words_for(line: Mapping[str, Any]) -> str:
    """The key of the words for what happened."""
    kind = str(line["kind"])
    if kind == "consent-decision":
        return "line_permitted" if line["permit"] else "line_denied"
    return f"line_{kind}" if kind in KINDS else "line_other"


def _picture(spent: Mapping[str, float]) -> dict[str, Any]:
    """How much of the limit is used: in words, as a bar, as figures."""
    share = min(1.0, spent["epsilon"] / spent["limit"]) if spent["limit"] else 1.0
    return {
        "percent": math.ceil(100 * share),
        "width": round(WIDTH * share, 1),
        "epsilon": f"{spent['epsilon']:.2f}",
        "limit": f"{spent['limit']:.2f}",
    }


def _file(response: Response, ending: str) -> Response:
    response.headers["content-disposition"] = f'attachment; filename="receipt.{ending}"'
    return response
