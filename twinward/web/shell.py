"""A site of the product: pages in one layout behind one guard, complete without JavaScript.

A site gives its name, templates, navigation and routes; the shell adds everything that must be the
same everywhere: guard, sessions, error pages with our codes, layout, JSON and CSV of each table.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp

from twinward import errors
from twinward.clock import Clock, iso
from twinward.logging import log
from twinward.web import files
from twinward.web.guard import TOKEN_FIELD, Guard
from twinward.web.limits import Limit
from twinward.web.sessions import Session, Sessions
from twinward.web.table import Table

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Link:
    """An entry of the navigation."""

    title: str
    href: str


@dataclass(frozen=True, slots=True)
class Site:
    """What is the site's own.

    Attributes:
        title: Its name, in the head of every page.
        origin: Where browsers reach it: ``https://host:port``. Any other host is refused.
        templates: Folder of its templates, which extend ``layout.html``.
        navigation: Entries for those who are signed in.
        help: Whom to ask, the same place on every page (WCAG 3.2.6).
        scripts: Scripts of its own; pages name one by ``own_address`` and ``own_integrity``.
    """

    title: str
    origin: str
    templates: Path
    navigation: tuple[Link, ...]
    help: str
    scripts: files.Files | None = None

    @property
    def is_tls(self) -> bool:
        """Whether browsers reach it by TLS; without, it is for the own machine only."""
        return self.origin.startswith("https://")


@dataclass(frozen=True, slots=True)
class Page:
    """What a handler answers: one content for page, JSON and CSV.

    Attributes:
        template: The template that shows it.
        title: Heading and title of the page.
        schema: Name in ``twinward/NAME/v1`` of its JSON.
        tables: By name; CSV has the first.
        facts: Everything else that is said, as JSON values.
        shown: What only the page needs, such as drawings.
    """

    template: str
    title: str
    schema: str
    tables: Mapping[str, Table] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    shown: Mapping[str, Any] = field(default_factory=dict)


class SessionNeeded(Exception):
    """Raised by a page that only those who are signed in may see."""


class Shell:
    """One running site; ``/sign-in`` is where visitors without a session are led."""

    def __init__(self, site: Site, *, sessions: Sessions, clock: Clock) -> None:
        """A site without pages; add them to `build`."""
        self.site = site
        self.sessions = sessions
        self.clock = clock
        # Under TLS the name itself binds a cookie to this host and to TLS (RFC 6265bis, 4.1.3).
        prefix = "__Host-" if site.is_tls else ""
        self.session_cookie, self._visitor_cookie = f"{prefix}session", f"{prefix}visitor"
        self._engine = jinja2.Environment(
            loader=jinja2.FileSystemLoader([site.templates, _TEMPLATES]),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._engine.filters |= {"moment": _moment, "short": _short}
        shared = files.SHARED
        self._files = [one for one in (shared, site.scripts) if one is not None]
        self._engine.globals |= {
            "site": site,
            "style": shared.address("twinward.css"),
            "style_integrity": shared.integrity("twinward.css"),
            "htmx": shared.address("htmx-2.0.11.min.js"),
            "htmx_integrity": shared.integrity("htmx-2.0.11.min.js"),
            "csrf_field": TOKEN_FIELD,
        }
        if site.scripts is not None:
            self._engine.globals |= {
                "own_address": site.scripts.address,
                "own_integrity": site.scripts.integrity,
            }

    def build(self, routers: Iterable[APIRouter], *, limit: Limit | None = None) -> ASGIApp:
        """The application, guarded.

        Args:
            routers: The site's pages.
            limit: Requests per address; 20 a second and 120 at once by default.
        """
        app = FastAPI(title=self.site.title, docs_url=None, redoc_url=None, openapi_url=None)
        for router in routers:
            app.include_router(router)
        app.add_api_route("/static/{version}/{name}", self._static, include_in_schema=False)
        app.add_exception_handler(errors.TwinwardError, self._on_refusal)
        app.add_exception_handler(SessionNeeded, self._on_stranger)
        app.add_exception_handler(HTTPException, self._on_status)
        app.add_exception_handler(RequestValidationError, self._on_bad_query)
        app.add_exception_handler(Exception, self._on_bug)
        return Guard(
            app,
            origin=self.site.origin,
            refuse=self.problem,
            limit=limit or Limit(per_second=20, burst=120),
            visitor_cookie=self._visitor_cookie,
        )

    # Answers

    def answer(self, request: Request, page: Page, *, form: str = "html") -> Response:
        """The page in the form that its address asks for: ``html``, ``json`` or ``csv``."""
        if form == "csv":
            first = next(iter(page.tables.values()), Table("", (), ()))
            headers = {"content-disposition": f'inline; filename="{page.schema}.csv"'}
            return Response(first.as_csv(), media_type="text/csv; charset=utf-8", headers=headers)
        if form == "json":
            tables = {name: one.as_json() for name, one in page.tables.items()}
            return as_json({"schema": f"twinward/{page.schema}/v1", **page.facts, **tables})
        return self.html(
            request,
            page.template,
            title=page.title,
            tables=page.tables,
            **page.facts,
            **page.shown,
        )

    def html(
        self, request: Request, template: str, *, title: str, status: int = 200, **values: Any
    ) -> Response:
        """A page by its template; a name that is missing is an error, never an empty place."""
        text = self._engine.get_template(template).render(
            title=title,
            csrf=request.state.csrf,
            session=self.session(request),
            path=request.url.path,
            query=request.url.query,
            **values,
        )
        return Response(text, status_code=status, media_type="text/html; charset=utf-8")

    def problem(self, request: Request, error: errors.TwinwardError, status: int) -> Response:
        """A refusal as a page, or as RFC 9457 for machines."""
        found = error.diagnostic
        headers = {"retry-after": "5"} if status in {429, 503} else {}
        if request.url.path.endswith((".json", ".csv")):
            body = {"title": found.message, "status": status, **found.as_json()}
            response = as_json(body, status=status, media_type="application/problem+json")
        else:
            response = self.html(
                request, "error.html", title="This did not work", status=status, error=found
            )
        response.headers.update(headers)
        return response

    # Who asks

    def session(self, request: Request) -> Session | None:
        """Who is signed in, or None."""
        if not hasattr(request.state, "session"):
            secret = request.cookies.get(self.session_cookie)
            request.state.session = self.sessions.find(secret) if secret else None
        found: Session | None = request.state.session
        return found

    def sign_in(self, request: Request, subject: str, *, then: str) -> Response:
        """Open a new session, whatever cookie came, and go on to a page of ours."""
        return self.admit(request, subject, RedirectResponse(then, status_code=303))

    def admit(self, request: Request, subject: str, response: Response) -> Response:
        """Open a new session, whatever cookie came, whose cookie goes with this answer."""
        self._forget(request)
        response.set_cookie(
            self.session_cookie,
            self.sessions.open(subject),
            httponly=True,
            samesite="strict",
            secure=self.site.is_tls,
        )
        return response

    def sign_out(self, request: Request, *, then: str) -> Response:
        """End the session here and on the disk."""
        self._forget(request)
        response = RedirectResponse(then, status_code=303)
        response.delete_cookie(
            self.session_cookie, httponly=True, samesite="strict", secure=self.site.is_tls
        )
        return response

    def _forget(self, request: Request) -> None:
        if secret := request.cookies.get(self.session_cookie):
            self.sessions.end(secret)
        request.state.session = None

    def _static(self, version: str, name: str) -> Response:
        for each in self._files:
            found = each.serve(version, name)
            if found is not None:
                return found
        raise HTTPException(404)

    # Errors

    def _on_refusal(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, errors.TwinwardError)  # noqa: S101 - registered for it
        return self.problem(request, error, _status_of(error))

    def _on_stranger(self, request: Request, error: Exception) -> Response:
        del error
        if request.url.path.endswith((".json", ".csv")):
            refusal = errors.IdentityError(
                "nobody is signed in", code="TW7037", help="sign in at /sign-in first"
            )
            return self.problem(request, refusal, 401)
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sign-in?next={quote(asked)}", status_code=303)

    def _on_status(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
        if error.status_code == 405:
            refusal = errors.UsageError(
                "this page only shows, it does not act",
                code="TW7031",
                help="use GET to read and the page's own forms to act",
            )
            return self.problem(request, refusal, 405)
        return self.problem(request, nothing_here(), 404)

    def _on_bad_query(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
        first = error.errors()[0]
        refusal = errors.UsageError(
            f"`{first['loc'][-1]}` is wrong: {first['msg'].lower()}",
            code="TW7035",
            help="correct it in the address or in the page's form",
        )
        return self.problem(request, refusal, 400)

    def _on_bug(self, request: Request, error: Exception) -> Response:
        log().error("page failed", error=type(error).__name__, path=request.url.path)
        refusal = errors.InternalError(
            f"unexpected {type(error).__name__}",
            code="TW9000",
            note="the message is withheld because it could quote a record",
            help="report it with the time of day; nothing was changed",
        )
        return self.problem(request, refusal, 500)


_STATUS = {"TW7032": 429, "TW7036": 404}


def nothing_here() -> errors.UsageError:
    """The refusal of an address that shows nothing to this visitor."""
    return errors.UsageError(
        "there is nothing at this address",
        code="TW7036",
        help="start from the first page",
    )


def as_json(value: Any, *, status: int = 200, media_type: str = "application/json") -> Response:
    """A JSON answer, keys in order, readable by people too."""
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False)
    return Response(text + "\n", status_code=status, media_type=media_type)


def _status_of(error: errors.TwinwardError) -> int:
    if error.code in _STATUS:
        return _STATUS[error.code]
    match error:
        case errors.LedgerUnreachable() | errors.CoordinatorUnreachable():
            return 503
        case errors.UsageError():
            return 400
        case errors.IdentityError() | errors.ConsentError() | errors.BudgetError():
            return 403
        case _:
            return 500


def _moment(seconds: float) -> str:
    return iso(seconds).replace("T", " ").replace("Z", " UTC")


def _short(digest: str) -> str:
    return digest if len(digest) <= 16 else f"{digest[:12]}…"
