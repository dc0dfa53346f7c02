"""The pages of somebody with a letter: deciding, stopping, looking."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from consent import signature
from consent.policy import Grade
from consent.portal import at_hospital
from consent.portal.choices import LIMITS, YEARS, Picked, offered
from consent.portal.receipt import record_of
from consent.portal.site import Asked, Portal
from twinward.web.guard import form_of
from twinward.web.shell import as_json


class Pages:
    """What a visitor with a letter can see and do."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._html = portal.shell.html

    def router(self) -> APIRouter:
        """The addresses of these pages."""
        router, one = APIRouter(), "/studies/{place}"
        router.add_api_route("/home", self.home)
        router.add_api_route(one, self.study)
        router.add_api_route(f"{one}/now", self.now)
        router.add_api_route(f"{one}/yes", self.choose)
        router.add_api_route(f"{one}/preview", self.preview, methods=["POST"])
        router.add_api_route(f"{one}/yes", self.say_yes, methods=["POST"])
        router.add_api_route(f"{one}/stop", self.ask_stop)
        router.add_api_route(f"{one}/stop", self.stop, methods=["POST"])
        router.add_api_route(f"{one}/receipt.json", self.receipt)
        return router

    def home(self, request: Request) -> Response:
        """In one line who uses the visitor's data now; then each letter."""
        letters = self._portal.letters(request)
        used = [one for one in letters if one.is_used]
        return self._html(request, "home.html", title="home_title", letters=letters, used=used)

    def study(self, request: Request) -> Response:
        """What became of the last answer."""
        one = self._portal.letter(request)
        return self._html(request, "study.html", title="study_title", one=one)

    def now(self, request: Request) -> Response:
        """The moving part of that page, for a script that looks again."""
        one = self._portal.letter(request)
        return self._html(request, "now.html", title="study_title", one=one)

    def choose(self, request: Request) -> Response:
        """The text, and what can be chosen."""
        one = self._portal.letter(request)
        return self._html(
            request,
            "choose.html",
            title="choose_title",
            one=one,
            purposes=offered(one.study),
            limits=LIMITS,
            years=YEARS,
        )

    def preview(self, request: Request) -> Response:
        """What the choice would do, by the policy itself; nothing is signed or kept."""
        one = self._portal.letter(request)
        picked, at = Picked.of(form_of(request), one.study), self._portal.clock.now()
        rule = self._portal.desk.foresee(
            code=one.code, study=one.study.id32, draft=picked.draft(at, grade=Grade.HOSPITAL)
        )
        return self._html(
            request,
            "preview.html",
            title="preview_title",
            one=one,
            picked=picked,
            until=picked.until(at),
            rule=rule,
        )

    def say_yes(self, request: Request) -> Response:
        """A yes, signed here at the visitor's request and marked as that."""
        one = self._portal.letter(request)
        self._grant(one, Picked.of(form_of(request), one.study))
        return RedirectResponse(f"/studies/{one.place}", status_code=303)

    def ask_stop(self, request: Request) -> Response:
        """What stopping does."""
        one = self._portal.letter(request)
        return self._html(request, "stop.html", title="stop_title", one=one)

    def stop(self, request: Request) -> Response:
        """Stop; it holds when the next page is shown."""
        one, portal = self._portal.letter(request), self._portal
        body = at_hospital.withdrawal_request(
            one.known["grant"],
            one.study,
            code=one.code,
            domain=portal.domain,
            at=portal.clock.now(),
        )
        portal.desk.withdraw(body).result()
        return RedirectResponse(f"/studies/{one.place}", status_code=303)

    def receipt(self, request: Request) -> Response:
        """The record to take home."""
        one = self._portal.letter(request)
        response = as_json(record_of(one, hospital=self._portal.hospital))
        response.headers["content-disposition"] = 'attachment; filename="receipt.json"'
        return response

    def _grant(self, one: Asked, picked: Picked) -> None:
        portal, at = self._portal, self._portal.clock.now()
        key = at_hospital.key_of(one.code, one.study)
        subject, known = signature.address_of(key), one.known["grant"]
        is_ours = known is not None and known["subject"] == subject.hex()
        grant = at_hospital.draft(
            one.study,
            hospital=portal.hospital,
            names=picked.names,
            until=picked.until(at),
            terms_shown=one.terms,
            subject=subject,
            nonce=known["next_nonce"] if is_ours else 0,
            at=at,
        )
        body = at_hospital.grant_request(grant, code=one.code, key=key, domain=portal.domain)
        portal.desk.grant(body).result()
