"""Whether anybody was used after they had withdrawn: what each hospital signed that it had seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ledger.consents import fold
from ledger.events import Event
from ledger.questions.documents import Pack
from ledger.questions.permissions import slot_of
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
from ledger.questions.runs import TOPICS as RUNS
from ledger.questions.runs import Run, Share, runs
from ledger.questions.sources import Sources
from ledger.questions.uses import CHANGED, JOINED, NO_STUDY, studies_of


@dataclass(frozen=True, slots=True)
class _Consents:
    """All changes: which one each running hash stands for, and those that ended a permission."""

    sequence: Mapping[bytes, int]
    withdrawals: tuple[Event, ...]


def _after_withdrawal(sources: Sources, values: Values) -> Found | NoSource:
    every = runs(sources.history)
    numbers = studies_of(sources, every)
    if numbers is None:
        return NoSource(NO_STUDY)
    released = [run for run in every if run.model is not None and run.measures is None]
    if not released:
        return NoSource("a released model: no run on this ledger has come to one yet")
    packs = {pack.run: pack for pack in sources.documents.packs}
    present = [run for run in released if run.id in packs]
    if not present:
        return NoSource(
            "the evidence packs: they hold, signed by each hospital, which consents it had seen"
            " when it sent a vector (`--documents`)"
        )
    consents = _read(sources.history.events(kind="Consent.ConsentChanged"))
    rows = [
        row
        for run in present
        if run.study is not None
        for row in _late(
            sources, run, packs[run.id], consents, numbers[run.study], grace=values["grace"]
        )
    ]
    vectors = sum(len(packs[run.id].vectors) for run in present)
    earlier = {
        event.number
        for run in present
        for share in run.shares
        for event in consents.withdrawals
        if _counts(event, share, values["grace"])
    }
    absent = len(released) - len(present)
    unsaid = f"{absent} released models have no pack here: nothing is said of them."
    return Found(
        tuple(rows),
        f"{some(vectors, 'vector')} of {some(len(present), 'run')} looked at;"
        f" {some(len(earlier), 'withdrawal')} of {len(consents.withdrawals)} stood on the ledger"
        f" {values['grace']:g} s before a hospital joined; {len(rows)} times one was not taken in.",
        (
            *([unsaid] if absent else []),
            (
                "What a hospital computed cannot be proved from outside; it signed which consents"
                " it had seen. A withdrawal at its own desk bites there at once, before the ledger."
            ),
        ),
        complete=not absent,
    )


def _late(
    sources: Sources, run: Run, pack: Pack, consents: _Consents, study: bytes, *, grace: float
) -> list[Row]:
    members = {one.identity: one for one in sources.members}
    shares = {sources.number(share.hospital): share for share in run.shares}
    rows = []
    for vector in pack.vectors:
        member = members[vector.sender]
        share = shares.get(member.number)
        if share is None:
            continue  # the evaluation is another run, and the pack's verifier found it reserved
        seen = consents.sequence.get(vector.consent_head)
        missed = [
            event
            for event in consents.withdrawals
            if event.raw("study") == study
            and slot_of(event).relay == member.number
            and _counts(event, share, grace)
            and (seen is None or event.integer("sequence") > seen)
        ]
        cells = (run.id.hex(), member.name, vector.step, vector.consent_head.hex())
        if seen is None:
            rows.append(Row((*cells, None, None), (share.reserved.number,)))
        rows += [
            Row(
                (*cells, f"0x{event.raw('subject').hex()}", utc(event.time)),
                (share.reserved.number, event.number),
            )
            for event in missed
        ]
    return rows


def _counts(withdrawal: Event, share: Share, grace: float) -> bool:
    """Whether a withdrawal was on the ledger long enough before a hospital joined."""
    return withdrawal.time + grace <= share.reserved.time


def _read(changes: Iterable[Event]) -> _Consents:
    head, sequence, withdrawals = bytes(32), {bytes(32): 0}, []
    for event in changes:
        head = fold(
            head,
            study=event.raw("study"),
            subject=event.raw("subject"),
            packed=event.integer("slot").to_bytes(32, "big"),
            digest=event.raw("digest"),
        )
        sequence[head] = event.integer("sequence")
        if not slot_of(event).purposes:
            withdrawals.append(event)
    return _Consents(sequence, tuple(withdrawals))


AFTER_WITHDRAWAL = Question(
    id="uses-after-withdrawal",
    title="Was anybody used after they had withdrawn?",
    why="Must be empty: each row is a vector of a hospital that had not taken in a withdrawal.",
    parameters=(
        Parameter("grace", "How old a withdrawal on the ledger must be", "seconds", default="60"),
    ),
    columns=(
        Column("run", "Run", release=MEMBERS),
        Column("hospital", "Hospital", release=MEMBERS),
        Column("step", "Step", release=MEMBERS),
        Column("head", "Consents that it had seen (running hash)", release=MEMBERS),
        Column("subject", "Pseudonym of who had withdrawn"),
        Column("withdrawn", "Withdrawal on the ledger", "UTC"),
    ),
    topics=lambda _: (JOINED, *RUNS, CHANGED),
    run=_after_withdrawal,
    empty_is_pass=True,
    reads_packs=True,
)
