"""Runs Flower's SuperNode as a child of the node daemon, through our launcher only.

It is kept running: a SuperNode that dies is started again, also when the SuperLink refuses it
because it still believes in the dead one (HTTP 412), until it is accepted or stopped.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from hospital_node.launcher import NODE_ID, Launch
from twinward import flower_launch
from twinward.child import Child, scrubbed_environment
from twinward.errors import CoordinatorUnreachable, TrainingError

if TYPE_CHECKING:
    from twinward.rpc.local import LocalAddress

_LOOK_SECONDS = 0.1
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 10.0
_STEADY_SECONDS = 60.0  # after so long a life the next pause is short again


def approved_bundles() -> Path:
    """The list that came with this release: the code-less bundle's SHA-256."""
    return Path(str(resources.files("hospital_node") / "approved_bundles.txt"))


class SuperNode:
    """One SuperNode, kept running until `stop`.

    Args:
        folder: Private folder for its log, session id and Flower home; made if missing.
        superlink: ``host:port`` of the SuperLink.
        ca: CA certificate that the SuperLink's must chain to.
        key: P-384 key in OpenSSH form that the coordinator registered.
        port: Loopback port of Flower's runtime API on this machine; one per node.
        daemon: The node daemon's socket and token, handed to this SuperNode alone.
        approved: The site's list of approved bundles; by default the release's.
        on_restart: Told the exit status whenever the SuperNode ended by itself.
    """

    def __init__(
        self,
        folder: Path,
        *,
        superlink: str,
        ca: Path,
        key: Path,
        port: int,
        daemon: LocalAddress,
        approved: Path | None = None,
        on_restart: Callable[[int], None] = lambda _status: None,
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._online = folder.resolve() / NODE_ID
        launch = Launch(
            superlink=superlink,
            ca=ca.resolve(),
            key=key.resolve(),
            port=port,
            folder=folder.resolve(),
            approved=(approved or approved_bundles()).resolve(),
            parent=os.getpid(),
        )
        self._child = Child(
            "hospital_node.launcher",
            launch.as_arguments(),
            environment=scrubbed_environment(
                {**flower_launch.environment(folder.resolve() / "flwr"), **daemon.environment()}
            ),
            log=folder / "supernode.log",
            folder=folder,
        )
        self._on_restart = on_restart
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="supernode-keeper", daemon=True)
        self.restarts = 0

    def __enter__(self) -> Self:
        """Start it and wait until the SuperLink has accepted it."""
        self.start()
        try:
            self.wait_online()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.stop()

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._child.pid

    @property
    def is_online(self) -> bool:
        """Whether the SuperLink has accepted the process that runs now."""
        pid = self.pid
        try:
            return pid is not None and self._online.read_text().split()[-1:] == [str(pid)]
        except OSError:
            return False

    def start(self) -> None:
        """Start it and keep it running."""
        self._child.start()
        self._keeper.start()

    def wait_online(self, *, timeout: float = 60.0) -> None:
        """Return once the SuperLink has accepted it.

        Raises:
            TrainingError: TW6220, the launcher refused to start it; its words are the note.
            CoordinatorUnreachable: TW6221, it was not accepted in time.
        """
        deadline = time.monotonic() + timeout
        while not self.is_online:
            words = self._child.last_words()
            if self._child.exit_status() is not None and "error[TW" in words:
                raise TrainingError(
                    "the launcher refused to start the SuperNode",
                    code="TW6220",
                    note=words[words.index("error[TW") :],
                    help="do what the launcher's own message says; nothing was started",
                )
            if time.monotonic() > deadline:
                raise CoordinatorUnreachable(
                    "the SuperLink has not accepted this SuperNode",
                    code="TW6221",
                    note=words,
                    help="is the coordinator up, and has it registered this hospital's key?",
                )
            time.sleep(_LOOK_SECONDS)

    def stop(self) -> None:
        """End the SuperNode and everything it started; it is not restarted."""
        self._ended.set()
        if self._keeper.is_alive():
            self._keeper.join()
        self._child.stop()
        self._online.unlink(missing_ok=True)

    def _keep(self) -> None:
        """Start it again whenever it has ended; a pause that doubles keeps a broken one cheap."""
        pause = _FIRST_PAUSE_SECONDS
        started = time.monotonic()
        while not self._ended.wait(_LOOK_SECONDS):
            status = self._child.exit_status()
            if status is None:
                continue
            self._child.kill()  # what its session left behind
            self._on_restart(status)
            if time.monotonic() - started > _STEADY_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            if self._ended.wait(pause):
                return
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            started = time.monotonic()
            self.restarts += 1
            self._child.start()
