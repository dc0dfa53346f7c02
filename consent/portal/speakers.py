"""Who may answer for the visitor: seen, named and ended, with the visitor's own letter.

The code of somebody who was just named is shown once, on the page that answers the form: it is
kept nowhere, here or at the desk.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from consent.delegates import LONGEST, LONGEST_NAME
from consent.portal.choices import not_offered
from consent.portal.codes import spelled
from consent.portal.printed import picture
from consent.portal.site import Portal
from twinward.web.guard import form_of

SAYS = ("stop", "all")
"""What somebody may be named for, the narrowest first."""


class Speakers:
    """The page of one letter's delegates and guardians."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._html = portal.shell.html

    def router(self) -> APIRouter:
        """The addresses of these pages."""
        router, one = APIRouter(), "/studies/{place}/delegates"
        router.add_api_route(one, self.show)
        router.add_api_route(one, self.name, methods=["POST"])
        router.add_api_route(f"{one}/end", self.end, methods=["POST"])
        return router

    def show(self, request: Request) -> Response:
        """Who may answer, and the form to name one more."""
        one, now = self._portal.letter(request), self._portal.clock.now()
        today = datetime.fromtimestamp(now, tz=UTC).date()
        return self._html(
            request,
            "delegates.html",
            title="delegates_title",
            one=one,
            now=now,
            says=SAYS,
            longest_name=LONGEST_NAME,
            first=(today + timedelta(days=1)).isoformat(),
            last=(today + timedelta(seconds=LONGEST)).isoformat(),
        )

    def name(self, request: Request) -> Response:
        """Name somebody; their code is on this answer and nowhere else.

        Raises:
            UsageError: TW8071, not what the form offers.
        """
        one, form = self._portal.letter(request), form_of(request)
        says = form.get("says", "")
        if says not in SAYS:
            raise not_offered()
        made = self._portal.desk.name_delegate(
            code=one.code,
            study=one.study.id32,
            holder=form.get("holder", ""),
            says=says,
            until=_midnight(form.get("until", "")),
        )
        code = spelled(bytes.fromhex(made["code"]))
        door = f"{self._portal.shell.site.origin}/sign-in"
        return self._html(
            request,
            "delegate_made.html",
            title="delegate_made_title",
            one=one,
            holder=made["holder"],
            code=code,
            door=door,
            picture=picture(f"{door}#{code}", sized=True),
        )

    def end(self, request: Request) -> Response:
        """End what somebody may answer, and what they answered.

        Raises:
            UsageError: TW8071, not one of those on the page.
        """
        one, number = self._portal.letter(request), form_of(request).get("number", "")
        if number not in {str(each["number"]) for each in one.known["mandates"]}:
            raise not_offered()
        self._portal.desk.end_delegate(code=one.code, study=one.study.id32, number=int(number))
        return RedirectResponse(f"/studies/{one.place}/delegates", status_code=303)


def _midnight(day: str) -> int:
    """The beginning of a day that a browser's field of dates sent, UTC, Unix seconds."""
    try:
        found = date.fromisoformat(day)
    except ValueError as error:
        raise not_offered() from error
    return int(datetime(found.year, found.month, found.day, tzinfo=UTC).timestamp())
