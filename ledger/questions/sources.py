"""What questions are asked of: the history, who the members are, and documents that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ledger.history import History
from ledger.questions.documents import Documents
from ledger.questions.logbook import Logbook
from twinward.founding import Founding
from twinward.ids import study_number

ROLES = {1: "coordinator", 2: "hospital"}


@dataclass(frozen=True, slots=True)
class Member:
    """An organisation as the ledger knows it, with its name if a founding file tells it."""

    number: int
    identity: bytes
    account: bytes
    role: str
    name: str


@dataclass(frozen=True)
class Sources:
    """Everything that an answer may rest on.

    Attributes:
        history: The events.
        founding: Names of the members; without it they have numbers.
        documents: Studies, plans and packs; only those whose digest is on the ledger count.
        now: Unix seconds; only for defaults of parameters, never for an answer's content.
        logbook: Entries of one organisation's audit log, for questions to it.
        scope: Names of the studies that the history is narrowed to; None for the whole network.
    """

    history: History
    founding: Founding | None = None
    documents: Documents = field(default_factory=Documents)
    now: float = 0.0
    logbook: Logbook | None = None
    scope: tuple[str, ...] | None = None

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """Everyone who ever joined, in the order of joining."""
        named = {
            bytes.fromhex(one.fingerprint): str(one.org)
            for one in (self.founding.members if self.founding else ())
        }
        found = []
        for event in self.history.events(kind="Membership.Joined"):
            number, identity = event.integer("number"), event.raw("id")
            role = ROLES.get(event.integer("role"), "member")
            name = named.get(identity, f"{role} {number}")
            found.append(Member(number, identity, event.raw("account"), role, name))
        return tuple(found)

    @cached_property
    def _by_account(self) -> Mapping[bytes, Member]:
        return {one.account: one for one in self.members}

    def member(self, text: str) -> Member:
        """The member of this name or number; a KeyError if there is none."""
        for one in self.members:
            if text in {one.name, str(one.number)}:
                return one
        raise KeyError(text)

    def name(self, who: int | bytes) -> str:
        """The name that belongs to a member's number or account; the account itself for others."""
        if isinstance(who, bytes):
            found = self._by_account.get(who)
            return f"0x{who.hex()}" if found is None else found.name
        return next((one.name for one in self.members if one.number == who), f"member {who}")

    def number(self, account: bytes) -> int:
        """The member's number of an account, or 0."""
        found = self._by_account.get(account)
        return 0 if found is None else found.number

    # Documents that the ledger names

    @cached_property
    def studies(self) -> Mapping[bytes, Mapping[str, Any]]:
        """Payloads of the studies that are on the ledger and at hand, by digest.

        A question that uses them names ``kind:Provenance.Recorded`` among its topics.
        """
        recorded = (e.raw("digest") for e in self.history.events(kind="Provenance.Recorded"))
        known = self.documents.studies
        return {digest: known[digest] for digest in recorded if digest in known}

    @cached_property
    def studies_in_scope(self) -> Mapping[bytes, bytes]:
        """Digest and number of the studies in scope whose documents are on the ledger and here."""
        named = self.scope or ()
        return {
            digest: number_of(payload)
            for digest, payload in self.studies.items()
            if payload["name"] in named
        }

    def study(self, text: str) -> bytes:
        """The number on the ledger of a study of this name; its own hex form is taken as it is."""
        for payload in self.studies.values():
            if payload["name"] == text:
                return number_of(payload)
        value = bytes.fromhex(text.removeprefix("0x"))
        if len(value) != 32:
            raise ValueError(text)
        return value

    def study_name(self, number: bytes) -> str:
        """The name of the study with this number, or the number in hex."""
        names = (p["name"] for p in self.studies.values() if number_of(p) == number)
        return str(next(names, f"0x{number.hex()}"))


def number_of(study: Mapping[str, Any]) -> bytes:
    """The number under which consents for this study stand on the ledger."""
    return study_number(network=study["network"], name=study["name"], salt=study["salt"])
