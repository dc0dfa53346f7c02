"""Re-derives every row of a node's database: what was changed, added or lost is named.

Hashes lead from the head to everything: header to header, to transactions, receipts and state.
Trie nodes are their own names; the rows that clients ask are a function of blocks and receipts. A
node may run meanwhile: the check sees one moment of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rlp
from eth.db.backends.base import BaseAtomicDB
from eth.db.chain import ChainDB
from eth.db.schema import SchemaV1
from eth.rlp.sedes import chain_gaps
from eth.vm.forks.cancun.blocks import CancunBlockHeader
from eth_hash.auto import keccak
from rlp.sedes import big_endian_int
from trie.constants import BLANK_NODE_HASH

from ledger.embedded.blocks import BlockRows, rows_of
from ledger.embedded.genesis import Genesis
from ledger.embedded.rules import chain_class
from twinward.errors import TwinwardError

_MOST_FAULTS = 100
_NO_CODE = keccak(b"")


@dataclass(frozen=True, slots=True)
class Fault:
    """One row that is not what it must be: code, table, which row, and what is wrong."""

    code: str
    table: str
    row: str
    what: str


@dataclass(frozen=True, slots=True)
class Found:
    """What a check came to.

    Attributes:
        head: Number and hash of the last block; compare it with a tip that somebody signed, since
            a whole database may have been put in the place of another. None if it cannot be told.
        rows: How many rows were re-derived.
        faults: Empty if all is well; at most a hundred.
    """

    head: tuple[int, bytes] | None
    rows: int
    faults: tuple[Fault, ...]


_VM = chain_class(1).get_vm_class_for_block_number(0)
"""How blocks and receipts are read; the same for every chain number."""


class _Enough(Exception):
    pass


class _Snapshot(BaseAtomicDB):  # type: ignore[misc] # py-evm is untyped
    """The key-value rows at one moment, for py-evm to read."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __getitem__(self, key: bytes) -> bytes:
        row = self._db.execute("select value from kv where key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return bytes(row[0])

    def _exists(self, key: bytes) -> bool:
        return self._db.execute("select 1 from kv where key = ?", (key,)).fetchone() is not None

    def __setitem__(self, key: bytes, value: bytes) -> None:
        raise TypeError("a check changes nothing")

    def __delitem__(self, key: bytes) -> None:
        raise TypeError("a check changes nothing")

    @contextmanager
    def atomic_batch(self) -> Iterator[_Snapshot]:
        """Never needed: nothing is written."""
        yield self


def check(path: Path, *, progress: Callable[[int], None] = lambda _block: None) -> Found:
    """Re-derive every row of a database; changes nothing.

    Args:
        path: ``chain.sqlite`` of a node that runs or not, or a backup.
        progress: Told the number of each block that was checked.
    """
    scan = _Scan(progress)
    try:
        with closing(reading(path)) as db:
            scan.run(db)
    except _Enough:
        pass
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # of SQLite's own message, too
        scan.faults.append(
            Fault(code="TW3580", table="", row=str(path), what=f"SQLite cannot read it: {error}")
        )
    return Found(scan.head, scan.rows, tuple(scan.faults))


def reading(path: Path) -> sqlite3.Connection:
    """A connection that sees one moment of a database, which another process may be writing."""
    db = sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None, timeout=5.0)
    db.text_factory = lambda raw: raw.decode("utf-8", "replace")  # a changed byte is no text
    db.execute("pragma query_only = 1")
    db.execute("begin")
    return db


