"""Coming in and going out: the invitation, the passphrase, the end of a visit."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ledger.explorer.site import Explorer
from twinward.errors import TwinwardError
from twinward.web import passphrase
from twinward.web.guard import form_of

HOME = "/overview"


def entrance(explorer: Explorer, *, provider: str | None = None) -> APIRouter:
    """The pages that a visitor without a session can see.

    Args:
        explorer: The site.
        provider: Host of the OpenID provider at which some sign in (`by_provider`).
    """
    router, shell = APIRouter(), explorer.shell

    def page(
        request: Request, template: str, title: str, error: TwinwardError | None = None
    ) -> Response:
        return shell.html(
            request,
            template,
            title=title,
            status=200 if error is None else 403,
            problem=error and error.diagnostic,
            provider=provider,
            given=form_of(request),
            next=local(form_of(request).get("next") or request.query_params.get("next", HOME)),
            shortest=passphrase.SHORTEST,
        )

    @router.get("/sign-in")
    def show_sign_in(request: Request) -> Response:
        return page(request, "sign_in.html", "Sign in")

    @router.post("/sign-in")
    def sign_in(request: Request) -> Response:
        form = form_of(request)
        name = form.get("name", "").strip().lower()
        explorer.count_try(request, name)
        try:
            auditor = explorer.auditors.sign_in(name, given=form.get("passphrase", ""))
        except TwinwardError as error:
            explorer.enter_sign_in(request, name, way="passphrase", error=error)
            return page(request, "sign_in.html", "Sign in", error)
        explorer.enter_sign_in(request, auditor.name, way="passphrase")
        return shell.sign_in(request, auditor.name, then=local(form.get("next", HOME)))

    @router.get("/join")
    def show_join(request: Request) -> Response:
        return page(request, "join.html", "Accept your invitation")

    @router.post("/join")
    def join(request: Request) -> Response:
        form = form_of(request)
        name = form.get("name", "").strip().lower()
        explorer.count_try(request, name)
        try:
            auditor = explorer.auditors.accept(
                name, code=form.get("code", ""), chosen=form.get("passphrase", "")
            )
        except TwinwardError as error:
            explorer.enter_sign_in(request, name, way="invitation", error=error)
            return page(request, "join.html", "Accept your invitation", error)
        explorer.enter_sign_in(request, auditor.name, way="invitation")
        shell.sessions.end_all(auditor.name)  # of whoever knew the earlier passphrase
        return shell.sign_in(request, auditor.name, then=HOME)

    @router.post("/sign-out")
    def sign_out(request: Request) -> Response:
        return shell.sign_out(request, then="/sign-in")

    return router


def local(path: str) -> str:
    """A path of this site, whatever was given: nobody is led elsewhere by a link to us."""
    is_local = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if is_local and path.isprintable() else HOME
