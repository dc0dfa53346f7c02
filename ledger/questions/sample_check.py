"""What a sample of a run's patients shows, at the auditor's: the table of whom to ask for what.

Judged by the hospital's own log, whose proof is checked first, and by the auditor's own copy of the
ledger. Nothing that the hospital only says is believed without one of the two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger import verify
from ledger.events import Event
from ledger.history import History
from ledger.questions import logbook, logged_proof
from ledger.questions.logbook import Logged
from ledger.questions.permissions import permissions
from ledger.questions.sample import (
    CONSENT,
    RECORD,
    SCHEMA,
    USE,
    admitting,
    chosen,
    named,
    of_topic,
    patient,
)
from twinward import canonical
from twinward.clock import iso
from twinward.console import table
from twinward.errors import EvidenceError, UsageError
from twinward.founding import Founding
from twinward.ids import is_hex32

_ADDRESS = re.compile(r"[0-9a-f]{40}")
_LETTER, _BY_STAFF = "letter-written", "grant-attested"

NO_LETTER = "no letter to this patient was entered before the answer"
NO_DECISION = "the log has no decision that let this patient into the run"
NOT_OPENED = "the hospital does not say under which pseudonym the patient answered"
NOT_ON_LEDGER = "no such answer was in force on the ledger when the hospital joined the run"
OTHERS = "the entries name different patients"


@dataclass(frozen=True, slots=True)
class Drawn:
    """One patient of the sample.

    Attributes:
        record: The hospital's own number; None if the patient was erased since.
        letters: Numbers of the letters to this patient about this study, as printed on them.
        grade: How the answer was signed, by the hospital's word; empty where it says nothing.
        subject: The pseudonym on the ledger.
        since: When the answer came to the ledger, Unix seconds; None if it did not.
        findings: What is wrong; empty if the telephone call is all that is left.
    """

    record: str | None
    letters: tuple[str, ...]
    grade: str
    subject: str
    since: int | None
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """A checked sample: of how many patients, as of how long a log."""

    org: str
    run: str
    patients: int
    drawn: tuple[Drawn, ...]
    on_ledger: bool

    @property
    def findings(self) -> int:
        """How many of the drawn have something wrong."""
        return sum(bool(one.findings) for one in self.drawn)


def check(data: bytes, *, founding: Founding, seed: str, history: History) -> Sample:
    """What a sample shows, judged by the log's own entries and by the auditor's copy of the ledger.

    Args:
        data: What `build` made.
        founding: The auditor's own.
        seed: As the auditor told it.
        history: The auditor's copy of the ledger.

    Raises:
        EvidenceError: TW3721, the proof does not hold; TW3751, it is no sample, or not of this
            seed, or a patient that the seed draws was left out.
    """
    records = logged_proof.verified(data, founding=founding.document.encode())
    said = _said(records)
    run, count = str(said["run"]), int(said["count"])
    state = verify.Checkpoint.parse(verify.Note.parse(records["checkpoint.txt"]).text)
    proven = {proof["topic"] for proof in canonical.decode(records[verify.ANSWER])["topics"] or ()}
    book = logbook.of_archive(records)
    used = {patient(one.topics) for one in book.of((f"run:{run}",)) if one.kind == USE}
    drawn = chosen(used, seed=seed, root=state.root, count=count)
    if said["seed"] != seed or not proven >= {f"run:{run}", *drawn}:
        raise _no_sample("it is of another seed, or leaves out patients that this seed draws")
    reserved = _joined(history, founding, org=book.org, run=run)
    return Sample(
        org=book.org,
        run=run,
        patients=len(used),
        drawn=tuple(
            _judged(of_topic(book, one), run, said["answers"].get(one), history, reserved)
            for one in drawn
        ),
        on_ledger=verify.ANCHOR in records,
    )


def as_json(found: Sample) -> dict[str, Any]:
    """For programs; it holds record numbers."""
    return {
        "hospital": found.org,
        "run": found.run,
        "patients_of_the_run": found.patients,
        "head_on_ledger": found.on_ledger,
        "with_findings": found.findings,
        "drawn": [
            {
                "record": one.record,
                "letters": list(one.letters),
                "grade": one.grade,
                "subject": one.subject,
                "on_ledger_since": None if one.since is None else iso(one.since),
                "findings": list(one.findings),
            }
            for one in found.drawn
        ],
    }


def as_text(found: Sample) -> str:
    """For auditors: whom to ask for which letter."""
    rows = [
        (
            one.record or "erased since",
            ", ".join(one.letters) or "-",
            one.grade,
            "-" if one.since is None else iso(one.since),
            "; ".join(one.findings) or ("-" if one.record is None else "ask the patient"),
        )
        for one in found.drawn
    ]
    head = "under a head on the ledger" if found.on_ledger else "not tied to the ledger"
    return (
        f"{len(found.drawn)} of {found.patients} patients of {found.org} in run {found.run[:16]},"
        f" {head}\n\n"
        + table(("RECORD", "LETTERS", "SIGNED", "ON THE LEDGER SINCE", "FINDING"), rows)
        + "\n\nAsk each patient, by a way that is not the hospital's: do you have a letter of this"
        "\nnumber, and did you say yes? An answer taken down by staff has a form on paper instead."
    )


def _judged(
    entries: Sequence[Logged],
    run: str,
    said: Mapping[str, Any] | None,
    history: History,
    reserved: Event | None,
) -> Drawn:
    use = next(one for one in entries if one.kind == USE and one.about("run") == run)
    if use.body is None:  # the right to erasure is older than this sample
        return Drawn(None, (), "", "", None, ())
    decision = admitting(entries, run=run)
    if decision is None:
        return Drawn(_record(use), (), "", "", None, (NO_DECISION,))
    study = decision.about("study")
    letters = [
        one
        for one in entries
        if one.kind == _LETTER and one.about("study") == study and one.seq < decision.seq
    ]
    by_staff = any(
        one.kind == _BY_STAFF and one.about("study") == study and one.seq < decision.seq
        for one in entries
    )
    findings = []
    if not letters and not by_staff:
        findings.append(NO_LETTER)
    if len({_record(one) for one in (use, decision, *letters)}) != 1:
        findings.append(OTHERS)
    if said is None:
        findings.append(NOT_OPENED)
    digest = bytes.fromhex(named(decision, CONSENT) or "")
    subject = bytes.fromhex(said["subject"]) if said else b""
    since = _in_force(history, bytes.fromhex(study), subject, digest, reserved)
    if since is None:
        findings.append(NOT_ON_LEDGER)
    return Drawn(
        record=_record(use),
        letters=tuple(one.about("letter") for one in letters),
        grade=str(said["grade"]) if said else "",
        subject=f"0x{subject.hex()}",
        since=since,
        findings=tuple(findings),
    )


def _joined(history: History, founding: Founding, *, org: str, run: str) -> Event | None:
    """The hospital's reservation for this run."""
    account = bytes.fromhex(
        next(one for one in founding.members if one.org == org).ledger_account.removeprefix("0x")
    )
    found = history.having("run", bytes.fromhex(run), kind="Provenance.Reserved")
    return next((one for one in found if one.raw("hospital") == account), None)


