"""An answer that proves itself: all entries of some topics, in one file that anyone can verify.

The archive has the form of an evidence pack (``ledger.verify`` reads both): ``answer.json``,
``leaves.txt`` with one entry per line, ``bodies.txt`` with salt and body of each or ``-`` where the
body was erased or is withheld, ``checkpoint.txt``, and whatever records the answer is shown by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ledger import verify
from ledger.log.store import Log
from twinward import canonical
from twinward.errors import UsageError

SCHEMA = "twinward/answer/v1"
Body = Callable[[int], tuple[bytes, bytes] | None]
"""Salt and body of an entry by its number; None where the body was erased or is withheld."""


def build(
    log: Log,
    *,
    checkpoint: verify.Note,
    topics: Sequence[str] | None,
    body: Body,
    question: Mapping[str, Any],
    shown: Mapping[str, bytes] | None = None,
) -> bytes:
    """The archive of an answer: every entry of these topics, proved to be all that there are.

    Args:
        log: Where the entries stand.
        checkpoint: A signed state of the log that was sealed and is still kept.
        topics: What is asked about; None for the whole log.
        body: Bodies to open.
        question: What was asked, in any words; it is shown, not verified.
        shown: More records, such as ``founding.json`` and the table made of the entries.

    Raises:
        UsageError: TW3602, the log no longer keeps what this checkpoint needs; TW3608, a record's
            name cannot stand in an archive.
    """
    state = verify.Checkpoint.parse(checkpoint.text)
    if topics is None:
        rows, proofs = list(range(state.size)), None
    else:
        rows = sorted({s for topic in topics for s in log.entries_of(topic, size=state.size)})
        proofs = [_topic(log, topic, size=state.size) for topic in topics]
    answer = {
        "nodes": [node.hex() for node in log.rows_proof(rows, size=state.size)],
        "question": dict(question),
        "rows": rows if topics is not None else len(rows),
        "schema": SCHEMA,
        "topics": proofs,
    }
    leaves = log.leaves(0, state.size) if topics is None else [log.leaf(row) for row in rows]
    records = {
        **(shown or {}),
        "answer.json": canonical.encode(answer),
        "leaves.txt": b"".join(leaf + b"\n" for leaf in leaves),
        "bodies.txt": b"".join(map(_opened, map(body, rows))),
        "checkpoint.txt": checkpoint.encode(),
    }
    if not all(map(verify.is_record_name, records)):
        raise UsageError(
            "a record of an answer has a name that an archive cannot hold",
            code="TW3608",
            help="use names of a-z 0-9 . _ - /",
        )
    return verify.write_archive(records)


def _topic(log: Log, topic: str, *, size: int) -> dict[str, Any]:
    proof = log.topic(topic, size=size)
    return {
        "bucket": [[key.hex(), count, leaf.hex()] for key, count, leaf in proof.bucket],
        "siblings": [sibling.hex() for sibling in proof.siblings],
        "topic": topic,
    }


def _opened(body: tuple[bytes, bytes] | None) -> bytes:
    if body is None:
        return b"-\n"
    salt, content = body
    return salt.hex().encode() + b" " + content + b"\n"
