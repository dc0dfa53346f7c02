"""Asking an audit log: at the organisation, from a copy that it exported, or again from a proof.

Whichever it is, the answer is made of verified entries alone, so that all three agree.
"""

from __future__ import annotations

from collections.abc import Mapping

from ledger import verify
from ledger.audit.log import AuditLog
from ledger.history import History
from ledger.questions import logbook
from ledger.questions.answer import Answer
from ledger.questions.library import ask, find
from ledger.questions.logbook import Logbook
from ledger.questions.sources import Sources
from twinward import canonical
from twinward.errors import EvidenceError, UsageError
from twinward.founding import Founding

TABLE, FOUNDING = "table.json", "founding.json"


def prove(
    name: str,
    given: Mapping[str, str],
    *,
    log: AuditLog,
    founding: Founding,
    patients: bool = True,
    anchored: bool = False,
) -> tuple[Answer, bytes]:
    """An answer, and the archive that proves it complete.

    Args:
        name: The question.
        given: Its parameters as text.
        log: The organisation's own audit log.
        founding: Of the network.
        patients: Whether bodies about patients are opened: they hold the hospital's own numbers.
        anchored: Answer as of the newest head that is proved to stand on the ledger, if there is
            one; else as of now, in a state that is signed for this answer.

    Raises:
        UsageError: TW3710, TW3711; TW3724, it is not a question to an audit log.
    """
    question = find(name)
    if question.entries is None:
        raise _not_of_a_log(name)
    note, shown = as_of(log, founding=founding, anchored=anchored)

    def archive() -> bytes:
        return logbook.archive(
            log,
            topics=question.entries,
            patients=patients,
            question={"id": name, "parameters": dict(given)},
            shown=shown,
            checkpoint=note,
        )

    book = logbook.of_archive(verify.read_archive(archive())[0])
    found = of_book(name, given, book=book, founding=founding)
    shown[TABLE] = canonical.encode(found.as_json())
    return found, archive()


def export(log: AuditLog, *, founding: Founding, patients: bool, anchored: bool = False) -> bytes:
    """A copy of the whole log for an auditor, as of when `prove` says; it proves itself."""
    note, shown = as_of(log, founding=founding, anchored=anchored)
    return logbook.archive(
        log,
        topics=None,
        patients=patients,
        question={"id": "export", "parameters": {}},
        shown=shown,
        checkpoint=note,
    )


def as_of(
    log: AuditLog, *, founding: Founding, anchored: bool
) -> tuple[verify.Note, dict[str, bytes]]:
    """The signed state to answer as of, and the records that go with it."""
    shown = {FOUNDING: founding.document.encode()}
    found = log.anchored() if anchored else None
    if found is None:
        return log.checkpoint(), shown
    head, record = found
    return head.note, {**shown, verify.ANCHOR: record}


def of_book(name: str, given: Mapping[str, str], *, book: Logbook, founding: Founding) -> Answer:
    """The answer of a question to these entries.

    Raises:
        UsageError: TW3710, TW3711; TW3724, it is not a question to an audit log.
    """
    if find(name).entries is None:
        raise _not_of_a_log(name)
    genesis = bytes.fromhex(str(founding.chain["genesis_hash"]))
    time = max((one.time for one in book.entries), default=0)
    history = History.of((), genesis=genesis, block=0, time=time)
    return ask(name, given, sources=Sources(history, founding=founding, logbook=book))


def of_copy(name: str, given: Mapping[str, str], *, data: bytes, founding: Founding) -> Answer:
    """The answer of an exported copy, once it has been verified.

    Raises:
        EvidenceError: TW3721, the copy does not hold. UsageError: TW3723, it is no whole log.
    """
    records = verified(data, founding=founding.document.encode())
    if not (logbook.is_of_audit_log(records) and logbook.is_whole(records)):
        raise UsageError(
            "this file is not a copy of a whole audit log",
            code="TW3723",
            help="let the organisation make one with `twinward audit export`",
        )
    return of_book(name, given, book=logbook.of_archive(records), founding=founding)


def again(records: Mapping[str, bytes]) -> tuple[Answer, bool]:
    """The question of a verified archive asked again; whether all its topics are there."""
    about = canonical.decode(records[verify.ANSWER])
    name, given = str(about["question"]["id"]), dict(about["question"]["parameters"])
    proven = {proof["topic"] for proof in about["topics"] or ()}
    book, founding = logbook.of_archive(records), Founding.decode(records[FOUNDING])
    answer = of_book(name, given, book=book, founding=founding)
    return answer, proven >= set(find(name).entries or ())


def verified(data: bytes, *, founding: bytes | None = None) -> dict[str, bytes]:
    """The records of an archive whose proof holds.

    Raises:
        EvidenceError: TW3721, it does not.
    """
    report = verify.verify_bytes(data, founding=founding)
    if not report.ok:
        fault = report.faults[0]
        raise EvidenceError(
            f"the proof of this answer does not hold: {fault.message}",
            code="TW3721",
            at=fault.record,
            note=fault.code,
            help="do not rely on the answer; ask for it again, and keep this file",
        )
    return verify.read_archive(data)[0]


def _not_of_a_log(name: str) -> UsageError:
    return UsageError(
        f"`{name}` is asked of the ledger, not of an audit log",
        code="TW3724",
        help="ask it without `--log`",
    )
