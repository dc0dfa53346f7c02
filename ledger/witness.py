"""A witness: signs blocks that its own node executed, at most one at each height, for ever.

Signatures of many witnesses stand on one document, since it names nothing but chain, height and
hash. What a witness signed is on its disk before anyone sees the signature, so that no crash and
no second process ever makes it sign two blocks at one height.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.rpc import Rpc
from ledger.tip import TipStatement
from twinward.errors import LedgerError, UsageError
from twinward.ids import is_hex32
from twinward.signing import Document, Identity, PublicIdentity

KIND = "twinward/block/v1"

_MOST_AT_ONCE = 64
"""Blocks signed in one go; a witness that was away signs the last ones, which cover the rest."""

_TIPS_KEPT = 10_000
_TABLES = """
create table votes (number integer primary key, hash blob not null);
create table tips (
  number integer not null, hash blob not null, document blob not null,
  primary key (number, hash)) without rowid
"""


@dataclass(frozen=True, slots=True)
class BlockStatement:
    """The content of a block document: this block stands at this height of this chain."""

    genesis: bytes
    number: int
    hash: bytes

    def document(self) -> Document:
        """What witnesses sign; the same bytes for all of them."""
        payload = {
            "genesis": self.genesis.hex(),
            "hash": self.hash.hex(),
            "number": self.number,
        }
        return Document(KIND, payload)

    @classmethod
    def read(cls, document: Document) -> BlockStatement:
        """Parse the payload; signatures are the caller's to check.

        Raises:
            UsageError: TW3555, not a statement about a block.
        """
        payload = document.payload
        good = (
            document.kind == KIND
            and set(payload) == {"genesis", "hash", "number"}
            and is_hex32(payload["genesis"])
            and is_hex32(payload["hash"])
            and type(payload["number"]) is int
            and payload["number"] >= 0
        )
        if not good:
            raise UsageError(
                "this is not a witness's statement about a block",
                code="TW3555",
                help="fetch it again; if it stays, the sender runs another version",
            )
        return cls(
            bytes.fromhex(payload["genesis"]), payload["number"], bytes.fromhex(payload["hash"])
        )


class Votes:
    """What this witness ever signed, and the coordinator's tips it saw, in one SQLite file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = full")
            if self._db.execute("pragma user_version").fetchone() == (0,):
                self._db.executescript(f"begin; {_TABLES}; pragma user_version = 1; commit;")
            self._db.execute("select count(*) from votes").fetchone()
        except sqlite3.DatabaseError as error:
            raise LedgerError(
                f"the record of what this witness signed cannot be read ({error})",
                code="TW3556",
                at=str(path),
                help="restore it; without it a witness must not sign, since it could contradict"
                " itself: take a new identity instead",
            ) from error

    def cast(self, votes: Sequence[tuple[int, bytes]]) -> None:
        """Note durably that these blocks are about to be signed; repeating a vote is fine.

        Raises:
            LedgerError: TW3557, another block was signed at one of the heights; none is noted.
        """
        with self._lock:
            self._db.execute("begin immediate")
            try:
                for vote in votes:
                    self._cast(*vote)
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise

    def _cast(self, number: int, block_hash: bytes) -> None:
        self._require(number, block_hash)
        self._db.execute("insert or ignore into votes values (?, ?)", (number, block_hash))

    def _require(self, number: int, block_hash: bytes) -> None:
        row = self._db.execute("select hash from votes where number = ?", (number,)).fetchone()
        if row is not None and row[0] != block_hash:
            raise LedgerError(
                f"this witness signed another block {number} before",
                code="TW3557",
                at=str(self._path),
                help="the ledger's history split: nothing is signed; compare with another hospital"
                " by `twinward ledger fork`",
            )

    def require(self, number: int, block_hash: bytes) -> None:
        """Require that nothing else was signed here at this height.

        Raises:
            LedgerError: TW3557.
        """
        with self._lock:
            self._require(number, block_hash)

    def last(self) -> tuple[int, bytes] | None:
        """The highest block that was ever signed."""
        with self._lock:
            found: tuple[int, bytes] | None = self._db.execute(
                "select number, hash from votes order by number desc limit 1"
            ).fetchone()
        return found

    def keep_tip(self, statement: TipStatement, tip: Document) -> None:
        """Keep one signed tip of each block: the coordinator's own word, should it split."""
        with self._lock:
            self._db.execute(
                "insert or ignore into tips values (?, ?, ?)",
                (statement.number, statement.hash, tip.encode()),
            )
            self._db.execute("delete from tips where number < ?", (statement.number - _TIPS_KEPT,))

    def tips(self, *, most: int) -> list[bytes]:
        """The newest signed tips, oldest first."""
        with self._lock:
            rows = self._db.execute(
                "select document from tips order by number desc limit ?", (most,)
            ).fetchall()
        return [row[0] for row in reversed(rows)]

    def close(self) -> None:
        """Release the file."""
        self._db.close()


