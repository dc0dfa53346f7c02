"""A node's own copy of the consents on the ledger, which proves to itself that it missed none.

Every event is folded into the same running hash that the contract keeps. Events come from a
ledger node that need not be trusted: `check` compares the copy's hash with the contract's storage,
proven against a block hash that someone else signed. A dropped, added or altered event is seen.
What was confirmed that way never changes again; what was not may, and the copy then goes back.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger import proofs
from ledger.consents import CHANGED, HEAD_SLOT, fold
from ledger.mirror_reader import MirrorReader, unusable
from ledger.paging import changed_meanwhile, event_pages, still_shown
from ledger.rpc import Rpc
from ledger.tip import TipStatement
from twinward.errors import ConsentError, LedgerError
from twinward.signing import Document, PublicIdentity

FUTURE_SECONDS = 60.0
"""How far a signer's clock may be ahead of ours."""

_SCHEMA = 2
_TABLES = """
create table events (
  sequence integer primary key, block integer not null, study blob not null,
  subject blob not null, slot blob not null, digest blob not null, head blob not null);
create index events_by_block on events (block);
create table slots (
  study blob not null, subject blob not null, sequence integer not null,
  primary key (study, subject)) without rowid;
create table pages (block integer primary key, hash blob not null);
create table cursor (
  one integer primary key check (one = 1), genesis blob not null, contract blob not null,
  block integer not null, confirmed integer not null);
"""


@dataclass(frozen=True, slots=True)
class _Page:
    """What came of one range of blocks, and the hash of the last one."""

    last: int
    hash: bytes
    logs: list[dict[str, Any]]


