"""A sample of a run's patients, opened for an auditor: is there a person behind each yes?

That a pseudonym is a patient who answered is the hospital's word: it could enrol keys of its own.
So whoever audits draws some patients of a run, by a seed that nobody knew before, and the hospital
opens what its log committed itself to for these: the letter, entered before it was handed out; the
decision, which names the answer; the use. The answer itself stands on the ledger. The rest is a
telephone call: does this patient have the letter of this number, and did they say yes?

It is sampling and no proof. Which patients a hospital really used cannot be proved from outside:
only those that its log names can be drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger import verify
from ledger.audit.bodies import PATIENT
from ledger.audit.log import AuditLog
from ledger.log import answer as archives
from ledger.log.entry import read
from ledger.questions import logbook, logged_proof
from ledger.questions.logbook import Logbook, Logged
from twinward import canonical
from twinward.errors import UsageError
from twinward.founding import Founding

RECORD = "sample.json"
SCHEMA = "twinward/sample/v1"
USE, _DECISION = "disclosure", "consent-decision"
CONSENT, _STUDY = "urn:twinward:consent:", "urn:twinward:study:"


@dataclass(frozen=True, slots=True)
class Answered:
    """What the hospital's vault says of an answer: the pseudonym and how it was signed."""

    subject: bytes
    grade: str


def chosen(topics: Iterable[str], *, seed: str, root: bytes, count: int) -> list[str]:
    """The patients that a seed draws from a run, in the order of a hash that nobody could choose.

    ``root`` is that of the log, so that a seed draws others once the log has grown.
    """
    about = canonical.tagged_hash("sample/v1", root + seed.encode())
    keyed = sorted(
        (canonical.tagged_hash("sampled/v1", about + topic.encode()), topic)
        for topic in set(topics)
    )
    return [topic for _, topic in keyed[:count]]


def build(
    log: AuditLog,
    *,
    founding: Founding,
    run: str,
    seed: str,
    count: int,
    answered: Callable[[bytes], Answered | None],
    anchored: bool = True,
) -> bytes:
    """The archive that opens a sample: all entries of the run, and all about the drawn patients.

    Args:
        log: The hospital's own.
        founding: Of the network.
        run: In hex.
        seed: Of the auditor, told only now.
        count: How many patients.
        answered: What the vault says of the answer with this digest.
        anchored: As of the newest head that is proved to stand on the ledger, if there is one.

    Raises:
        UsageError: TW3750, this hospital's log names no patient of this run.
    """
    note, shown = logged_proof.as_of(log, founding=founding, anchored=anchored)
    state = verify.Checkpoint.parse(note.text)
    rows = log.log.entries_of(f"run:{run}", size=state.size)
    of_run = [read(log.log.leaf(row)) for row in rows]
    used = {patient(_topics(one)) for one in of_run if one["kind"] == USE}
    drawn = set(chosen(used, seed=seed, root=state.root, count=count))
    if not drawn:
        raise _nobody(run, state.size)

    def body(seq: int) -> tuple[bytes, bytes] | None:
        topics = _topics(read(log.log.leaf(seq)))
        return log.body(seq) if drawn.intersection(topics) else None

    def archive() -> bytes:
        return archives.build(
            log.log,
            checkpoint=note,
            topics=(f"run:{run}", *sorted(drawn)),
            body=body,
            question={"id": "sample", "parameters": {"run": run}},
            shown=shown,
        )

    book = logbook.of_archive(verify.read_archive(archive())[0])
    said = {}
    for topic in sorted(drawn):
        decision = admitting(of_topic(book, topic), run=run)
        name = None if decision is None else named(decision, CONSENT)
        found = None if name is None else answered(bytes.fromhex(name))
        if found is not None:
            said[topic] = {"subject": found.subject.hex(), "grade": found.grade}
    shown[RECORD] = canonical.encode(
        {"schema": SCHEMA, "run": run, "seed": seed, "count": count, "answers": said}
    )
    return archive()


def admitting(entries: Sequence[Logged], *, run: str) -> Logged | None:
    """The decision that stood when the patient's data went into the run, if it was a yes."""
    use = next(one for one in entries if one.kind == USE and one.about("run") == run)
    study = "" if use.body is None else str(use.body["entity"][1]["name"])
    before = [
        one
        for one in entries
        if one.kind == _DECISION and one.seq < use.seq and named(one, _STUDY) == study
    ]
    return before[-1] if before and before[-1].about("decision") == "permit" else None


def of_topic(book: Logbook, topic: str) -> list[Logged]:
    """The entries of a topic, in order."""
    return list(book.of((topic,)))


def named(entry: Logged, prefix: str) -> str | None:
    """What an opened body names under this prefix: a consent, a study."""
    if entry.body is None:
        return None
    places = [
        *(one["who"] for one in entry.body["agent"]),
        *(one["what"] for one in entry.body["entity"]),
    ]
    names = (str(one["identifier"]["value"]) for one in places if "identifier" in one)
    return next((name.removeprefix(prefix) for name in names if name.startswith(prefix)), None)


def _topics(leaf: Mapping[str, Any]) -> list[str]:
    return [str(link["topic"]) for link in leaf["topics"]]


def patient(topics: Iterable[str]) -> str:
    """The topic that stands for the one patient whom an entry is about."""
    return next(topic for topic in topics if topic.startswith(f"{PATIENT}:"))


def _nobody(run: str, size: int) -> UsageError:
    return UsageError(
        "this hospital's audit log names no patient of this run",
        code="TW3750",
        note=f"run {run[:16]}, {size} entries",
        help="give the run as the model card names it, of a run that this hospital was in; `--now`"
        " also looks at entries that no head on the ledger covers yet",
    )
