"""Which mails the visitor wants: chosen, confirmed by the code of the first one, and ended."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from consent.notices import KINDS
from consent.portal.site import Asked, Portal
from twinward.web.guard import form_of
from twinward.web.shell import nothing_here


class Mails:
    """The page of one letter's mails; there is none for who answers for somebody else."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def router(self) -> APIRouter:
        """The addresses of this page."""
        router, one = APIRouter(), "/studies/{place}/notices"
        router.add_api_route(one, self.show)
        router.add_api_route(one, self.choose, methods=["POST"])
        router.add_api_route(f"{one}/code", self.confirm, methods=["POST"])
        router.add_api_route(f"{one}/end", self.end, methods=["POST"])
        return router

    def show(self, request: Request) -> Response:
        """What is chosen, and the form to change it."""
        one = self._letter(request)
        known = self._portal.desk.notices(code=one.code, study=one.study.id32)
        return self._portal.shell.html(
            request,
            "notices.html",
            title="notices_title",
            one=one,
            sends=known["sends"],
            wish=known["wish"],
            kinds=KINDS,
        )

    def choose(self, request: Request) -> Response:
        """Another choice; a new address is mailed a code first."""
        one, form = self._letter(request), form_of(request)
        self._portal.count_try(request)
        chosen: dict[str, object] = {
            "address": form.get("address", "").strip(),
            "kinds": [kind for kind in KINDS if form.get(kind)],
            "language": self._portal.shell.language(request).code,
        }
        return self._chosen(one, chosen)

    def confirm(self, request: Request) -> Response:
        """The code of the mail."""
        one, form = self._letter(request), form_of(request)
        self._portal.count_try(request)
        return self._chosen(one, {"code": form.get("code", "").strip()})

    def end(self, request: Request) -> Response:
        """No mails any more."""
        one = self._letter(request)
        self._portal.desk.end_notices(code=one.code, study=one.study.id32)
        return _back(one)

    def _chosen(self, one: Asked, chosen: dict[str, object]) -> Response:
        self._portal.desk.choose_notices(code=one.code, study=one.study.id32, chosen=chosen)
        return _back(one)

    def _letter(self, request: Request) -> Asked:
        one = self._portal.letter(request)
        if one.speaks is not None:
            raise nothing_here()
        return one


def _back(one: Asked) -> Response:
    return RedirectResponse(f"/studies/{one.place}/notices", status_code=303)