class Mirror(MirrorReader):
    """The copy in one SQLite file, followed by one process. Thread-safe."""

    def __init__(self, path: Path, *, rpc: Rpc, genesis: bytes, contract: bytes) -> None:
        """Open or create the copy of one contract on one chain.

        Raises:
            LedgerError: TW5043, the file is of another chain or contract, or is damaged.
        """
        super().__init__(path)
        self._rpc = rpc
        self._contract = contract
        self._genesis = genesis
        self._following = threading.RLock()  # held while the ledger is asked, by one at a time
        self._lock = threading.RLock()  # held while the file is written
        with self._refusing():
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = normal")  # it can always be fetched again
            with self._transaction():
                self._create()
            row = self._db.execute("select genesis, contract from cursor").fetchone()
        if row != (genesis, contract):
            raise unusable(path, "it is of another chain or contract")

    def _create(self) -> None:
        (version,) = self._db.execute("pragma user_version").fetchone()
        if version == _SCHEMA:
            return
        for table in ("events", "slots", "pages", "cursor"):  # of an older version: fetch it again
            self._db.execute(f"drop table if exists {table}")
        for statement in _TABLES.split(";\n"):
            self._db.execute(statement)
        self._db.execute(
            "insert into cursor values (1, ?, ?, 0, 0)", (self._genesis, self._contract)
        )
        self._db.execute("insert into pages values (0, ?)", (self._genesis,))
        self._db.execute(f"pragma user_version = {_SCHEMA}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._refusing(), self._lock:
            self._db.execute("begin immediate")
            try:
                yield
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")

    # Following

    def sync(self, to: int | None = None, *, proven: bytes | None = None) -> int:
        """Fetch what is new; returns the number of the last block in the copy.

        `check` does this by itself, up to the block that was confirmed and no further. Each page
        of blocks is one transaction: a process that dies resumes after the last page. With
        ``proven``, the running hash that block ``to`` has, the last page is kept only if it leads
        there: what the ledger made up is never read.

        Raises:
            LedgerUnreachable: TW5001, or TW3703 the ledger changed while it was read.
            ConsentError: TW3102, the last page does not lead to ``proven``.
            LedgerError: TW5044 what was confirmed is history no more, TW5045 an event is
                malformed or one is missing.
        """
        with self._following:
            tip = self._rpc.call("eth_getBlockByNumber", "latest", False)
            self._rewind_to_common()
            newest = int(tip["number"], 16)
            end = newest if to is None else min(to, newest)
            # The next page is on its way while this one is decoded and written.
            if self.block < end:
                with closing(_ahead(self._pages(self.block + 1, end))) as pages:
                    for page in pages:
                        self._store(page, proven=proven if page.last == to else None)
            return self.block

    def rebuild(self) -> int:
        """Forget everything and fetch it again, after a ledger node that lied was replaced."""
        with self._following:
            with self._transaction():
                for table in ("events", "slots", "pages"):
                    self._db.execute(f"delete from {table}")  # noqa: S608 - our own three names
                self._db.execute("insert into pages values (0, ?)", (self._genesis,))
                self._db.execute("update cursor set block = 0, confirmed = 0")
            return self.sync()

    def _pages(self, first: int, end: int) -> Iterator[_Page]:
        """The events of these blocks, each page with the hash of its last block."""
        wanted = {"address": f"0x{self._contract.hex()}", "topics": [f"0x{CHANGED.hex()}"]}
        for last, logs in event_pages(self._rpc, wanted, first=first, end=end):
            digest = self._hash_of(last)
            if digest is None:
                raise changed_meanwhile(self._rpc.url)
            yield _Page(last, digest, logs)

    def _rewind_to_common(self) -> None:
        """Go back to the newest block that copy and ledger share, as far as nothing confirmed it.

        Raises:
            LedgerError: TW5044.
        """
        (confirmed,) = self._row("select confirmed from cursor")
        known = self._reading.execute(
            "select block, hash from pages where block >= ? order by block desc", (confirmed,)
        ).fetchall()
        common, denied = still_shown(known, self._hash_of)
        if common is not None:
            if denied:
                self._rewind(common)
            return
        raise LedgerError(
            f"the ledger shows another block {confirmed} than it did before",
            code="TW5044",
            at=self._rpc.url,
            help="the ledger was rewritten or this is another ledger: stop, keep both copies,"
            " and tell the network",
        )

    def _rewind(self, block: int) -> None:
        with self._transaction():
            self._db.execute(
                "delete from slots where sequence in (select sequence from events where block > ?)",
                (block,),
            )
            self._db.execute("delete from events where block > ?", (block,))
            self._db.execute("delete from pages where block > ?", (block,))
            self._db.execute(
                "insert or ignore into slots"
                " select study, subject, max(sequence) from events group by study, subject"
            )
            self._db.execute("update cursor set block = ?", (block,))

    def _hash_of(self, number: int) -> bytes | None:
        block = self._rpc.call("eth_getBlockByNumber", hex(number), False)
        return None if block is None else bytes.fromhex(str(block["hash"])[2:])

    def _store(self, page: _Page, *, proven: bytes | None) -> None:
        with self._transaction():
            head, expected, earliest = self.head, self.count + 1, self.block + 1
            events, slots = [], []
            for log in page.logs:
                sequence, block, study, subject, slot, digest = _read_event(log)
                if sequence != expected or not earliest <= block <= page.last:
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
            self._db.execute("insert into pages values (?, ?)", (page.last, page.hash))
            self._db.execute("update cursor set block = ?", (page.last,))

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
            confirmed = self._confirm(statement.number)
            if self.block > confirmed and self.head != self.head_at(confirmed):
                raise _mismatch("the copy holds changes that nobody has confirmed yet")
        return statement

    def _confirm(self, number: int) -> int:
        """From now on this block never changes; returns the newest that does not."""
        with self._transaction():
            self._db.execute("update cursor set confirmed = max(confirmed, ?)", (number,))
            (confirmed,) = self._db.execute("select confirmed from cursor").fetchone()
            self._db.execute(
                "delete from pages where block < (select max(block) from pages where block <= ?)",
                (confirmed,),
            )
        return int(confirmed)

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
            super().close()
            self._db.close()


def _ahead(pages: Iterator[_Page]) -> Generator[_Page]:
    """The same pages, each fetched while the one before is worked on."""
    with ThreadPoolExecutor(1, thread_name_prefix="mirror") as worker:
        coming = worker.submit(next, pages, None)
        while (page := coming.result()) is not None:
            coming = worker.submit(next, pages, None)
            yield page


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
