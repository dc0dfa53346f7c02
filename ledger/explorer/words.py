"""One sentence for each event: what happened, who did it, to what."""

from __future__ import annotations

from datetime import UTC, datetime

from ledger.consents import REASONS
from ledger.events import Event
from ledger.explorer.view import (
    APPROVED,
    CONSENT_CHANGED,
    JOINED,
    RECORDED,
    RESERVED,
    View,
    grade_of,
    kind_of,
)
from ledger.membership import Role
from ledger.questions.permissions import slot_of

TITLES = {
    JOINED: "Member joined",
    "Membership.Endorsed": "Candidate endorsed",
    "Membership.SuspensionVoted": "Vote on a suspension",
    "Membership.Suspended": "Member suspended",
    "Membership.Reinstated": "Member reinstated",
    CONSENT_CHANGED: "Consent changed",
    "Consent.Skipped": "Grant left out",
    "Consent.BatchAnchored": "Batch of consents anchored",
    RECORDED: "Document recorded",
    APPROVED: "Document approved",
    RESERVED: "Privacy reserved",
    "Provenance.FenceRaised": "Process started",
    "Provenance.CapStated": "Limit stated",
    "Provenance.Skipped": "Item left out",
    "AuditAnchor.Anchored": "Audit log anchored",
}
"""Kinds of events in plain words; one that is not here is shown by its own name."""


def title_of(kind: str) -> str:
    """A kind of event in plain words."""
    return TITLES.get(kind, kind)


def sentence(event: Event, view: View) -> str:
    """What happened."""
    told = _TOLD.get(event.kind)
    if told is None:
        return event.kind
    return told(event, view)


def named(digest: bytes, view: View) -> str:
    """A digest with its name, if a signed document gives it one."""
    title = view.papers.title(digest)
    return f"“{title}”" if title else digest.hex()[:12]


def _joined(event: Event, view: View) -> str:
    role = Role(event.integer("role")).name.lower()
    return f"{view.member(event.raw('id'))} joined as {role}, member {event.integer('number')}"


def _changed(event: Event, view: View) -> str:
    slot = slot_of(event)
    study, relay = view.study(slot.study), view.member(slot.relay)
    if not slot.purposes:
        return f"a subject withdrew from {study}, {grade_of(slot)}, granted through {relay}"
    until = datetime.fromtimestamp(slot.expiry, tz=UTC).date()
    return f"a subject granted {study} until {until}, {grade_of(slot)}, through {relay}"


def _skipped(event: Event, view: View) -> str:
    del view
    reason = event.integer("reason")
    name = REASONS[reason] if reason < len(REASONS) else str(reason)
    return f"a grant was left out of its batch: {name}"


def _recorded(event: Event, view: View) -> str:
    digest = event.raw("digest")
    return f"{view.member(event.raw('by'))} recorded the {kind_of(event)} {named(digest, view)}"


def _approved(event: Event, view: View) -> str:
    what = named(event.raw("digest"), view)
    return f"{view.member(event.raw('by'))} approved {what}, {event.integer('approvals')} so far"


def _reserved(event: Event, view: View) -> str:
    return (
        f"{view.member(event.raw('hospital'))} reserved mu² "
        f"{event.integer('microMu2') / 1e6:.4f} for run {event.raw('run').hex()[:12]}, "
        f"{event.integer('spent') / 1e6:.4f} in all"
    )


def _started(event: Event, view: View) -> str:
    who = view.member(event.raw("by"))
    return f"{who} started its process number {event.integer('fence')}"


def _anchored(event: Event, view: View) -> str:
    who = view.member(event.integer("number"))
    return f"{who} anchored head {event.integer('size'):,} of its audit log"


def _capped(event: Event, view: View) -> str:
    cap = event.integer("microMu2") / 1e6
    return f"{view.member(event.raw('hospital'))} limited itself to mu² {cap:.4f} for life"


def _voted(event: Event, view: View) -> str:
    what = "suspending" if event.integer("suspending") else "reinstating"
    who, whom = view.member(event.raw("by")), view.member(event.raw("id"))
    return f"{who} voted for {what} {whom}, {event.integer('votes')} so far"


def _batch(event: Event, view: View) -> str:
    who = view.member(event.integer("relay"))
    return f"{who} anchored a batch of {event.integer('size'):,} signed grants, to be proved later"


def _endorsed(event: Event, view: View) -> str:
    who, whom = view.member(event.raw("by")), view.member(event.raw("id"))
    return f"{who} endorsed {whom} as a new member, {event.integer('endorsements')} so far"


def _suspended(event: Event, view: View) -> str:
    return f"{view.member(event.raw('id'))} was suspended"


def _reinstated(event: Event, view: View) -> str:
    return f"{view.member(event.raw('id'))} was reinstated"


_TOLD = {
    JOINED: _joined,
    CONSENT_CHANGED: _changed,
    "Consent.Skipped": _skipped,
    RECORDED: _recorded,
    APPROVED: _approved,
    RESERVED: _reserved,
    "Provenance.FenceRaised": _started,
    "Provenance.CapStated": _capped,
    "AuditAnchor.Anchored": _anchored,
    "Membership.Endorsed": _endorsed,
    "Membership.SuspensionVoted": _voted,
    "Consent.BatchAnchored": _batch,
    "Membership.Suspended": _suspended,
    "Membership.Reinstated": _reinstated,
}
