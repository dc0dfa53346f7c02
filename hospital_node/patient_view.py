"""What this node tells a patient about their own data: the log's lines, and their account.

Nothing is written down by looking. A check proves the lines complete as an auditor would have it
proved, here; the proof itself stays, because it names how long the log is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from consent.uses import Checked, Line, Spent, Uses
from hospital_node import accounts
from ledger.audit.log import AuditLog
from ledger.log.entry import commit, read
from ledger.questions import logbook
from ledger.questions.logged_proof import FOUNDING, verified
from ledger.verify import ANCHOR, Note
from twinward.errors import ConsentError
from twinward.founding import Founding
from twinward.ids import RecordNumber

if TYPE_CHECKING:
    from hospital_node.node import Node


def uses(node: Node, record: RecordNumber, *, check: bool) -> Uses:
    """All lines about a patient, newest first, and what was spent of their account.

    Raises:
        EvidenceError: TW3721, a check was asked for and the proof does not hold.
    """
    log = node.audit.log
    topic = log.bodies.topic(record)
    found = [line for _, line in lines(log, record, since=0, size=log.log.size)]
    checked = None
    if check:
        checked = Checked(0, None) if topic is None else _checked(log, topic, node.founding)
    return Uses(found[::-1], _spent(node, record), checked)


def lines(
    log: AuditLog, record: RecordNumber, *, since: int, size: int
) -> Iterator[tuple[int, Line]]:
    """The lines about a patient with their places, oldest first: from place ``since`` to ``size``.

    Raises:
        LedgerError: TW3611, a body was changed.
    """
    topic = log.bodies.topic(record)
    for seq in () if topic is None else log.log.entries_of(topic, size=size):
        opened = log.body(seq) if seq >= since else None
        if opened is None:
            continue
        salt, body = opened
        entry = read(log.log.leaf(seq))
        yield (
            seq,
            Line(
                at=int(entry["time"]),
                kind=str(entry["kind"]),
                topics=tuple(link["topic"] for link in entry["topics"] if link["topic"] != topic),
                commitment=commit(body, salt=salt),
                salt=salt,
                body=json.loads(body),
            ),
        )


def _checked(log: AuditLog, topic: str, founding: Founding) -> Checked:
    lines = _proved(log, topic, log.checkpoint(), founding=founding, anchor=None)
    anchored = log.anchored()
    if anchored is None:
        return Checked(lines, None)
    head, record = anchored
    return Checked(lines, _proved(log, topic, head.note, founding=founding, anchor=record))


def _proved(
    log: AuditLog, topic: str, note: Note, *, founding: Founding, anchor: bytes | None
) -> int:
    """How many lines of the topic are proved to be all under a signed state."""
    document = founding.document.encode()
    archive = logbook.archive(
        log,
        topics=(topic,),
        patients=True,
        question={"id": "own-uses", "parameters": {}},
        shown={FOUNDING: document} | ({} if anchor is None else {ANCHOR: anchor}),
        checkpoint=note,
    )
    return len(verified(archive, founding=document)["leaves.txt"].splitlines())


def _spent(node: Node, record: RecordNumber) -> Spent | None:
    try:
        found = accounts.standing_of(node, record)
    except ConsentError:  # the record is no longer in the table
        return None
    return Spent(found["epsilon_spent"], found["epsilon_limit"], found["delta"])
