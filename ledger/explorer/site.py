"""The explorer as a site: who may see what, and the way from an address to a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp

from ledger.explorer.auditors import Auditors
from ledger.explorer.journal import Journal
from ledger.explorer.standing import Source
from ledger.explorer.view import Kept, View, open_view
from twinward.clock import Clock
from twinward.errors import TwinwardError
from twinward.web.guard import too_often
from twinward.web.limits import Limit
from twinward.web.sessions import Sessions
from twinward.web.shell import Link, Page, SessionNeeded, Shell, Site, as_json

Make = Callable[[View, Mapping[str, str]], Page]
"""A page of what a visitor sees, for the words of an address."""

Export = Callable[[View, Mapping[str, str]], dict[str, Any]]
"""A document in a format of others."""

NAVIGATION = (
    Link("Overview", "/overview"),
    Link("Timeline", "/timeline"),
    Link("Studies", "/studies"),
    Link("Models", "/models"),
    Link("Consents", "/consents"),
    Link("Privacy", "/privacy"),
    Link("Gaps", "/gaps"),
    Link("Questions", "/questions"),
)


class Explorer:
    """One explorer: its accounts, its sessions and its source."""

    def __init__(
        self,
        *,
        origin: str,
        state: Path,
        source: Source,
        clock: Clock,
        journal: Journal,
    ) -> None:
        """An explorer whose accounts and sessions lie in ``state``."""
        self.source = source
        self.journal = journal
        self.auditors = Auditors(state / "auditors.sqlite", clock=clock)
        self.sessions = Sessions(state / "sessions.sqlite", clock=clock)
        site = Site(
            title=f"Audit of {source.papers.founding.network}",
            origin=origin,
            templates=Path(__file__).parent / "templates",
            navigation=NAVIGATION,
            help="Questions about this site: ask the coordinator who invited you."
            + ("" if journal.log is None else " Sign-ins and pages are entered in its audit log."),
        )
        self.shell = Shell(site, sessions=self.sessions, clock=clock)
        self._kept: Kept = {}
        # A person mistypes; ten tries in ten minutes are enough for that.
        self._tries = Limit(per_second=1 / 60, burst=10)

    def close(self) -> None:
        """Release the files."""
        self.auditors.close()
        self.sessions.close()

    def view(self, request: Request, *, form: str = "html") -> View:
        """What this visitor may see, once it is entered that they asked for it.

        Raises:
            SessionNeeded: Nobody is signed in, or the account has ended.
            LedgerError: TW3601, TW3610, it cannot be entered.
        """
        session = self.shell.session(request)
        auditor = self.auditors.find(session.subject) if session else None
        # A session from before the newest invitation is of whoever had the account then.
        if (
            session is None
            or auditor is None
            or not auditor.is_open
            or session.opened < auditor.invited
        ):
            raise SessionNeeded
        asked = {"path": request.url.path, "query": request.url.query}
        self.journal.asked(auditor.name, **asked, address=address_of(request))
        return open_view(
            self.source.path,
            papers=self.source.papers,
            standing=self.source.standing,
            scope=auditor.studies,
            form=form,
            kept=self._kept,
        )

    def count_try(self, request: Request, name: str | None = None) -> None:
        """Count a try to sign in, by name if one was given, and by address.

        Raises:
            UsageError: TW7032, too many.
        """
        seconds = self._tries.wait(f"host {address_of(request)}")
        if name is not None:
            seconds = max(seconds, self._tries.wait(f"name {name[:64]}"))
        if seconds:
            raise too_often(seconds)

    def enter_sign_in(
        self, request: Request, name: str | None, *, way: str, error: TwinwardError | None = None
    ) -> None:
        """Enter that somebody comes in, or was refused; call it before they are told.

        Raises:
            LedgerError: TW3601, TW3610, it cannot be entered: then nobody comes in.
        """
        known = name if name is not None and self.auditors.is_account(name) else None
        failure = "" if error is None else error.code
        self.journal.signed_in(known, way=way, address=address_of(request), failure=failure)

    def application(
        self, pages: Mapping[str, Make], exports: Mapping[str, Export], *entrance: APIRouter
    ) -> ASGIApp:
        """The site with these pages, each also as JSON and CSV, exports, and an entrance."""
        router = APIRouter()
        router.add_api_route("/", lambda: RedirectResponse("/overview", status_code=303))
        router.add_api_route("/questions/{question}/proof", self._proof)
        for path, export in exports.items():
            router.add_api_route(path, self._export(export))
        for path, make in pages.items():
            # The most specific first: `/models/x.json` is not a model called `x.json`.
            for suffix, form in ((".json", "json"), (".csv", "csv"), ("", "html")):
                router.add_api_route(path + suffix, self._respond(make, form))
        return self.shell.build([*entrance, router])

    def _respond(self, make: Make, form: str) -> Callable[[Request], Response]:
        def respond(request: Request) -> Response:
            with self.view(request, form=form) as view:
                words = {**request.query_params, **request.path_params}
                page = make(view, words)
                facts = {
                    "verified": view.standing.as_json(),
                    "scope": None if view.scope is None else list(view.scope),
                    **page.facts,
                }
                shown = {"standing": view.standing, **page.shown}
                return self.shell.answer(
                    request,
                    Page(page.template, page.title, page.schema, page.tables, facts, shown),
                    form=form,
                )

        return respond

    def _proof(self, request: Request) -> Response:
        """The proof of an answer, of as much as this visitor may see."""
        question, given = str(request.path_params["question"]), dict(request.query_params)
        with self.view(request, form="json") as view:
            narrowed = None if view.scope is None else view.sources
            archive = self.source.prove(question, given, narrowed=narrowed)
        headers = {"content-disposition": 'attachment; filename="answer.proof.zip"'}
        return Response(archive, media_type="application/zip", headers=headers)

    def _export(self, export: Export) -> Callable[[Request], Response]:
        def respond(request: Request) -> Response:
            with self.view(request, form="json") as view:
                return as_json(export(view, request.path_params))

        return respond


def address_of(request: Request) -> str:
    """Where the connection of a request comes from."""
    return request.client.host if request.client else ""
