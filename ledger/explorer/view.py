"""What one visitor sees: the history as far as their scope goes, with names for its numbers.

An auditor whose scope is some studies gets a history that holds only what concerns those studies
and the membership: pages cannot show what is not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ledger.consents import ATTESTED, BY_STAFF, Slot
from ledger.events import Event
from ledger.explorer.papers import Papers
from ledger.explorer.standing import Standing
from ledger.history import History
from ledger.provenance import Kind
from ledger.questions.scope import in_scope
from ledger.questions.sources import Sources

CONSENT_CHANGED = "Consent.ConsentChanged"
RECORDED, APPROVED = "Provenance.Recorded", "Provenance.Approved"
RESERVED, JOINED = "Provenance.Reserved", "Membership.Joined"
Kept = dict[tuple[Any, ...], Any]
"""Answers by everything that they depend on."""


@dataclass(frozen=True)
class View:
    """One visitor's view. Use it as a context: it holds a connection.

    Attributes:
        history: The events that are in scope.
        papers: Signed documents.
        standing: How far the copy is verified.
        scope: Names of the studies in scope, or None for all.
        form: What the visitor wants: ``html``, ``json`` or ``csv``.
        kept: Answers that took long, shared by all views of one explorer.
    """

    history: History
    papers: Papers
    standing: Standing
    scope: tuple[str, ...] | None
    form: str = "html"
    kept: Kept = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.history.close()

    @property
    def sources(self) -> Sources:
        """What questions are asked of."""
        return Sources(
            self.history,
            founding=self.papers.founding,
            documents=self.papers.documents,
            now=float(self.history.time),
            scope=self.scope,
        )

    def of_kind(self, kind: str) -> Iterator[Event]:
        """Events of one kind, in order."""
        return self.history.events(kind=kind)

    def member(self, key: Any) -> str:
        """The organisation with this account, identity or number; its start in hex otherwise."""
        if isinstance(key, int):
            key = next(
                (e.values["account"] for e in self.of_kind(JOINED) if e.values["number"] == key),
                key,
            )
        if isinstance(key, int):
            return f"member {key}" if key else "nobody"
        text = key.hex()
        for member in self.papers.founding.members:
            if text in {member.fingerprint, member.ledger_account.lower().removeprefix("0x")}:
                return str(member.org)
        return f"0x{text[:10]}"

    def study(self, number: bytes) -> str:
        """The name of the study that consents carry under this number."""
        paper = self.papers.study_numbered(number)
        return paper.name if paper else f"study {number.hex()[:10]}"

    def recorded(self) -> dict[bytes, Event]:
        """The record of every digest."""
        return {event.raw("digest"): event for event in self.of_kind(RECORDED)}


def grade_of(slot: Slot) -> str:
    """Who answers for a change: the subject's own signature, or staff."""
    by_staff = slot.flags & ATTESTED or slot.purposes & BY_STAFF
    return "attested by staff" if by_staff else "signed by the subject"


def kind_of(event: Event) -> str:
    """What a record is of, as a word: ``plan``."""
    try:
        return Kind(event.integer("kind")).name.lower()
    except ValueError:
        return f"kind {event.integer('kind')}"


def open_view(
    path: Path,
    *,
    papers: Papers,
    standing: Standing,
    scope: tuple[str, ...] | None,
    form: str = "html",
    kept: Kept | None = None,
) -> View:
    """A view on the copy at this path, as far as the scope goes.

    Raises:
        LedgerError: TW3702, there is no usable copy.
    """
    history, kept = History.reader(path), {} if kept is None else kept
    if scope is None:
        return View(history, papers, standing, None, form, kept)
    with _closing(history):
        named = [one for one in papers.studies.values() if one.name in scope]
        studies = {one.digest: one.number for one in named}
        chosen = list(in_scope(history.events(), studies=studies))
        narrowed = History.of(
            chosen, genesis=history.genesis, block=history.block, time=history.time
        )
    recorded = {event.raw("digest") for event in chosen if event.kind == RECORDED}
    return View(narrowed, papers.only(recorded), standing, scope, form, kept)


@contextmanager
def _closing(history: History) -> Iterator[None]:
    try:
        yield
    finally:
        history.close()
