"""Runs an embedded ledger node as a child of a daemon and keeps it running.

The coordinator's child makes the blocks; a hospital's follows it and executes them again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ledger.endpoint import Endpoint
from twinward.canonical import encode
from twinward.child import Child, scrubbed_environment
from twinward.errors import LedgerError, LedgerUnreachable, UsageError
from twinward.files import write_atomic

URL_FILE = "url"
"""In the node's folder while it runs: where it answers."""

_LOOK_SECONDS = 0.05
_PAUSE_SECONDS = 0.5


def own_url(folder: Path) -> str:
    """Where the node of this folder answers.

    Raises:
        UsageError: TW3566, it is not running.
    """
    try:
        return (folder / URL_FILE).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            "the following ledger node of this folder is not running",
            code="TW3566",
            at=str(folder),
            help="start the node, with `witness = true` in node.toml, and ask again",
        ) from error


class LedgerProcess:
    """One embedded Ethereum node on loopback; started again whenever it ends by itself.

    Every acknowledged block is on its disk, so a restart needs no replay and loses nothing.
    """

    def __init__(
        self,
        folder: Path,
        *,
        genesis: dict[str, Any],
        host: str,
        port: int,
        options: Sequence[str] = (),
        endpoint: Endpoint | None = None,
        on_restart: Callable[[int], None] = lambda _status: None,
    ) -> None:
        """Prepare it.

        Args:
            folder: Where it keeps the chain.
            genesis: The first block.
            host: Address to listen on.
            port: Port; with 0 it takes any free one, read `url` again after a restart then.
            options: Further ones of ``python -m ledger.embedded``.
            endpoint: How it is reached if not at ``http://HOST:PORT`` by anybody.
            on_restart: Told the exit status whenever it ended by itself.
        """
        write_atomic(folder / "genesis.json", encode(genesis))
        self._endpoint = endpoint or (Endpoint(f"http://{host}:{port}") if port else None)
        self._url_file = folder / URL_FILE
        self._child = Child(
            "ledger.embedded",
            [
                "--dir",
                str(folder.resolve()),
                "--host",
                host,
                "--port",
                str(port),
                "--genesis",
                str((folder / "genesis.json").resolve()),
                "--end-with-stdin",
                *options,
            ],
            environment=scrubbed_environment({}),
            log=folder / "ledger.log",
            folder=folder,
        )
        self._on_restart = on_restart
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="ledger-keeper", daemon=True)
        self.restarts = 0

    @property
    def url(self) -> str:
        """Where it answers; empty while a node on any free port has not said so yet."""
        if self._endpoint is not None:
            return self._endpoint.url
        try:
            return self._url_file.read_text(encoding="utf-8")
        except OSError:
            return ""

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._child.pid

    def start(self) -> None:
        """Start it and return once it answers.

        Raises:
            LedgerError: TW5301, something else answers on its port; TW5302, it did not start.
        """
        if self._endpoint is not None and self._answers():
            raise LedgerError(
                "something listens on the ledger's port already",
                code="TW5301",
                at=self.url,
                help="stop the other coordinator, or set another `ledger_port`",
            )
        self._begin()
        deadline = time.monotonic() + 30.0
        while not self._answers():
            status = self._child.exit_status()
            if status is not None or time.monotonic() > deadline:
                raise LedgerError(
                    "the embedded ledger "
                    + (f"ended (exit {status})" if status is not None else "does not answer"),
                    code="TW5302",
                    at=self.url or str(self._url_file),
                    note=self._child.last_words(),
                    help="read `ledger.log` in its folder",
                )
            time.sleep(_LOOK_SECONDS)
        self._keeper.start()

    def begin(self) -> None:
        """Start it and return at once; it is kept running from now on."""
        self._begin()
        self._keeper.start()

    def stop(self) -> None:
        """End it; it is not started again."""
        self._ended.set()
        if self._keeper.is_alive():
            self._keeper.join()
        self._child.stop()

    def _begin(self) -> None:
        self._url_file.unlink(missing_ok=True)
        self._child.start()

    def _answers(self) -> bool:
        if not self.url:
            return False
        rpc = (self._endpoint or Endpoint(self.url)).rpc(timeout=2.0)
        try:
            rpc.call("eth_chainId")
        except LedgerUnreachable:
            return False
        except LedgerError:
            return True
        else:
            return True
        finally:
            rpc.close()

    def _keep(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            status = self._child.exit_status()
            if status is None:
                continue
            self._child.kill()
            self._on_restart(status)
            if self._ended.wait(_PAUSE_SECONDS if self.restarts else 0.0):
                return
            self.restarts += 1
            self._begin()
