"""Coming in through an organisation's OpenID provider, for those whose invitation names it.

No page here leads a browser elsewhere by itself: a form answers with a page that says where its
link goes, because our policy lets forms lead to this site only. The way back ends on a page that
leads on, because a SameSite=Strict cookie does not travel with a redirect that began elsewhere.
"""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ledger.explorer.entrance import HOME, local
from ledger.explorer.site import Explorer
from twinward.errors import TwinwardError
from twinward.web.guard import form_of
from twinward.web.openid import OpenId, Proved

CALLBACK = "/sign-in/callback"
"""The one redirect URI, behind the site's origin; register it at the provider."""

_STATUS = {"TW7061": 503}
_NOT_BEGUN = "TW7063"


def by_provider(explorer: Explorer, openid: OpenId) -> APIRouter:
    """The ways to the provider and back."""
    router, shell, auditors = APIRouter(), explorer.shell, explorer.auditors

    def page(request: Request, template: str, title: str, error: TwinwardError | None) -> Response:
        return shell.html(
            request,
            template,
            title=title,
            status=200 if error is None else _STATUS.get(error.code, 403),
            problem=error and error.diagnostic,
            provider=openid.provider.host,
            given=form_of(request),
            next=local(form_of(request).get("next", HOME)),
        )

    def lead_there(request: Request, memo: dict[str, str]) -> Response:
        return shell.html(
            request,
            "to_provider.html",
            title="Go on at your organisation",
            provider=openid.provider.host,
            address=openid.begin(visitor=request.state.csrf, memo=memo),
        )

    @router.post("/sign-in/provider")
    def sign_in(request: Request) -> Response:
        explorer.count_try(request)
        try:
            return lead_there(request, {"next": local(form_of(request).get("next", HOME))})
        except TwinwardError as error:
            return page(request, "sign_in.html", "Sign in", error)

    @router.get("/join/provider")
    def show_join(request: Request) -> Response:
        return page(request, "join_provider.html", "Accept your invitation", None)

    @router.post("/join/provider")
    def join(request: Request) -> Response:
        form = form_of(request)
        name, code = form.get("name", "").strip().lower(), form.get("code", "")
        explorer.count_try(request, name)
        try:
            auditors.require_invited(name, code=code, issuer=openid.provider.issuer)
            return lead_there(request, {"next": HOME, "name": name, "code": code})
        except TwinwardError as error:
            explorer.enter_sign_in(request, name, way="invitation", error=error)
            return page(request, "join_provider.html", "Accept your invitation", error)

    @router.get(CALLBACK)
    def come_back(request: Request) -> Response:
        try:
            proved = openid.finish(request.query_params, visitor=request.state.csrf)
            name = _account_of(proved, explorer)
        except TwinwardError as error:
            _enter_refusal(explorer, request, error)
            return page(request, "sign_in.html", "Sign in", error)
        explorer.enter_sign_in(request, name, way="provider")
        then = proved.memo["next"]
        response = shell.html(request, "signed_in.html", title="You are signed in", next=then)
        response.headers["refresh"] = f"0; url={quote(then, safe='/?&=%:,+')}"
        return shell.admit(request, name, response)

    return router


def _account_of(proved: Proved, explorer: Explorer) -> str:
    who, memo = {"issuer": proved.issuer, "subject": proved.subject}, proved.memo
    if "name" not in memo:
        return explorer.auditors.known(**who).name
    name = explorer.auditors.bind(memo["name"], code=memo["code"], **who).name
    explorer.sessions.end_all(name)  # of whoever had the account earlier
    return name


def _enter_refusal(explorer: Explorer, request: Request, error: TwinwardError) -> None:
    if error.code != _NOT_BEGUN:  # anybody can make that up, as often as they like
        explorer.enter_sign_in(request, None, way="provider", error=error)
