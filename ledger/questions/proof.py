"""Proving an answer, and asking it again from the proof alone.

The archive holds every event of the question's topics with the proof that there are no others
(``ledger.log.answer``, checked by ``ledger.verify`` with the standard library alone), the table,
and the documents that it was read with. `recheck` makes the table anew from those events: a row
that was hidden, added or altered is seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ledger import verify
from ledger.events import Event, Value, form
from ledger.history import History
from ledger.log import answer as archives
from ledger.log.network import body_of
from ledger.log.store import Log
from ledger.questions import logbook
from ledger.questions.answer import Answer
from ledger.questions.documents import Documents
from ledger.questions.library import ask, find, topics_of
from ledger.questions.logged_proof import FOUNDING, TABLE, again, verified
from ledger.questions.sources import Sources
from twinward import canonical
from twinward.errors import EvidenceError, LedgerError, UsageError
from twinward.founding import Founding

DOCUMENTS = "documents/"
_SHARED_BYTES = 2**20
"""Larger documents are not repeated in a proof; whoever checks it has them, by their digests."""


def prove(
    name: str, given: Mapping[str, str], *, sources: Sources, log: Log, checkpoint: verify.Note
) -> tuple[Answer, bytes]:
    """An answer as of a checkpoint, and the archive that proves it complete.

    Args:
        name: The question.
        given: Its parameters as text.
        sources: Of the whole history, or of what is in its ``scope``: then the proof shows that
            and no more. The founding file must be among them.
        log: The network's log over the whole history.
        checkpoint: A signed and sealed state of it.

    Raises:
        UsageError: TW3710, TW3711, TW3602; TW3720, there is nothing to prove.
        LedgerError: TW3623, the proof would show what is out of scope.
    """
    state = verify.Checkpoint.parse(checkpoint.text)
    question = find(name)
    topics = topics_of(question, question.read(given, sources), sources=sources)
    if not topics or sources.founding is None:
        raise _nothing("nothing on the ledger answers it yet" if not topics else "no founding file")
    _require_documents(sources)
    rows = {seq for topic in topics for seq in log.entries_of(topic, size=state.size)}
    events = [e for e in sources.history.events(until=state.size) if e.number - 1 in rows]
    if len(events) != len(rows):
        raise LedgerError(
            "a proof of this answer would show events that are out of scope",
            code="TW3623",
            help="nothing was given out; report the question and its parameters",
        )
    block, time = _moment(sources.history, state)
    found = ask(
        name,
        given,
        sources=Sources(
            History.of(events, genesis=sources.history.genesis, block=block, time=time),
            founding=sources.founding,
            documents=sources.documents,
            scope=sources.scope,
        ),
    )
    if found.missing:
        raise _nothing(found.missing)
    bodies = {event.number - 1: (event.transaction, body_of(event)) for event in events}
    shown = {
        TABLE: canonical.encode(found.as_json()),
        FOUNDING: sources.founding.document.encode(),
        **{
            f"{DOCUMENTS}{digest.hex()}.json": data
            for digest, data in sources.documents.files.items()
            if len(data) <= _SHARED_BYTES
        },
    }
    data = archives.build(
        log,
        checkpoint=checkpoint,
        topics=topics,
        body=bodies.get,
        question={
            "id": name,
            "parameters": dict(found.given),
            **({} if sources.scope is None else {"scope": list(sources.scope)}),
        },
        shown=shown,
    )
    return found, data


def _require_documents(sources: Sources) -> None:
    """Without a study's document nobody can know which topics are of that study."""
    here = {sources.studies[digest]["name"] for digest in sources.studies_in_scope}
    if lacking := sorted(set(sources.scope or ()) - here):
        raise _nothing(f"the study `{lacking[0]}` is not on the ledger, or its document not here")


def _moment(history: History, state: verify.Checkpoint) -> tuple[int, int]:
    """The block that a checkpoint speaks of, and its time as this copy knows it."""
    last = history.block if state.block is None else state.block[0]
    row = history.db.execute(
        "select time from blocks where block <= ? order by block desc limit 1", (last,)
    ).fetchone()
    return last, 0 if row is None else int(row[0])


