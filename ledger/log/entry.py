"""What an entry of a log is: canonical JSON that says when, of which topics, and commits to a body.

    {"commitment": hex, "kind": ..., "seq": n, "time": seconds,
     "topics": [{"n": 3, "prev": hex, "topic": "run:9f.."}], "v": 1}

``n`` numbers the entries of a topic from 1; ``prev`` is the leaf hash of the one before, empty at
the first. The body stands elsewhere and may be erased; the entry stays and says nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twinward.errors import UsageError

TOPIC = re.compile(r"[a-z][a-z0-9-]*:[A-Za-z0-9._-]{1,128}")
"""``family:name``. The name is never personal: a digest, a number, a word, or a keyed hash."""
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry that has no place in a log yet.

    Attributes:
        kind: What happened, one word: ``consent-changed``, ``run-opened``.
        topics: What it is about; each at most once.
        time: When, in whole Unix seconds.
        commitment: ``commit`` of the body, 32 bytes.
    """

    kind: str
    topics: tuple[str, ...]
    time: int
    commitment: bytes

    def __post_init__(self) -> None:
        good = (
            _KIND.fullmatch(self.kind)
            and all(map(TOPIC.fullmatch, self.topics))
            and len(set(self.topics)) == len(self.topics) > 0
            and 0 <= self.time < 2**53
            and len(self.commitment) == 32
        )
        if not good:
            raise UsageError(
                "this cannot be an entry of a log",
                code="TW3600",
                note=f"kind `{self.kind[:70]}`",
                help="give a kind of small letters, distinct topics `family:name`, a time and 32"
                " bytes of commitment",
            )


def commit(body: bytes, *, salt: bytes) -> bytes:
    """What stands in the entry for a body: SHA-256 over salt and body.

    Where the body is about a person the salt is 32 secret random bytes, so that nobody can guess
    the body from the entry once both are erased.
    """
    return hashlib.sha256(salt + body).digest()


def encode(draft: Draft, *, seq: int, links: Sequence[tuple[int, bytes]]) -> bytes:
    """The bytes of an entry at its place.

    Args:
        draft: What it says.
        seq: Its number in the log, from 0.
        links: For each topic the entry's number in it and the leaf hash of the one before.
    """
    value = {
        "commitment": draft.commitment.hex(),
        "kind": draft.kind,
        "seq": seq,
        "time": draft.time,
        "topics": [
            {"n": n, "prev": prev.hex(), "topic": topic}
            for topic, (n, prev) in zip(draft.topics, links, strict=True)
        ],
        "v": 1,
    }
    # Keys ascending, ASCII and whole numbers only: this is RFC 8785, ten times as fast.
    return json.dumps(value, separators=(",", ":")).encode()


def read(leaf: bytes) -> Mapping[str, Any]:
    """The content of an entry that this log wrote."""
    value: Mapping[str, Any] = json.loads(leaf)
    return value
