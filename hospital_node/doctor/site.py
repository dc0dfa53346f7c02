"""What the doctor looks at: one node's folder, its daemon, and this machine. Read only.

Everything is opened when it is first asked for. Databases that the daemon holds are copied to a
private temporary folder and examined there, so that no examination changes what it examines.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hospital_node import membership, watch
from hospital_node.paths import NodePaths
from hospital_node.settings import FILE, NodeSettings
from twinward.clock import Clock, SystemClock
from twinward.doctor.machine import Machine, ThisMachine
from twinward.errors import BudgetError, UsageError
from twinward.founding import Founding
from twinward.organisation import Organisation
from twinward.reach import Reach
from twinward.settings import load

_NOT_RUNNING = "TW1040"


@dataclass
class Site:
    """One hospital's node, as the doctor sees it.

    Attributes:
        folder: The node's folder.
        clock: Local time.
        environment: Variables of this process.
        machine: Disk, memory, names.
        timeout: Seconds for one question to another machine.
    """

    folder: Path
    clock: Clock = field(default_factory=SystemClock)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    machine: Machine = field(default_factory=ThisMachine)
    timeout: float = 5.0

    @cached_property
    def paths(self) -> NodePaths:
        """Where the node keeps its state."""
        return NodePaths(self.folder)

    @cached_property
    def organisation(self) -> Organisation:
        """Keys and certificates."""
        return Organisation(self.folder)

    @cached_property
    def settings(self) -> NodeSettings:
        """``node.toml``."""
        return load(NodeSettings, self.folder / FILE)

    @cached_property
    def founding(self) -> Founding:
        """The network's members, every signature checked."""
        return membership.load_founding(self.folder)

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
    def reach(self) -> Reach:
        """How this node reaches the coordinator."""
        return Reach.of(self.folder)

    @property
    def coordinator(self) -> tuple[str, int]:
        """Where secure sums and tips are: host and port."""
        host, _, port = self.founding.endpoints["network"].rpartition(":")
        return host.strip("[]"), int(port)

    def state(self, name: str) -> Path:
        """A file of the node's state, without making its folder."""
        return self.folder / "state" / name


@contextmanager
def copy_of(path: Path) -> Iterator[Path]:
    """A private copy of a database, as of one moment; it is gone afterwards.

    Raises:
        BudgetError: TW4106, it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="twinward-doctor-") as folder:
        copy = Path(folder) / path.name
        descriptor = os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.close(descriptor)
        try:
            with (
                closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as source,
                closing(sqlite3.connect(copy)) as target,
            ):
                source.execute("pragma busy_timeout = 1000")
                source.backup(target)
        except sqlite3.Error as error:
            raise BudgetError(
                f"a file that the node must not lose cannot be read: {error}",
                code="TW4106",
                at=str(path),
                help="check disk and permissions; if it is damaged, bring back the latest copy, "
                "never start with an empty file",
            ) from error
        yield copy