def _in_force(
    history: History, study: bytes, subject: bytes, digest: bytes, reserved: Event | None
) -> int | None:
    """Since when this answer stood on the ledger when the hospital joined; None if it did not."""
    if reserved is None or not subject:
        return None
    changes = history.having("subject", subject, kind="Consent.ConsentChanged")
    for one in permissions(changes):
        same = one.slot.study == study and one.slot.digest == digest
        if same and one.given.number < reserved.number and one.overlaps(reserved, None):
            return one.given.time
    return None


def _record(entry: Logged) -> str | None:
    """The hospital's own number of the patient that an opened entry is about."""
    return (
        None if entry.body is None else str(entry.body["entity"][0]["what"]["identifier"]["value"])
    )


def _said(records: Mapping[str, bytes]) -> Mapping[str, Any]:
    try:
        said = dict(canonical.decode(records[RECORD]))
    except (KeyError, ValueError, TypeError, UsageError) as error:
        raise _no_sample("it holds no `sample.json`") from error
    if said.get("schema") != SCHEMA or set(said) != {"schema", "run", "seed", "count", "answers"}:
        raise _no_sample("its `sample.json` is of another version")
    answers = said["answers"]
    if not (
        type(said["run"]) is type(said["seed"]) is str
        and is_hex32(said["run"])
        and type(said["count"]) is int
        and isinstance(answers, dict)
        and all(map(_is_answer, answers.values()))
    ):
        raise _no_sample("its `sample.json` is malformed")
    return said


def _is_answer(value: Any) -> bool:
    """Whether this can be what a hospital says of an answer; it may lie, but in this form."""
    return (
        isinstance(value, dict)
        and set(value) == {"subject", "grade"}
        and all(type(one) is str for one in value.values())
        and _ADDRESS.fullmatch(value["subject"]) is not None
    )


def _no_sample(why: str) -> EvidenceError:
    return EvidenceError(
        f"this is not the sample that was asked for: {why}",
        code="TW3751",
        help="tell the hospital the seed again and have it make the file anew; keep this one",
    )
