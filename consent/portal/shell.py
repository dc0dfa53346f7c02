"""The shell of all sites in the visitor's language: title, navigation, help, refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from consent.desk import DeskUnreachable
from consent.portal.languages import COOKIE, Language, chosen, languages, offered
from twinward.clock import Clock
from twinward.errors import EXIT_UNREACHABLE, EXIT_USAGE, TwinwardError
from twinward.rpc.replies import RemoteRefusal
from twinward.web.sessions import Sessions
from twinward.web.shell import Link, Shell, Site

NAVIGATION = (("home", "/home"), ("twins", "/about"))
_STATUS = {EXIT_USAGE: 400, EXIT_UNREACHABLE: 503}
"""What the desk's refusals mean to a browser; any other is a 403."""


class PatientShell(Shell):
    """A shell whose pages all know ``w``, the words of the visitor's language."""

    def __init__(self, site: Site, *, sessions: Sessions, clock: Clock, drafts: bool) -> None:
        """A site without pages; ``drafts``: whether it shows translations that nobody checked."""
        super().__init__(site, sessions=sessions, clock=clock)
        self.drafts = drafts

    def language(self, request: Request) -> Language:
        """The language of this visitor."""
        return chosen(*_asked(request), drafts=self.drafts)

    def html(
        self, request: Request, template: str, *, title: str, status: int = 200, **values: Any
    ) -> Response:
        """A page; ``title`` is a key of the words."""
        language = self.language(request)
        words = language.words
        site = replace(
            self.site,
            title=words["site"].format(hospital=self.site.title),
            navigation=tuple(Link(words[f"nav_{key}"], href) for key, href in NAVIGATION),
            help=words["help"].format(hospital=self.site.title),
        )
        return super().html(
            request,
            template,
            title=words[title],
            status=status,
            site=site,
            hospital=self.site.title,
            w=words,
            language=language,
            languages=languages(drafts=self.drafts),
            offered=offered(*_asked(request), drafts=self.drafts),
            shell_words={key: words[f"shell_{key}"] for key in ("skip", "main", "leave")},
            **values,
        )

    def problem(self, request: Request, error: TwinwardError, status: int) -> Response:
        """A refusal in the visitor's language; the code tells staff what it is."""
        if isinstance(error, RemoteRefusal | DeskUnreachable):
            status = _STATUS.get(error.diagnostic.exit_status, 403)
        if request.url.path.endswith((".json", ".csv")):
            return super().problem(request, error, status)
        words = self.language(request).words
        said = words.get(f"error_{error.code}", words["error_other"])
        return self.html(
            request, "error.html", title="error_title", status=status, said=said, code=error.code
        )


def _asked(request: Request) -> tuple[str | None, str]:
    return request.cookies.get(COOKIE), request.headers.get("accept-language", "")
