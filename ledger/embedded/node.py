"""One chain shared by many requests: a lock around the engine and a miner that groups commits.

A transaction is acknowledged when its block is on disk. Whatever waits when the miner comes round
goes into one block, so many writers share one fsync.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from ledger.embedded.engine import Engine
from twinward.clock import Clock

_BLOCK_TRANSACTIONS = 200
_WAITING_LIMIT = 2_000


class Refused(Exception):
    """A transaction that cannot be taken; the text says why."""


class Node:
    """A running chain. Thread-safe.

    One that ``follows`` another takes that one's blocks and makes none of its own.
    """

    def __init__(self, engine: Engine, *, clock: Clock, follows: bool = False) -> None:
        self._engine = engine
        self._follows = follows
        self._clock = clock
        self._lock = threading.RLock()
        self._work = threading.Condition(self._lock)
        self._waiting: deque[tuple[Any, Future[bytes]]] = deque()
        self._next_nonce: dict[bytes, int] = {}
        self._stopping = False
        self._miner = threading.Thread(target=self._mine, name="miner", daemon=True)
        self._miner.start()

    @contextmanager
    def reading(self) -> Iterator[Engine]:
        """The engine between two blocks."""
        with self._lock:
            yield self._engine

    def next_nonce(self, sender: bytes) -> int:
        """The nonce that the sender's next transaction must carry, counting those that wait."""
        with self._lock:
            if sender in self._next_nonce:
                return self._next_nonce[sender]
            return int(self._engine.state(self._engine.head).get_nonce(sender))

    def follow(self, raw: bytes) -> Any:
        """Take the next block of the node that this one follows, once it came out the same here.

        Raises:
            ValueError, ExecutionDiffers: As `Engine.follow`.
        """
        with self._lock:
            return self._engine.follow(raw)

    def submit(self, raw: bytes) -> Future[bytes]:
        """Queue a signed transaction; the future gives its hash once its block is durable.

        Raises:
            Refused: It is not valid, was seen before, or leaves a gap in the sender's nonces.
        """
        if self._follows:
            raise Refused("this node follows another and makes no blocks; send it to that one")
        try:
            transaction = self._engine.decode(raw)  # outside of the lock: pure, and slow
        except ValueError as error:
            raise Refused(str(error)) from error
        done: Future[bytes] = Future()
        with self._work:
            expected = self.next_nonce(transaction.sender)
            if self._known(transaction.hash):
                raise Refused("already known")
            if transaction.nonce != expected:
                word = "low" if transaction.nonce < expected else "high"
                raise Refused(f"nonce too {word}: it is {transaction.nonce}, expected {expected}")
            if len(self._waiting) >= _WAITING_LIMIT:
                raise Refused("too many transactions are waiting; try again")
            self._waiting.append((transaction, done))
            self._next_nonce[transaction.sender] = expected + 1
            self._work.notify()
        return done

    def _known(self, tx_hash: bytes) -> bool:
        row = self._engine.store.row("select 1 from transactions where hash = ?", (tx_hash,))
        return row is not None or any(t.hash == tx_hash for t, _ in self._waiting)

    def _mine(self) -> None:
        while True:
            with self._work:
                while not self._waiting and not self._stopping:
                    self._work.wait()
                if self._stopping:
                    return
                count = min(len(self._waiting), _BLOCK_TRANSACTIONS)
                batch = [self._waiting.popleft() for _ in range(count)]
                self._mine_batch(batch)
                if not self._waiting:
                    self._next_nonce.clear()
            time.sleep(0)  # let a waiting reader have the lock between two blocks

    def _mine_batch(self, batch: list[tuple[Any, Future[bytes]]]) -> None:
        try:
            _, problems = self._engine.mine([t for t, _ in batch], now=self._clock.now())
        except Exception as error:  # noqa: BLE001 - a full disk must reach the senders, not kill the miner
            self._fail([*batch, *self._waiting], f"the block could not be written ({error})")
            self._waiting.clear()
            return
        for (transaction, done), problem in zip(batch, problems, strict=True):
            if problem is None:
                done.set_result(bytes(transaction.hash))
            else:
                done.set_exception(Refused(problem))
        if any(problem is not None for problem in problems):
            # Whatever the same senders queued behind has a gap now.
            self._fail(list(self._waiting), "an earlier transaction was refused; send it again")
            self._waiting.clear()

    @staticmethod
    def _fail(batch: list[tuple[Any, Future[bytes]]], why: str) -> None:
        for _, done in batch:
            done.set_exception(Refused(why))

    def close(self) -> None:
        """Finish the block in progress and release the store."""
        with self._work:
            self._stopping = True
            self._work.notify()
        self._miner.join()
        self._fail(list(self._waiting), "the node is stopping")
        self._engine.store.close()