class Witness:
    """Signs what its own node shows, which is what that node executed."""

    def __init__(
        self,
        votes: Votes,
        *,
        identity: Identity,
        genesis: bytes,
        coordinator: PublicIdentity,
    ) -> None:
        self._votes = votes
        self._identity = identity
        self._genesis = genesis
        self._coordinator = coordinator

    def attest(self, own: Rpc, tip: Document) -> list[Document]:
        """Sign the blocks up to the coordinator's tip that the own node has executed by now.

        Returns:
            Block documents, oldest first; always with the newest one, signed before or not.

        Raises:
            LedgerUnreachable: TW5001, the own node does not answer.
            IdentityError: TW2002, TW2004, the tip is not the coordinator's.
            LedgerError: TW3550 to TW3554, what is wrong with the ledger according to the own node;
                TW3557 as in `Votes.cast`; TW3558, the coordinator's tip is of another history.
        """
        tip.verify(self._coordinator)
        statement = TipStatement.read(tip)
        if statement.genesis != self._genesis:
            raise self._split("its tip is about another ledger")
        self._votes.keep_tip(statement, tip)
        require_sound(own)
        height = int(own.call("eth_blockNumber"), 16)
        last = self._votes.last()
        if last is not None:
            if height < last[0]:
                return []  # the own node was made anew and catches up
            if _hash(own, last[0]) != last[1]:
                raise self._split(f"its block {last[0]} is not the one that was signed here")
        newest = min(height, statement.number)
        if newest == statement.number and _hash(own, newest) != statement.hash:
            raise self._split(f"its tip {newest} is not the block that it gave out to execute")
        if last is not None and newest <= last[0]:
            return [self._signed(*last)]
        first = max(1 if last is None else last[0] + 1, newest - _MOST_AT_ONCE + 1)
        votes = [(number, _hash(own, number)) for number in range(first, newest + 1)]
        self._votes.cast(votes)
        return [self._signed(*vote) for vote in votes]

    def _signed(self, number: int, block_hash: bytes) -> Document:
        return (
            BlockStatement(self._genesis, number, block_hash).document().signed_by(self._identity)
        )

    @staticmethod
    def _split(why: str) -> LedgerError:
        return LedgerError(
            f"the coordinator contradicts itself: {why}",
            code="TW3558",
            help="its signed tips are kept: run `twinward ledger fork` with another hospital's"
            " statements and tell the network; nobody is used meanwhile",
        )


def require_sound(own: Rpc) -> None:
    """Require that an own, following node has nothing against the ledger that it follows.

    Raises:
        LedgerUnreachable: TW5001, it does not answer, or the node that it follows does not.
        LedgerError: What it found, with its code.
    """
    following: dict[str, Any] | None = own.call("twinward_following")
    trouble = None if following is None else following.get("trouble")
    if trouble is not None and trouble["code"] != "TW5001":
        raise LedgerError(
            str(trouble["message"]),
            code=str(trouble["code"]),
            at=trouble.get("at"),
            help=str(trouble["help"]),
        )


def _hash(rpc: Rpc, number: int) -> bytes:
    block = rpc.call("eth_getBlockByNumber", hex(number), False)
    return bytes.fromhex(str(block["hash"])[2:])
