"""Uses of a patient's data, and whether one came after the patient had withdrawn."""

from __future__ import annotations

from collections.abc import Iterable

from ledger.questions.permissions import Permission, permissions
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
from ledger.questions.sources import Sources, number_of

JOINED = "kind:Membership.Joined"
CHANGED = "kind:Consent.ConsentChanged"
LEAVES = "masked, noised sums over many patients; no record leaves the hospital"
NO_STUDY = (
    "the study documents: the ledger names studies by salted numbers only; give the folder with"
    " the network's studies and plans (`--documents`)"
)


def studies_of(sources: Sources, found: Iterable[Run]) -> dict[bytes, bytes] | None:
    """The number under which consents stand, by digest of a study's document; None if one lacks."""
    wanted = {run.study for run in found if run.study is not None}
    known = sources.studies
    if not wanted <= set(known):
        return None
    return {digest: number_of(known[digest]) for digest in wanted}


def covered(run: Run, share: Share, permission: Permission, numbers: dict[bytes, bytes]) -> bool:
    """Whether a hospital's part in a run may have used the patient of this permission."""
    return (
        run.study is not None
        and numbers[run.study] == permission.slot.study
        and permission.overlaps(share.reserved, share.ended)
    )


def _uses(sources: Sources, values: Values) -> Found | NoSource:
    changes = [
        event
        for subject in values["subjects"]
        for event in sources.history.having("subject", subject)
    ]
    if not changes:
        return Found((), "Nothing is on the ledger about these pseudonyms: no consent, no use.")
    every = runs(sources.history)
    numbers = studies_of(sources, every)
    if numbers is None:
        return NoSource(NO_STUDY)
    since, until = values["since"] or 0, values["until"]
    rows = []
    for permission in permissions(sorted(changes, key=lambda event: event.number)):
        for run in every:
            for share in run.shares:
                if sources.number(share.hospital) != permission.slot.relay:
                    continue
                ended = share.ended.time if share.ended else None
                outside = (ended is not None and ended < since) or (
                    until is not None and share.reserved.time > until
                )
                if outside or not covered(run, share, permission, numbers):
                    continue
                rows.append(_use(sources, run, share, permission))
    said = some(len(rows), "possible use") if rows else "No use was possible"
    return Found(
        tuple(sorted(rows, key=lambda row: (row.cells[0] or "", row.cells))),
        f"{said} of the data behind {some(len(values['subjects']), 'pseudonym')} in this time.",
        (
            (
                "A use is listed when a permission was in force while its hospital took part in a"
                " run: the hospital may have used fewer patients, never others."
            ),
            "Who the pseudonyms belong to is known to the patient and the hospital only.",
        ),
    )


def _use(sources: Sources, run: Run, share: Share, permission: Permission) -> Row:
    plan = sources.documents.plans.get(run.plan, {})
    events = (permission.given, permission.ended, share.reserved, share.ended)
    return Row(
        (
            utc(share.reserved.time),
            utc(share.ended.time) if share.ended else None,
            f"0x{permission.slot.subject.hex()}",
            sources.study_name(permission.slot.study),
            sources.name(share.hospital),
            next((one.name for one in sources.members if one.role == "coordinator"), None),
            "measuring a model" if run.measures else "training a model",
            str(plan["purpose"]) if "purpose" in plan else None,
            LEAVES,
            run.id.hex(),
            run.model.raw("digest").hex() if run.model else None,
        ),
        tuple(event.number for event in events if event is not None),
    )


USES = Question(
    id="uses",
    title="When was the data of this patient used, by whom and what for?",
    why="What a patient may ask (GDPR Art. 15, HIPAA 164.528), by ledger pseudonym.",
    parameters=(
        Parameter("subjects", "Pseudonyms of the patient", "subjects", required=True),
        Parameter("since", "From", "date"),
        Parameter("until", "To", "date"),
    ),
    columns=(
        Column("from", "From", "UTC"),
        Column("until", "Until", "UTC"),
        Column("subject", "Pseudonym"),
        Column("study", "Study", release=MEMBERS),
        Column("hospital", "Hospital"),
        Column("recipient", "Recipient"),
        Column("activity", "What for"),
        Column("purpose", "Purpose", release=MEMBERS),
        Column("what", "What left the hospital"),
        Column("run", "Run"),
        Column("model", "Model"),
    ),
    topics=lambda values: (JOINED, *RUNS, *(f"subject:{s.hex()}" for s in values["subjects"])),
    run=_uses,
)
