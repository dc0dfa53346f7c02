"""What is kept of a withdrawal after its receipt: models that had the patient, and the last word.

Named by the withdrawal's digest and by runs; no record number stands in it. Revisions are added,
never changed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from consent.store import Store
from twinward.signing import Document

KIND: Final = "twinward/withdrawal-completion/v1"
_VERSION = 1
_TABLES = """
create table used (digest blob primary key, body text not null) strict, without rowid;
create table completions (
  digest blob not null, revision integer not null, body blob not null,
  primary key (digest, revision)
) strict, without rowid;
"""


@dataclass(frozen=True, slots=True)
class Used:
    """A release that a patient's data was set aside for.

    Attributes:
        run: Under which name it was charged, in hex.
        study: Short name of its study; None if the accounts have forgotten it.
        trains: Whether a model came out of it; otherwise it measured one.
        epsilon: The most that it can say about the patient, as it was charged.
        delta: At which delta.
        shard: Which shard of its study it trained, if that trains in shards.
    """

    run: str
    study: str | None
    trains: bool
    epsilon: float
    delta: float
    shard: int | None = None


class Completions:
    """One hospital's."""

    def __init__(self, path: Path) -> None:
        """Open or create the file (mode 0600).

        Raises:
            IdentityError: TW3020.
            ConsentError: TW3021, TW3022.
        """
        self.store = Store.open(path, tables=_TABLES, version=_VERSION)

    def used(self, digest: bytes) -> tuple[Used, ...] | None:
        """Which releases contain the patient of this withdrawal; None if that was not noted yet."""
        row = self.store.row("select body from used where digest = ?", (digest,))
        return None if row is None else tuple(Used(**each) for each in json.loads(row[0]))

    def note_used(self, digest: bytes, used: Sequence[Used]) -> None:
        """Note it, once: after the withdrawal it does not become more."""
        body = json.dumps([asdict(one) for one in used])
        with self.store.transaction() as database:
            database.execute("insert or ignore into used values (?, ?)", (digest, body))

    def newest(self, digest: bytes) -> Document | None:
        """The last word on a withdrawal, if there is one."""
        row = self.store.row(
            "select body from completions where digest = ? order by revision desc limit 1",
            (digest,),
        )
        return None if row is None else Document.decode(row[0], kind=KIND)

    def all_newest(self) -> list[Document]:
        """The last word on every withdrawal."""
        rows = self.store.rows(
            "select body from completions c where revision ="
            " (select max(revision) from completions d where d.digest = c.digest)"
        )
        return [Document.decode(body, kind=KIND) for (body,) in rows]

    def completed(self) -> set[bytes]:
        """Digests of all withdrawals with a last word."""
        return {digest for (digest,) in self.store.rows("select digest from completions")}

    def keep(self, document: Document) -> None:
        """Keep a last word; the first of its revision stays."""
        digest = bytes.fromhex(str(document.payload["withdrawal"]))
        values = (digest, int(document.payload["revision"]), document.encode())
        with self.store.transaction() as database:
            database.execute("insert or ignore into completions values (?, ?, ?)", values)