def recheck(
    data: bytes, *, founding: bytes | None = None, documents: Documents | None = None
) -> Answer:
    """The answer of an archive, once it has been verified and asked again with the same outcome.

    Args:
        data: The archive.
        founding: The reader's own copy of the founding file.
        documents: More documents than the archive holds, such as evidence packs.

    Raises:
        EvidenceError: TW3721, the proof does not hold; TW3722, the table is not what the proven
            events say.
    """
    records = verified(data, founding=founding)
    if logbook.is_of_audit_log(records):
        found, whole = again(records)
        _require_same(found, records, whole=whole)
        return found
    table, about = canonical.decode(records[TABLE]), canonical.decode(records[verify.ANSWER])
    name, given = str(about["question"]["id"]), dict(about["question"]["parameters"])
    sources = Sources(
        _history(records, table),
        founding=Founding.decode(records[FOUNDING]),
        documents=_documents(records, documents),
        scope=_scope(about["question"]),
    )
    _require_documents(sources)
    question = find(name)
    wanted = set(topics_of(question, question.read(given, sources), sources=sources))
    proven = {proof["topic"] for proof in about["topics"] or ()}
    found = ask(name, given, sources=sources)
    _require_same(found, records, whole=wanted <= proven)
    return found


def _require_same(found: Answer, records: Mapping[str, bytes], *, whole: bool) -> None:
    if not whole or canonical.encode(found.as_json()) != records.get(TABLE):
        raise EvidenceError(
            "the table is not what the proven events say",
            code="TW3722",
            at=TABLE,
            note=None if whole else "topics are missing",
            help="do not rely on the table; if it was made with evidence packs, give them with"
            " `--documents` and check again",
        )


def _scope(question: Mapping[str, Any]) -> tuple[str, ...] | None:
    return tuple(map(str, question["scope"])) if "scope" in question else None


def _documents(records: Mapping[str, bytes], more: Documents | None) -> Documents:
    own = Documents.of((name, data) for name, data in records.items() if name.startswith(DOCUMENTS))
    if more is None:
        return own
    return Documents(
        {**more.studies, **own.studies}, {**more.plans, **own.plans}, more.packs, own.files
    )


def _history(records: Mapping[str, bytes], table: Mapping[str, Any]) -> History:
    note = verify.Note.parse(records["checkpoint.txt"])
    stated = verify.Checkpoint.parse(note.text)
    events = list(_events(records["bodies.txt"]))
    block = int(table["block"]) if stated.block is None else stated.block[0]
    time = max([_seconds(table["time"]), *(event.time for event in events)])
    genesis = bytes.fromhex(stated.origin.rpartition("/")[2])
    return History.of(events, genesis=genesis, block=block, time=time)


def _seconds(text: str | None) -> int:
    from datetime import datetime  # noqa: PLC0415 - the one place that reads a time back

    return 0 if text is None else int(datetime.fromisoformat(text).timestamp())


def _events(bodies: bytes) -> Iterable[Event]:
    for line in bodies.splitlines():
        value = canonical.decode(line.partition(b" ")[2])
        found = form(f"{value['contract']}.{value['name']}")
        if found is None:
            raise EvidenceError(
                f"an event of this answer, `{value['name']}`, is not known here",
                code="TW3722",
                help="use the version of Twinward that the network uses",
            )
        yield Event(
            number=value["number"],
            block=value["block"],
            position=value["position"],
            time=value["time"],
            transaction=bytes.fromhex(value["transaction"]),
            contract=value["contract"],
            name=value["name"],
            values={name: _value(value["values"][name]) for name in found.names},
        )


def _value(spelled: Any) -> Value:
    if isinstance(spelled, list):
        return tuple(bytes.fromhex(item[2:]) for item in spelled)
    return bytes.fromhex(spelled[2:]) if spelled.startswith("0x") else int(spelled)


def _nothing(why: str) -> UsageError:
    return UsageError(
        f"this answer cannot be proved: {why}",
        code="TW3720",
        help="ask without `--proof`; an answer without a source has nothing to prove",
    )
