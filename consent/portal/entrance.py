"""Coming in with a letter's code, going out, and what anybody may read."""

from __future__ import annotations

import re

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from consent.portal import codes
from consent.portal.languages import COOKIE, languages
from consent.portal.site import Portal
from twinward.errors import TwinwardError
from twinward.web.guard import form_of
from twinward.web.shell import nothing_here

_A_YEAR = 365 * 24 * 3600
_OURS = re.compile(r"(/[a-z0-9-]+){1,4}")


class Entrance:
    """The pages for a visitor without a session, and the way out."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._shell = portal.shell

    def router(self) -> APIRouter:
        """The addresses of these pages."""
        router = APIRouter()
        router.add_api_route("/", self.first)
        router.add_api_route("/about", self.about)
        router.add_api_route("/sign-in", self.show)
        router.add_api_route("/sign-in", self.sign_in, methods=["POST"])
        router.add_api_route("/sign-out", self.sign_out, methods=["POST"])
        router.add_api_route("/language/{code}", self.language)
        return router

    def first(self, request: Request) -> Response:
        """The first page: home for who is there, the door for who is not."""
        there = self._shell.session(request) is not None
        return RedirectResponse("/home" if there else "/sign-in", status_code=303)

    def about(self, request: Request) -> Response:
        """What a twin is, and what can go wrong."""
        return self._shell.html(request, "about.html", title="about_title")

    def show(self, request: Request) -> Response:
        """The door."""
        return self._door(request)

    def sign_in(self, request: Request) -> Response:
        """A letter's code opens a visit; another one joins the visit that there is."""
        self._portal.count_try(request)
        session = self._shell.session(request)
        try:
            code = codes.read(form_of(request).get("code", ""))
            self._portal.desk.terms_of(code)
        except TwinwardError as error:
            return self._door(request, error)
        if session is not None and self._portal.visits.codes(session.subject):
            self._portal.visits.add(session.subject, code)
            return RedirectResponse("/home", status_code=303)
        return self._shell.sign_in(request, self._portal.visits.begin(code), then="/home")

    def sign_out(self, request: Request) -> Response:
        """The visit ends, here and in memory."""
        session = self._shell.session(request)
        if session is not None:
            self._portal.visits.end(session.subject)
        return self._shell.sign_out(request, then="/sign-in")

    def language(self, code: str, then: str = "/") -> Response:
        """Another language, and back to where the visitor was."""
        if code not in languages(drafts=self._shell.drafts):
            raise nothing_here()
        response = RedirectResponse(then if _OURS.fullmatch(then) else "/", status_code=303)
        response.set_cookie(
            COOKIE,
            code,
            max_age=_A_YEAR,
            httponly=True,
            samesite="lax",
            secure=self._shell.site.is_tls,
        )
        return response

    def _door(self, request: Request, error: TwinwardError | None = None) -> Response:
        return self._shell.html(
            request,
            "sign_in.html",
            title="sign_in_title",
            status=200 if error is None else 403,
            problem=error and error.code,
        )