class _Scan:
    def __init__(self, progress: Callable[[int], None]) -> None:
        self._progress = progress
        self.head: tuple[int, bytes] | None = None
        self.rows = 0
        self.faults: list[Fault] = []

    def run(self, db: sqlite3.Connection) -> None:
        said = [row[0] for row in db.execute("pragma integrity_check(10)")]
        if said != ["ok"]:
            self._fault("", "", "; ".join(map(str, said))[:300], code="TW3580")
        genesis = self._genesis(db)
        self._nodes(db)
        self._chain(db, genesis)

    def _fault(self, table: str, row: str, what: str, *, code: str) -> None:
        self.faults.append(Fault(code, table, row, what))
        if len(self.faults) >= _MOST_FAULTS:
            raise _Enough

    def _genesis(self, db: sqlite3.Connection) -> Genesis | None:
        rows = db.execute("select name, value from about").fetchall()
        self.rows += len(rows)
        try:
            ((name, value),) = rows
            genesis = Genesis.from_json(value)
            if name == "genesis" and genesis.to_json() == value:
                return genesis
        except (TwinwardError, ValueError, TypeError):
            pass
        self._fault("about", "genesis", "it is not a genesis file", code="TW3581")
        return None

    def _nodes(self, db: sqlite3.Connection) -> None:
        """Every row with a hash for a key holds what hashes to it."""
        for key, value in db.execute("select key, value from kv where length(key) = 32"):
            self.rows += 1
            if keccak(value) != key:
                self._fault("kv", _name(key), "its value does not hash to its key", code="TW3582")

    def _chain(self, db: sqlite3.Connection, genesis: Genesis | None) -> None:
        store = _Snapshot(db)
        lookups = _Lookups(self, db)
        parent: Any = None
        counts = {"transactions": 0, "logs": 0}
        query = "select number, hash, header, size from blocks order by number"
        for number, row in enumerate(db.execute(query)):
            header, rows = self._block(store, row, number, parent, genesis)
            if header is None:
                return  # whatever comes after stands on it
            for table, wanted in (("transactions", rows.transactions), ("logs", rows.logs)):
                query = f"select * from {table} where block = ? order by position"  # noqa: S608 - our own two names
                self._same(table, wanted, db.execute(query, (number,)).fetchall())
                counts[table] += len(wanted)
            lookups.block(header, rows.transactions)
            parent = header
            self.rows += 1
            self._progress(number)
        if parent is None:
            self._fault("blocks", "0", "there is no block", code="TW3583")
            return
        self.head = (int(parent.block_number), bytes(parent.hash))
        lookups.end(parent)
        for table, count in counts.items():
            (there,) = db.execute(f"select count(*) from {table}").fetchone()  # noqa: S608 - our own two names
            self.rows += count
            if there != count:
                what = f"{there} rows where the blocks give {count}"
                self._index_fault(table, "all", what)
        if not any(fault.table == "kv" for fault in self.faults):
            # Where nodes are not what their names say, a walk could lead anywhere, and in circles.
            self._state(store, parent.state_root)

    def _block(
        self,
        store: _Snapshot,
        row: tuple[Any, ...],
        number: int,
        parent: Any,
        genesis: Genesis | None,
    ) -> tuple[Any, BlockRows]:
        """Header of a block and the rows that it gives; a header of None if it is not sound."""
        nothing = None, BlockRows((), (), ())
        chaindb = ChainDB(store)
        try:
            header = rlp.decode(row[2], sedes=CancunBlockHeader)
            block = _VM.get_block_class().from_header(header, chaindb)
            receipts = chaindb.get_receipts(header, _VM.get_receipt_builder())
            wanted = rows_of(block, receipts)
        except Exception as error:  # noqa: BLE001 - a changed row can break any decoder
            what = f"block or receipts cannot be read ({type(error).__name__})"
            self._fault("blocks", str(row[0]), what, code="TW3583")
            return nothing
        expected = wanted.block if number else (*wanted.block[:3], len(row[2]))
        if row != expected or row[0] != number or (parent and header.parent_hash != parent.hash):
            what = "it is not the block that comes here"
            self._fault("blocks", str(row[0]), what, code="TW3583")
            return nothing
        for name, key in (("header", header.hash), ("state", header.state_root)):
            if key not in store and key != BLANK_NODE_HASH:
                self._fault("kv", _name(key), f"no {name} of block {number}", code="TW3582")
        if genesis is not None:
            foreign = any(t.chain_id != genesis.chain_id for t in block.transactions)
            if foreign or (number == 0 and genesis.hash() != header.hash):
                what = f"it is not the genesis of block {number}"
                self._fault("about", "genesis", what, code="TW3581")
        return header, wanted

    def _index_fault(self, table: str, row: str, what: str) -> None:
        if table == "logs":
            self._fault(table, row, what, code="TW3585")
        else:
            self._fault(table, row, what, code="TW3584")

    def _same(self, table: str, wanted: Sequence[Any], found: Sequence[Any]) -> None:
        if list(wanted) == list(found):
            return
        at = next(
            (n for n, (one, other) in enumerate(zip(wanted, found, strict=False)) if one != other),
            min(len(wanted), len(found)),
        )
        row = (found[at:] or wanted[at:])[0]
        named = f"{row[0]}/{row[1]}" if table == "logs" else _name(row[0])
        self._index_fault(table, named, "it is not what the block and its receipts give")

    def _state(self, store: _Snapshot, root: bytes) -> None:
        """Everything that the newest state consists of is there."""
        for account in self._leaves(store, root):
            _, _, storage, code = rlp.decode(account)
            if code != _NO_CODE and code not in store:
                self._fault("kv", _name(code), "a contract's code is missing", code="TW3586")
            for _ in self._leaves(store, storage):
                pass

    def _leaves(self, store: _Snapshot, root: bytes) -> Iterator[bytes]:
        """The values of a trie, node by node; a missing node is a fault."""
        waiting: list[Any] = [] if root == BLANK_NODE_HASH else [root]
        while waiting:
            node = waiting.pop()
            if isinstance(node, bytes):
                if node not in store:
                    what = "a node of the newest state is missing"
                    self._fault("kv", _name(node), what, code="TW3586")
                    continue
                node = rlp.decode(store[node])
            if len(node) == 17:
                waiting += [child for child in node[:16] if child]
                if node[16]:
                    yield node[16]
            elif node[0][0] >> 4 & 2:
                yield node[1]
            else:
                waiting.append(node[1])


