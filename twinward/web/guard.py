"""What stands in front of every page: who may ask, how often, how much, and what goes back with it.

    host       only the site's own name (a browser lured to this address by another name is refused)
    method     GET and POST
    rate       a token bucket per address
    size       64 KiB of form
    origin     a form comes from our own page: `Origin`, and a token tied to the visitor's cookie
    headers    strict Content-Security-Policy and its companions on every answer

The guard is ASGI (https://asgi.readthedocs.io) and wraps the whole application, so that no page
can be added that it does not protect. Forms are read here; handlers find them in `form_of`.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twinward.errors import IdentityError, TwinwardError, UsageError
from twinward.web.limits import Limit

FORM_BYTES = 64 * 1024
TOKEN_FIELD = "csrf"  # noqa: S105 - the name of the field
_FIELDS = 200

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    # `no-referrer` would make browsers hide the origin of our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

Refuse = Callable[[Request, TwinwardError, int], Response]


class Guard:
    """The one door of a site."""

    def __init__(
        self, app: ASGIApp, *, origin: str, refuse: Refuse, limit: Limit, visitor_cookie: str
    ) -> None:
        """Guard an application that browsers reach at ``origin`` (scheme, host and port)."""
        self._app = app
        self._origin = origin
        self._host = urlsplit(origin).netloc
        self._is_tls = origin.startswith("https://")
        self._refuse = refuse
        self._limit = limit
        self._cookie = visitor_cookie
        self._key = secrets.token_bytes(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # a web socket: we have none, the server closes it
        headers = Headers(scope=scope)
        visitor = _cookies(headers).get(self._cookie, "")
        is_new = not visitor
        if is_new:
            visitor = secrets.token_urlsafe(32)
        state = scope.setdefault("state", {})
        state |= {"csrf": self._token(visitor), "form": {}}

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(MutableHeaders(scope=message), visitor if is_new else None)
            await send(message)

        request = Request(scope, receive)
        try:
            self._require_allowed(request)
            if request.method == "POST":
                state["form"] = await self._form(request)
        except _Refused as refusal:
            await self._refuse(request, refusal.error, refusal.status)(scope, receive, guarded)
            return
        # The page of an unexpected error was sent and noted; a server that sees the error too would
        # print its message, which could quote a record.
        with contextlib.suppress(Exception):
            await self._app(scope, receive, guarded)

    def _require_allowed(self, request: Request) -> None:
        if request.headers.get("host") != self._host:
            raise _Refused(
                421,
                UsageError(
                    "this site does not have the name that was asked for",
                    code="TW7030",
                    help=f"open {self._origin}",
                ),
            )
        if request.method not in {"GET", "POST"}:
            raise _Refused(
                405,
                UsageError(
                    f"the method {request.method[:16]} does nothing here",
                    code="TW7031",
                    help="use GET to read and the page's own forms to act",
                ),
            )
        seconds = self._limit.wait(request.client.host if request.client else "")
        if seconds:
            raise _Refused(429, too_often(seconds))

    async def _form(self, request: Request) -> Mapping[str, str]:
        origin = request.headers.get("origin")
        if origin != self._origin or request.headers.get("sec-fetch-site", "same-origin") != (
            "same-origin"
        ):
            raise _Refused(403, _forged("the form was not sent by a page of this site"))
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > FORM_BYTES:
                raise _Refused(413, _not_a_form())
        kind = request.headers.get("content-type", "").split(";")[0].strip()
        if kind != "application/x-www-form-urlencoded":
            raise _Refused(400, _not_a_form())
        try:
            pairs = parse_qsl(
                body.decode("utf-8"),
                keep_blank_values=True,
                strict_parsing=bool(body),
                max_num_fields=_FIELDS,
            )
        except ValueError as error:
            raise _Refused(400, _not_a_form()) from error
        form = dict(pairs)
        if not hmac.compare_digest(form.pop(TOKEN_FIELD, ""), request.state.csrf):
            raise _Refused(403, _forged("the form is from another visit or has expired"))
        return form

    def _token(self, visitor: str) -> str:
        return hmac.new(self._key, visitor.encode(), hashlib.sha256).hexdigest()

    def _add_headers(self, headers: MutableHeaders, new_visitor: str | None) -> None:
        for name, value in _HEADERS.items():
            headers[name] = value
        headers.setdefault("cache-control", "no-store")
        if self._is_tls:
            headers["strict-transport-security"] = "max-age=31536000"
        if new_visitor:
            secure = "; Secure" if self._is_tls else ""
            headers.append(
                "set-cookie",
                f"{self._cookie}={new_visitor}; Path=/; HttpOnly; SameSite=Lax{secure}",
            )


def form_of(request: Request) -> Mapping[str, str]:
    """The fields of a form that passed the guard."""
    found: Mapping[str, str] = request.state.form
    return found


def too_often(seconds: float) -> TwinwardError:
    """The refusal of someone who asks faster than people do."""
    return UsageError(
        "too many requests from here",
        code="TW7032",
        note=f"wait {seconds:.0f} s" if seconds >= 1 else None,
        help="wait a moment and load the page again",
    )


class _Refused(Exception):
    def __init__(self, status: int, error: TwinwardError) -> None:
        super().__init__(str(error))
        self.status = status
        self.error = error


def _not_a_form() -> TwinwardError:
    return UsageError(
        "this is not a form of this site, or it is larger than 64 KiB",
        code="TW7034",
        help="fill in the page's own form",
    )


def _forged(why: str) -> TwinwardError:
    return IdentityError(why, code="TW7033", help="go back, load the page again and repeat")


def _cookies(headers: Headers) -> dict[str, str]:
    try:
        parsed = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in parsed.items()}
