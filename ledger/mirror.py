"""A node's own copy of the consents on the ledger, which proves to itself that it missed none.

Every event is folded into the same running hash that the contract keeps. Events come from a
ledger node that need not be trusted: `check` compares the copy's hash with the contract's storage,
proven against a block hash that someone else signed. A dropped, added or altered event is seen.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ledger import proofs
from ledger.consents import CHANGED, HEAD_SLOT, Slot, fold
from ledger.rpc import TOO_MANY, Rpc, RpcError
from ledger.tip import TipStatement
from twinward.errors import ConsentError, LedgerError
from twinward.signing import Document, PublicIdentity

FUTURE_SECONDS = 60.0
"""How far a signer's clock may be ahead of ours."""

_BLOCKS_A_PAGE = 4_096
_SCHEMA = 1
_TABLES = """
create table events (
  sequence integer primary key, block integer not null, study blob not null,
  subject blob not null, slot blob not null, digest blob not null, head blob not null);
create index events_by_block on events (block);
create table slots (
  study blob not null, subject blob not null, sequence integer not null,
  primary key (study, subject)) without rowid;
create table cursor (
  one integer primary key check (one = 1), genesis blob not null, contract blob not null,
  block integer not null, hash blob not null);
"""


class Mirror:
    """The copy in one SQLite file. Thread-safe."""

    def __init__(self, path: Path, *, rpc: Rpc, genesis: bytes, contract: bytes) -> None:
        """Open or create the copy of one contract on one chain.

        Raises:
            LedgerError: TW5043, the file is of another chain or contract, or is damaged.
        """
        self._path = path
        self._rpc = rpc
        self._contract = contract
        self._genesis = genesis
        self._following = threading.RLock()  # held while the ledger is asked, by one at a time
        self._lock = threading.RLock()  # held while the file is used: no reader waits for a ledger
        self._confirmed = 0
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = normal")  # it can always be fetched again
            with self._transaction():
                self._create()
            row = self._db.execute("select genesis, contract from cursor").fetchone()
        except sqlite3.DatabaseError as error:
            raise _unusable(path, f"it is damaged ({error})") from error
        if row != (genesis, contract):
            raise _unusable(path, "it is of another chain or contract")

    def _create(self) -> None:
        (version,) = self._db.execute("pragma user_version").fetchone()
        if version == 0:
            for statement in _TABLES.split(";\n"):
                self._db.execute(statement)
            self._db.execute(
                "insert into cursor values (1, ?, ?, 0, ?)",
                (self._genesis, self._contract, self._genesis),
            )
            self._db.execute(f"pragma user_version = {_SCHEMA}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._refusing():
            self._db.execute("begin immediate")
            try:
                yield
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """One caller at a time; trouble with the file becomes a refusal by name."""
        try:
            with self._lock:
                yield
        except sqlite3.Error as error:
            raise _unusable(self._path, f"it is damaged ({error})") from error

    # Reading

    @property
    def block(self) -> int:
        """Number of the last block that is in the copy."""
        return int(self._row("select block from cursor")[0])

    @property
    def head(self) -> bytes:
        """Running hash over every change in the copy; zero before the first."""
        return self.head_at(self.block)

    def head_at(self, block: int) -> bytes:
        """The running hash after this block."""
        with self._refusing():
            row = self._db.execute(
                "select head from events where block <= ? order by sequence desc limit 1", (block,)
            ).fetchone()
        return bytes(32) if row is None else bytes(row[0])

    def slot(self, study: bytes, subject: bytes) -> Slot | None:
        """What stands about this subject, or None if nothing ever did."""
        found = self._slots("slots.study = ? and slots.subject = ?", (study, subject))
        return found[0] if found else None

    def changes(self, after_block: int) -> list[Slot]:
        """The current slots of every subject that changed after this block, oldest first."""
        return self._slots("events.block > ?", (after_block,))

    def _slots(self, where: str, parameters: Sequence[Any]) -> list[Slot]:
        with self._refusing():
            rows = self._db.execute(
                "select events.study, events.subject, slot, digest, block, sequence"  # noqa: S608 - our own clauses
                f" from events join slots using (sequence) where {where} order by sequence",
                parameters,
            ).fetchall()
        return [
            Slot.unpack(
                row[2], study=row[0], subject=row[1], digest=row[3], block=row[4], sequence=row[5]
            )
            for row in rows
        ]

    def _row(self, query: str) -> tuple[Any, ...]:
        with self._refusing():
            row: tuple[Any, ...] = self._db.execute(query).fetchone()
        return row

    # Following

    def sync(self, to: int | None = None, *, proven: bytes | None = None) -> int:
        """Fetch what is new; returns the number of the last block in the copy.

        `check` does this by itself, up to the block that was confirmed and no further. Each page
        of blocks is one transaction: a process that dies resumes after the last page. With
        ``proven``, the running hash that block ``to`` has, the last page is kept only if it leads
        there: what the ledger made up is never read.

        Raises:
            LedgerUnreachable: TW5001.
            ConsentError: TW3102, the last page does not lead to ``proven``.
            LedgerError: TW5044 the ledger's history changed under the copy, TW5045 an event is
                malformed or one is missing.
        """
        with self._following:
            tip = self._rpc.call("eth_getBlockByNumber", "latest", False)
            self._require_same_history()
            newest = int(tip["number"], 16)
            end, page = newest if to is None else min(to, newest), _BLOCKS_A_PAGE
            while self.block < end:
                last = min(self.block + page, end)
                try:
                    logs = self._logs(self.block + 1, last)
                except RpcError as error:
                    if error.rpc_code != TOO_MANY or page == 1:
                        raise
                    page = max(1, page // 8)
                    continue
                block_hash = bytes.fromhex(self._hash_of(last)[2:])
                self._store(logs, last, block_hash, proven=proven if last == to else None)
            return self.block

    def rebuild(self) -> int:
        """Forget everything and fetch it again, after a ledger node that lied was replaced."""
        with self._following:
            with self._transaction():
                self._db.execute("delete from events")
                self._db.execute("delete from slots")
                self._db.execute("update cursor set block = 0, hash = ?", (self._genesis,))
            return self.sync()

    def _require_same_history(self) -> None:
        number, known = self._row("select block, hash from cursor")
        if self._hash_of(number) != f"0x{known.hex()}":
            raise LedgerError(
                f"the ledger shows another block {number} than it did before",
                code="TW5044",
                at=self._rpc.url,
                help="the ledger was rewritten or this is another ledger: stop, keep both copies,"
                " and tell the network",
            )

    def _hash_of(self, number: int) -> str:
        block = self._rpc.call("eth_getBlockByNumber", hex(number), False)
        return "" if block is None else str(block["hash"])

    def _logs(self, first: int, last: int) -> list[dict[str, Any]]:
        wanted = {
            "address": f"0x{self._contract.hex()}",
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "topics": [f"0x{CHANGED.hex()}"],
        }
        found: list[dict[str, Any]] = self._rpc.call("eth_getLogs", wanted)
        return found

    def _store(
        self, logs: list[dict[str, Any]], last: int, block_hash: bytes, *, proven: bytes | None
    ) -> None:
        with self._transaction():
            head = self.head
            row = self._db.execute("select max(sequence) from events").fetchone()
            expected, earliest = (row[0] or 0) + 1, self.block + 1
            events, slots = [], []
            for log in logs:
                sequence, block, study, subject, slot, digest = _read_event(log)
                if sequence != expected or not earliest <= block <= last:
                    raise _bad_event(f"change {expected} is missing or out of order")
                earliest = block
                head = fold(head, study=study, subject=subject, packed=slot, digest=digest)
                events.append((sequence, block, study, subject, slot, digest, head))
                slots.append((study, subject, sequence))
                expected += 1
            if proven is not None and head != proven:
                raise _mismatch("what the ledger node tells is not what the ledger holds")
            self._db.executemany("insert into events values (?, ?, ?, ?, ?, ?, ?)", events)
            self._db.executemany("insert or replace into slots values (?, ?, ?)", slots)
            self._db.execute("update cursor set block = ?, hash = ?", (last, block_hash))

    # Trusting

    def check(
        self, tip: Document, *, signer: PublicIdentity, now: float, max_age_seconds: float
    ) -> TipStatement:
        """Require that the copy is fresh and complete: the condition for any use of it.

        Args:
            tip: Signed statement of which block was newest and when.
            signer: Whose word on freshness counts.
            now: Unix seconds.
            max_age_seconds: The site's limit.

        Raises:
            ConsentError: TW3101 too old, TW3102 not what the ledger holds.
            IdentityError: TW2002, TW2004, not signed by the signer.
            LedgerError: TW5001, TW5041, TW5044, TW5045.
        """
        tip.verify(signer)
        statement = TipStatement.read(tip)
        age = now - statement.time
        if not -FUTURE_SECONDS <= age <= max_age_seconds:
            raise ConsentError(
                f"the consents on record were last confirmed {age:.0f} s ago,"
                f" the limit is {max_age_seconds:.0f} s",
                code="TW3101",
                help="check the connection to the coordinator and the clocks; nobody is used"
                " until a fresh confirmation arrives",
            )
        if statement.genesis != self._genesis:
            raise _mismatch("the confirmation is about another ledger")
        with self._following:
            proven = self._proven_head(statement)
            if self.sync(to=statement.number, proven=proven) < statement.number:
                raise _mismatch(f"the ledger node does not have block {statement.number} yet")
            if self.head_at(statement.number) != proven:
                raise _mismatch("the copy of the consents is not what the ledger holds")
            self._confirmed = max(self._confirmed, statement.number)
            if self.block > self._confirmed and self.head != self.head_at(self._confirmed):
                raise _mismatch("the copy holds changes that nobody has confirmed yet")
        return statement

    def _proven_head(self, statement: TipStatement) -> bytes:
        block = self._rpc.call("eth_getBlockByHash", f"0x{statement.hash.hex()}", False)
        if block is None:
            raise _mismatch("the ledger node does not know the confirmed block")
        header = proofs.header_rlp(block)
        if proofs.open_header(header, expected_hash=statement.hash).number != statement.number:
            raise _mismatch("the confirmed block has another number")
        proof = self._rpc.call(
            "eth_getProof",
            f"0x{self._contract.hex()}",
            [f"0x{HEAD_SLOT:064x}"],
            hex(statement.number),
        )
        value = proofs.storage_value(
            header,
            expected_hash=statement.hash,
            proof=proof,
            address=self._contract,
            slot=HEAD_SLOT,
        )
        return value.to_bytes(32, "big")

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()


def _read_event(log: dict[str, Any]) -> tuple[int, int, bytes, bytes, bytes, bytes]:
    try:
        changed, study, subject, digest = (bytes.fromhex(t[2:]) for t in log["topics"])
        data = bytes.fromhex(log["data"][2:])
        block = int(log["blockNumber"], 16)
    except (KeyError, TypeError, ValueError) as error:
        raise _bad_event("an event is malformed") from error
    if changed != CHANGED or len(data) != 64 or {len(study), len(subject), len(digest)} != {32}:
        raise _bad_event("an event is malformed")
    return int.from_bytes(data[:32], "big"), block, study, subject[12:], data[32:], digest


def _bad_event(message: str) -> LedgerError:
    return LedgerError(
        f"the ledger node's list of consents is wrong: {message}",
        code="TW5045",
        help="do not use this ledger node; connect to another and run the same command",
    )


def _mismatch(message: str) -> ConsentError:
    return ConsentError(
        message,
        code="TW3102",
        help="nobody's data is used; connect to another ledger node and rebuild the copy",
    )


def _unusable(path: Path, why: str) -> LedgerError:
    return LedgerError(
        f"the copy of the consents cannot be used: {why}",
        code="TW5043",
        at=str(path),
        help="delete the file; it is fetched again from the ledger",
    )
