"""A file of a ledger answers questions without a node: for whoever has a copy and no network."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ledger.embedded.backup import restore_unchecked
from ledger.embedded.engine import Engine
from ledger.embedded.methods import Methods
from ledger.embedded.node import Node
from ledger.embedded.store import Store
from twinward.clock import SystemClock


class Offline:
    """What a node would answer that stands on the newest block of the copy."""

    def __init__(self, methods: Methods) -> None:
        self._methods = methods

    def call(self, method: str, *params: Any) -> Any:
        """The result of one call, as `ledger.rpc.Rpc.call` gives it."""
        return self._methods.call(method, params)


@contextmanager
def answering(copy: Path) -> Iterator[Offline]:
    """Answers from a copy of a ledger's database: a backup, or the file of a node that may run.

    Works on one moment of it in a temporary folder, which needs as much room as the copy; the
    file itself stays as it is. Nothing that it says is more than the copy's word: ask for proofs.

    Raises:
        UsageError: TW3572, there is no such file.
        LedgerError: TW5013 it is damaged, TW5014 or TW5015 it is no ledger of this release.
    """
    with tempfile.TemporaryDirectory(prefix="twinward-ledger-") as folder:
        restore_unchecked(copy, Path(folder))
        store = Store(Path(folder) / "chain.sqlite")
        try:
            engine = Engine(store)
        except BaseException:
            store.close()
            raise
        with closing(Node(engine, clock=SystemClock(), follows=True)) as node:
            yield Offline(Methods(node))
