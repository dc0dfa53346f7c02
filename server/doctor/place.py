"""What the doctor looks at: one coordinator's folder, its daemon, and this machine. Read only.

Everything is opened when it is first asked for. Nothing here makes a folder or a table, as the
coordinator's own openers do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ledger.embedded.backup import DATABASE
from ledger.embedded.tail import Tail, look
from server import watch
from server.founding_ceremony import load_founding
from server.settings import FILE, ServerSettings
from twinward.clock import Clock, SystemClock
from twinward.doctor.machine import Machine, ThisMachine
from twinward.errors import UsageError
from twinward.founding import Founding
from twinward.organisation import Organisation
from twinward.settings import load

_NOT_RUNNING = "TW1040"


@dataclass
class Place:
    """One coordinator, as the doctor sees it.

    Attributes:
        folder: The coordinator's folder.
        clock: Local time.
        machine: Disk, memory, names.
        timeout: Seconds for one question to another process.
    """

    folder: Path
    clock: Clock = field(default_factory=SystemClock)
    machine: Machine = field(default_factory=ThisMachine)
    timeout: float = 5.0

    @cached_property
    def organisation(self) -> Organisation:
        """Keys and certificates."""
        return Organisation(self.folder)

    @cached_property
    def settings(self) -> ServerSettings:
        """``coordinator.toml``."""
        return load(ServerSettings, self.folder / FILE)

    @cached_property
    def founding(self) -> Founding:
        """The network's members, every signature checked."""
        return load_founding(self.folder)

    @property
    def genesis(self) -> bytes:
        """The hash that names the ledger."""
        return bytes.fromhex(str(self.founding.chain["genesis_hash"]))

    @cached_property
    def status(self) -> dict[str, Any] | None:
        """What the daemon says of itself; None if none is started."""
        try:
            return watch.status(self.folder)
        except UsageError as error:
            if error.code == _NOT_RUNNING:
                return None
            raise

    @cached_property
    def tail(self) -> Tail | None:
        """The last blocks of the own ledger, hashed again; None if it has none here.

        Raises:
            LedgerError: TW5021, TW7655.
        """
        path = self.state("ledger") / DATABASE
        return look(path, genesis=self.genesis) if path.is_file() else None

    def state(self, name: str) -> Path:
        """Of the coordinator's state, without making its folder."""
        return self.folder / "state" / name
