"""The end of a node's database: do the last blocks follow on each other, without a whole check."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import rlp
from eth_hash.auto import keccak

from twinward.errors import LedgerError

_PARENT, _NUMBER, _TIME = 0, 8, 11  # of a header, as the Yellow Paper orders its fields


@dataclass(frozen=True, slots=True)
class Tail:
    """The last blocks of a database that were looked at.

    Attributes:
        number: Of the newest one.
        time: Of the newest one, Unix seconds.
        looked_at: How many.
    """

    number: int
    time: int
    looked_at: int


def look(path: Path, *, genesis: bytes, most: int = 256) -> Tail:
    """Hash the last blocks of ``chain.sqlite`` again; reads only, the node may run.

    Args:
        path: The database.
        genesis: Hash of the first block, as the founding file names it.
        most: How many blocks to look at.

    Raises:
        LedgerError: TW5021 of another network; TW7655 a block is not the one that comes there, or
            the file cannot be read.
    """
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            rows = database.execute(
                "select number, hash, header from blocks order by number desc limit ?", [most]
            ).fetchall()
            first = database.execute("select hash from blocks where number = 0").fetchone()
    except sqlite3.Error as error:
        raise _unsound(path, f"SQLite cannot read it: {error}") from error
    if not rows or first is None:
        raise _unsound(path, "there is no block")
    if bytes(first[0]) != genesis:
        raise LedgerError(
            "the ledger in this folder does not begin with the genesis of the founding file",
            code="TW5021",
            at=str(path),
            help="bring back the ledger of this network; a hospital that follows it has a copy",
        )
    below: bytes | None = None
    for place, (number, name, raw) in enumerate(rows):
        try:
            header = rlp.decode(raw)
            sound = (
                keccak(raw) == name
                and number == rows[0][0] - place == int.from_bytes(header[_NUMBER])
                and below in (None, name)
            )
            below = header[_PARENT]
        except (rlp.exceptions.RLPException, IndexError, TypeError):
            sound = False
        if not sound:
            raise _unsound(path, f"block {number}")
    newest = rlp.decode(rows[0][2])
    return Tail(int(rows[0][0]), int.from_bytes(newest[_TIME]), len(rows))


def _unsound(path: Path, why: str) -> LedgerError:
    return LedgerError(
        "the last blocks of the ledger do not follow on each other, or cannot be read",
        code="TW7655",
        at=str(path),
        note=why,
        help="stop the coordinator, keep the file, and run `twinward ledger check` on it; a "
        "hospital that follows the ledger has a copy to restore from",
    )
