"""How this machine reaches the network, where the founding file's addresses are not all there is.

Two cases, both said by the role's own TOML file. A coordinator behind its front door reaches its
own ledger on the loopback. A hospital whose node has a forwarder reaches everything through that,
and nothing here opens another way when it is down.
"""

from __future__ import annotations

import http.client
import socket
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LEDGER_PATH: Final = "/ledger"
"""Where the front door serves JSON-RPC."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What differs from the founding file for the role of one folder; None: nothing does.

    Attributes:
        ledger: URL of the ledger as this machine reaches it.
        forwarder: ``host:port`` of the forwarder, which takes CONNECT for the front door alone.
        flower: ``host:port`` where Flower's SuperNode finds the coordinator's SuperLink.
    """

    ledger: str | None = None
    forwarder: str | None = None
    flower: str | None = None

    @classmethod
    def of(cls, folder: Path) -> Reach:
        """By the TOML file of the role in this folder; what is not there changes nothing."""
        coordinator = _table(folder / "coordinator.toml")
        if coordinator.get("front_door"):
            port = coordinator["ledger_port"]
            return cls(ledger=f"https://{coordinator.get('host', '127.0.0.1')}:{port}")
        forwarder = _table(folder / "node.toml").get("forwarder")
        if isinstance(forwarder, dict) and isinstance(forwarder.get("port"), int):
            port = forwarder["port"]
            return cls(forwarder=f"127.0.0.1:{port}", flower=f"127.0.0.1:{port + 1}")
        return cls()

    @property
    def proxy(self) -> str | None:
        """The forwarder as HTTP clients want it named."""
        return None if self.forwarder is None else f"http://{self.forwarder}"

    def channel_options(self) -> tuple[tuple[str, object], ...]:
        """What a gRPC channel is told so that it goes through the forwarder, if there is one."""
        return () if self.proxy is None else (("grpc.http_proxy", self.proxy),)

    def connection(self, address: tuple[str, int], *, timeout: float) -> socket.socket:
        """A TCP connection to an address of the coordinator, through the forwarder if there is one.

        Raises:
            OSError: Nobody answers, or the forwarder does not open it.
        """
        if self.forwarder is None:
            return socket.create_connection(address, timeout=timeout)
        here, _, port = self.forwarder.rpartition(":")
        asking = http.client.HTTPConnection(here, int(port), timeout=timeout)
        asking.set_tunnel(*address)
        asking.connect()
        opened: socket.socket = asking.sock
        return opened


def _table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the role's own loader says what is wrong with it
        return {}
