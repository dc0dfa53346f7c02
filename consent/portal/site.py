"""The patients' site: from a letter's code to a yes, a no, and what became of it.

It has no patient, no record and no key that it could open: it asks the hospital's consent desk
over TLS, as a patient's own device does. What it knows of a visitor ends with the visit.
Addresses carry the place of a letter in the visit (0, 1, ...), never anything about a person.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from starlette.requests import Request

from consent.desk import DeskClient
from consent.kept import State
from consent.policy import Rule
from consent.portal.sealed_keys import KEYS, SealedKeys
from consent.portal.shell import PatientShell
from consent.portal.visits import Visits
from consent.record import Domain
from consent.standing import Role
from consent.study import Study
from twinward.clock import Clock
from twinward.ids import OrgName
from twinward.web.files import Files
from twinward.web.guard import too_often
from twinward.web.limits import Limit
from twinward.web.sessions import Sessions
from twinward.web.shell import SessionNeeded, Site, nothing_here

VENDORED = {
    # @noble/curves 2.4.0 and @noble/hashes 2.4.0 from npm, MIT, as `device/` builds them
    "noble-2.4.0.min.js": "d4fae824106cb02d630878a6f0d5da9e612efd5d179001ccb8321b1026047b19",
}
"""SHA-256 of every script that others wrote."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One letter of a visit: what it asks, and what is on record.

    Attributes:
        place: Its place in the visit: what addresses carry.
        code: The letter's secret.
        study: What is asked.
        text: The terms, as they are signed for.
        language: Which language they are in.
        version: Which version of it.
        terms: Digest of the terms.
        known: What the desk has on record.
    """

    place: int
    code: bytes
    study: Study
    text: str
    language: str
    version: int
    terms: bytes
    known: dict[str, Any]

    @property
    def lines(self) -> list[str]:
        """The terms, cut where a line ends a sentence or an entry: there a page has to break them.

        With line feeds between them they are the terms to the byte, which the device checks.
        """
        return re.split(r"\n(?![a-z])", self.text)

    @property
    def rule(self) -> Rule:
        """The rule that decides on this study now."""
        return Rule(self.known["rule"])

    @property
    def is_used(self) -> bool:
        """Whether the study may use the record now."""
        return bool(self.known["permit"])

    @property
    def has_said_yes(self) -> bool:
        """Whether there is a yes that stopping would end."""
        return self.is_used or self.rule is Rule.NOT_ON_LEDGER

    @property
    def speaks(self) -> dict[str, Any] | None:
        """The mandate under which the letter is answered; None: it is the patient's own."""
        return self.known.get("speaks")

    @property
    def may_say_yes(self) -> bool:
        """Whether the letter can say yes: a delegate's may only stop, if the patient wants that."""
        return self.speaks is None or bool(self.speaks["purposes"])

    @property
    def is_waiting(self) -> bool:
        """Whether a yes is on its way to the ledger, so that no other can be given."""
        return self.rule is Rule.NOT_ON_LEDGER and self.known["grant"]["ledger"] == State.WAITING

    @property
    def left_out(self) -> tuple[str, ...]:
        """The categories that the last yes leaves out."""
        grant = self.known["grant"]
        return tuple(grant["without"]) if grant else ()

    @property
    def covered(self) -> tuple[str, ...]:
        """The categories that the last yes covers; without one, all that the study asks for."""
        return tuple(name for name in self.study.categories if name not in self.left_out)

    @property
    def closed(self) -> tuple[str, ...]:
        """What this visitor cannot let in: whom a patient named says no more than the patient."""
        return self.left_out if self.speaks and self.speaks["role"] == Role.CHOSEN else ()

    @property
    def completion(self) -> dict[str, Any] | None:
        """The hospital's last word on the withdrawal, if it was given."""
        found = self.known["receipts"]["completion"]
        return None if found is None or self.has_said_yes else json.loads(found)["payload"]

    @property
    def withdrawal(self) -> dict[str, Any] | None:
        """The withdrawal, if it is the last word."""
        found: dict[str, Any] | None = self.known["withdrawal"]
        return None if self.has_said_yes else found


class Portal:
    """One site of one hospital."""

    def __init__(
        self,
        *,
        origin: str,
        state: Path,
        hospital: OrgName,
        domain: Domain,
        channel: grpc.Channel,
        clock: Clock,
        drafts: bool,
    ) -> None:
        """A site whose sessions lie in ``state`` and whose desk is behind ``channel``."""
        self.hospital, self.domain, self.clock, self.state = hospital, domain, clock, state
        self.desk = DeskClient(channel)
        self.visits = Visits()
        self.sessions = Sessions(state / "sessions.sqlite", clock=clock)
        self.keys = SealedKeys.open(state / KEYS)
        site = Site(
            title=hospital.replace("-", " ").title(),
            origin=origin,
            templates=Path(__file__).parent / "templates",
            navigation=(),
            help="",
            scripts=Files(Path(__file__).parent / "static", VENDORED),
        )
        self.shell = PatientShell(site, sessions=self.sessions, clock=clock, drafts=drafts)
        # A person mistypes; codes have 128 bits, so this only keeps the noise down.
        self._tries = Limit(per_second=1 / 10, burst=20)

    def close(self) -> None:
        """Release files and channel."""
        self.sessions.close()
        self.keys.close()
        self.desk.__exit__()

    def count_try(self, request: Request) -> None:
        """Count a code that somebody typed, by address.

        Raises:
            UsageError: TW7032, too many.
        """
        seconds = self._tries.wait(request.client.host if request.client else "")
        if seconds:
            raise too_often(seconds)

    def letters(self, request: Request) -> list[Asked]:
        """The letters of this visit.

        Raises:
            SessionNeeded: Nobody is there, or the site was started anew since.
            TwinwardError: The desk does not answer, or refuses.
        """
        codes = self._codes(request)
        return [self._asked(place, code) for place, code in enumerate(codes)]

    def letter(self, request: Request) -> Asked:
        """The letter that the address names.

        Raises:
            SessionNeeded: As for `letters`.
            UsageError: TW7036, this visit has no such letter.
        """
        codes, place = self._codes(request), str(request.path_params["place"])
        if not (place.isascii() and place.isdecimal() and int(place) < len(codes)):
            raise nothing_here()
        return self._asked(int(place), codes[int(place)])

    def _codes(self, request: Request) -> tuple[bytes, ...]:
        session = self.shell.session(request)
        codes = self.visits.codes(session.subject) if session else None
        if not codes:
            raise SessionNeeded
        return tuple(codes)

    def _asked(self, place: int, code: bytes) -> Asked:
        said = self.desk.terms_of(code)
        study = Study.from_json(said["study"])
        return Asked(
            place=place,
            code=code,
            study=study,
            text=str(said["text"]),
            language=str(said["language"]),
            version=int(said["version"]),
            terms=bytes.fromhex(said["digest"]),
            known=self.desk.show(code=code, study=study.id32),
        )
