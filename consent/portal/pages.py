"""The pages of somebody with a letter: deciding, stopping, looking."""

from __future__ import annotations

import json
from collections.abc import Mapping

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from consent import signature
from consent.policy import Grade
from consent.portal import at_hospital, drafts, results
from consent.portal.choices import LIMITS, YEARS, Picked, field, offered
from consent.portal.on_device import asked_to_grant, asked_to_withdraw, handed_in, key_for
from consent.portal.sealed_keys import read
from consent.portal.site import Asked, Portal
from twinward.rpc.replies import RemoteRefusal
from twinward.web.guard import form_of


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
        return router

    def home(self, request: Request) -> Response:
        """In one line who uses the visitor's data now; then each letter."""
        letters = self._portal.letters(request)
        used = [one for one in letters if one.is_used]
        return self._html(request, "home.html", title="home_title", letters=letters, used=used)

    def study(self, request: Request) -> Response:
        """What became of the last answer."""
        one = self._portal.letter(request)
        return self._html(
            request,
            "study.html",
            title="study_title",
            one=one,
            has_result=results.of(self._portal.state, one.study.name) is not None,
            can_change=self._can_change(one),
        )

    def now(self, request: Request) -> Response:
        """The moving part of that page, for a script that looks again."""
        one = self._portal.letter(request)
        return self._html(request, "now.html", title="study_title", one=one)

    def choose(self, request: Request) -> Response:
        """The text, and what can be chosen."""
        one = self._portal.letter(request)
        names = [each.name for each in one.study.optional]
        return self._html(
            request,
            "choose.html",
            title="choose_title",
            one=one,
            purposes=offered(one.study),
            limits=LIMITS,
            years=YEARS,
            needed=[name for name in one.study.categories if name not in names],
            optional=[(field(n), name) for n, name in enumerate(names) if name not in one.closed],
            last=Picked.again(one.known["grant"], one.study),
            is_waiting=one.is_waiting,
        )

    def preview(self, request: Request) -> Response:
        """What the choice would do, by the policy itself; nothing is signed or kept."""
        one, portal = self._portal.letter(request), self._portal
        picked, at = _picked(one, form_of(request)), portal.clock.now()
        at_hospital_rule, on_device_rule = (
            portal.desk.foresee(
                code=one.code, study=one.study.id32, draft=picked.draft(at, grade=grade)
            )
            for grade in (Grade.HOSPITAL, Grade.DEVICE)
        )
        key = key_for(one, portal.keys.of(one.code))
        asked = None
        if key is not None and on_device_rule.permits:
            asked = asked_to_grant(
                one,
                key,
                hospital=portal.hospital,
                domain=portal.domain,
                names=picked.names,
                without=picked.without,
                until=picked.until(at),
                at=at,
            )
        return self._html(
            request,
            "preview.html",
            title="preview_title",
            one=one,
            picked=picked,
            until=picked.until(at),
            boxes={field(n): each.name for n, each in enumerate(one.study.optional)},
            rule=at_hospital_rule,
            asked=asked and json.dumps(asked),
            key=key,
        )

    def say_yes(self, request: Request) -> Response:
        """A yes: signed by the page's script, or else here at the visitor's request and marked."""
        one, form = self._portal.letter(request), form_of(request)
        if "signature" in form:
            self._hand_in(one, form)
        else:
            self._grant(one, _picked(one, form))
        return RedirectResponse(f"/studies/{one.place}", status_code=303)

    def ask_stop(self, request: Request) -> Response:
        """What stopping does."""
        one, portal = self._portal.letter(request), self._portal
        key = key_for(one, portal.keys.of(one.code))
        asked = None
        if key is not None and key.sealed is not None:
            asked = asked_to_withdraw(one, key, domain=portal.domain, at=portal.clock.now())
        return self._html(
            request,
            "stop.html",
            title="stop_title",
            one=one,
            asked=asked and json.dumps(asked),
            key=key,
        )

    def stop(self, request: Request) -> Response:
        """Stop; it holds when the next page is shown. No key is needed."""
        one, portal, form = self._portal.letter(request), self._portal, form_of(request)
        if form.get("signature"):
            value, signed = handed_in(form)
            body = {"withdrawal": value, "signature": signed}
        else:
            body = at_hospital.withdrawal_request(
                one.known["grant"],
                one.study,
                code=one.code,
                domain=portal.domain,
                at=portal.clock.now(),
            )
        portal.desk.withdraw(body).result()
        return RedirectResponse(f"/studies/{one.place}", status_code=303)

    def _can_change(self, one: Asked) -> bool:
        """Whether a yes in force can be answered anew here: only the key that gave it can."""
        if not (one.study.optional and one.has_said_yes and one.may_say_yes):
            return False
        key = key_for(one, self._portal.keys.of(one.code))
        return key is None or key.sealed is not None

    def _hand_in(self, one: Asked, form: Mapping[str, str]) -> None:
        """Hand in what a device signed; its sealed key is on disk first, and goes if it was no."""
        value, signed = handed_in(form)
        subject = str(value.get("subject"))
        held = self._portal.keys.of(one.code)
        if subject not in held:
            self._portal.keys.keep(one.code, read(form.get("sealed", ""), subject=subject))
        try:
            self._portal.desk.grant(
                {"code": one.code.hex(), "grant": value, "signature": signed}
            ).result()
        except RemoteRefusal:
            if subject not in held:
                self._portal.keys.forget([bytes.fromhex(subject)])
            raise

    def _grant(self, one: Asked, picked: Picked) -> None:
        portal, at = self._portal, self._portal.clock.now()
        key = at_hospital.key_of(one.code, one.study)
        subject, known = signature.address_of(key), one.known["grant"]
        is_ours = known is not None and known["subject"] == subject.hex()
        grant = drafts.grant(
            one.study,
            hospital=portal.hospital,
            names=picked.names,
            without=picked.without,
            until=picked.until(at),
            terms_shown=one.terms,
            subject=subject,
            nonce=known["next_nonce"] if is_ours else 0,
            at=at,
        )
        body = at_hospital.grant_request(grant, code=one.code, key=key, domain=portal.domain)
        portal.desk.grant(body).result()


def _picked(one: Asked, form: Mapping[str, str]) -> Picked:
    return Picked.of(form, one.study, closed=one.closed)
