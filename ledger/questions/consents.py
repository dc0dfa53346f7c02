"""Consents themselves: how they stood on a day, how many staff attested, what was refused."""

from __future__ import annotations

from collections import Counter

from ledger.consents import ATTESTED, BY_STAFF, REASONS
from ledger.questions.permissions import permissions, slot_of
from ledger.questions.question import (
    MEMBERS,
    Column,
    Found,
    NoSource,
    Parameter,
    Question,
    Row,
    Values,
    some,
    utc,
)
from ledger.questions.sources import Sources
from ledger.questions.uses import CHANGED, JOINED

_STUDY = Parameter("study", "Study", "study")


def _topics(values: Values) -> tuple[str, ...]:
    study = values["study"]
    changes = CHANGED if study is None else f"study:{study.hex()}"
    return (JOINED, "kind:Provenance.Recorded", changes)


def _changes(sources: Sources, values: Values):  # type: ignore[no-untyped-def]  # noqa: ANN202
    if values["study"] is None:
        return sources.history.events(kind="Consent.ConsentChanged")
    return sources.history.having("study", values["study"], kind="Consent.ConsentChanged")


def _at(sources: Sources, values: Values) -> Found | NoSource:
    day = values["date"]
    if day > sources.history.time:
        return NoSource(
            f"the ledger after {utc(sources.history.time)}: this copy does not reach {utc(day)}"
        )
    counts: dict[tuple[bytes, int], Counter[str]] = {}
    evidence: dict[tuple[bytes, int], list[int]] = {}
    for one in permissions(e for e in _changes(sources, values) if e.time <= day):
        key = (one.slot.study, one.slot.relay)
        replaced = one.ended is not None and slot_of(one.ended).purposes
        state = (
            "in force" if one.in_force(day)
            else "replaced" if replaced
            else "withdrawn" if one.ended and one.ended.time < one.slot.expiry
            else "expired"
        )  # fmt: skip
        counts.setdefault(key, Counter())[state] += 1
        evidence.setdefault(key, []).append(one.given.number)
    rows = [
        Row(
            (
                sources.study_name(study),
                sources.name(relay),
                *(found[state] for state in ("in force", "withdrawn", "expired", "replaced")),
            ),
            tuple(evidence[study, relay]),
        )
        for (study, relay), found in sorted(counts.items())
    ]
    standing = sum(found["in force"] for found in counts.values())
    return Found(tuple(rows), f"{some(standing, 'consent')} in force at {utc(day)}.")


AT = Question(
    id="consents-at",
    title="How did consents stand at this date?",
    why="Counts by study and hospital, as of any moment of the past.",
    parameters=(Parameter("date", "Day or moment", "date", required=True), _STUDY),
    columns=(
        Column("study", "Study", release=MEMBERS),
        Column("hospital", "Hospital"),
        Column("in_force", "In force", "consents"),
        Column("withdrawn", "Withdrawn", "consents"),
        Column("expired", "Expired", "consents"),
        Column("replaced", "Replaced by a newer one", "consents"),
    ),
    topics=_topics,
    run=_at,
)


def _attested(sources: Sources, values: Values) -> Found:
    grants: Counter[int] = Counter()
    signed: Counter[int] = Counter()
    attested: dict[int, list[int]] = {}
    for event in _changes(sources, values):
        slot = slot_of(event)
        attested.setdefault(slot.relay, [])
        if slot.flags & ATTESTED or slot.purposes & BY_STAFF:
            attested[slot.relay].append(event.number)
        elif slot.purposes:
            grants[slot.relay] += 1
        else:
            signed[slot.relay] += 1
    rows = []
    for relay, numbers in sorted(attested.items()):
        every = grants[relay] + signed[relay] + len(numbers)
        cells = (
            sources.name(relay) if relay else "nobody: withdrawn before a grant came",
            grants[relay],
            signed[relay],
            len(numbers),
            round(100 * len(numbers) / every, 2),
        )
        rows.append(Row(cells, tuple(numbers)))
    total = sum(map(len, attested.values()))
    return Found(
        tuple(rows),
        f"{some(total, 'change')} attested by a hospital's staff instead of signed by the patient.",
        (
            (
                "A grant counts as attested where it says itself that staff wrote it down from"
                " paper; every other grant carries the patient's signature."
            ),
            (
                "No person is named on the ledger: the share of each member of staff stands in the"
                " hospital's own audit log (`attested-by-staff`)."
            ),
        ),
    )


ATTESTED_SHARE = Question(
    id="staff-attested",
    title="What share of consents did staff attest instead of the patient signing?",
    why="A high share at one hospital calls for a visit.",
    parameters=(_STUDY,),
    columns=(
        Column("hospital", "Hospital"),
        Column("grants", "Grants signed", "changes"),
        Column("withdrawals", "Withdrawals signed", "changes"),
        Column("attested", "Withdrawals attested", "changes"),
        Column("share", "Share attested", "%"),
    ),
    topics=_topics,
    run=_attested,
)


_WHY = {
    "WrongNetwork": "signed for another network",
    "NoSubject": "no subject",
    "NoPurpose": "no purpose",
    "WrongNonce": "replaced by a later answer of the same patient",
    "TooLate": "brought after its deadline",
    "ExpiryNotMidnight": "does not end at a midnight",
    "Expired": "had ended",
    "BadSignature": "the signature is not the subject's",
}


def _refused(sources: Sources, values: Values) -> Found:
    del values
    rows = []
    for event in sources.history.events(kind="Consent.Skipped"):
        reason = event.integer("reason")
        name = REASONS[reason] if reason < len(REASONS) else str(reason)
        cells = (utc(event.time), event.raw("digest").hex(), name, _WHY.get(name))
        rows.append(Row(cells, (event.number,)))
    return Found(
        tuple(rows),
        f"{some(len(rows), 'grant')} left out by the ledger, each by a rule of its contract.",
        (
            (
                "Decisions inside a hospital (who is in a cohort, by which rule) are not on the"
                " ledger: they stand in its own audit log."
            ),
        ),
    )


REFUSED = Question(
    id="refused-grants",
    title="Which grants were refused, and by which rule?",
    why="Every decision against a grant with the rule that made it.",
    parameters=(),
    columns=(
        Column("at", "Refused", "UTC"),
        Column("digest", "Grant (digest)"),
        Column("rule", "Rule"),
        Column("words", "In words"),
    ),
    topics=lambda _: (JOINED, "kind:Consent.Skipped"),
    run=_refused,
)