class _Lookups:
    """py-evm's own index rows, each a function of the chain."""

    def __init__(self, scan: _Scan, db: sqlite3.Connection) -> None:
        self._scan = scan
        self._db = db
        self._score = 0
        self._expected: int = 0

    def block(self, header: Any, transactions: Sequence[Any]) -> None:
        number = header.block_number
        self._score += header.difficulty or number  # as py-evm does where nothing is mined
        self._is(SchemaV1.make_block_number_to_hash_lookup_key(number), rlp.encode(header.hash))
        score = rlp.encode(self._score, sedes=big_endian_int)
        self._is(SchemaV1.make_block_hash_to_score_lookup_key(header.hash), score)
        for place, row in enumerate(transactions):
            key = SchemaV1.make_transaction_hash_to_block_lookup_key(row[0])
            self._is(key, rlp.encode([number, place]))

    def end(self, head: Any) -> None:
        key = SchemaV1.make_canonical_head_hash_lookup_key()
        row = self._db.execute("select value from kv where key = ?", (key,)).fetchone()
        if row is not None and row[0] != head.hash:
            what = "the rows end with another block than the chain"
            self._scan._fault("blocks", str(head.block_number), what, code="TW3583")  # noqa: SLF001 - one module, one scan
        self._is(key, head.hash)
        gaps = rlp.encode(((), head.block_number + 1), sedes=chain_gaps)
        self._is(SchemaV1.make_header_chain_gaps_lookup_key(), gaps)
        self._is(SchemaV1.make_chain_gaps_lookup_key(), gaps)
        (there,) = self._db.execute("select count(*) from kv where length(key) <> 32").fetchone()
        if there != self._expected:
            what = f"{there} index rows where the chain gives {self._expected}"
            self._scan._fault("kv", "index", what, code="TW3582")  # noqa: SLF001 - one module, one scan

    def _is(self, key: bytes, value: bytes) -> None:
        self._expected += 1
        self._scan.rows += 1
        row = self._db.execute("select value from kv where key = ?", (key,)).fetchone()
        if row is None or row[0] != value:
            what = "missing" if row is None else "it is not what the chain gives"
            self._scan._fault("kv", key.decode("ascii", "replace"), what, code="TW3582")  # noqa: SLF001 - as above


def _name(key: Any) -> str:
    return key.hex()[:24] if isinstance(key, bytes) else str(key)[:24]
