"""The way out for a command while the node is not up: the same forwarder, for as long as it takes.

What a command sends (gRPC, the ledger's JSON-RPC) goes to the forwarder's port, and nothing here
opens another way. If the node is up, or a forwarder of its own, that one is used.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from hospital_node import membership
from hospital_node.forwarder import (
    Forwarder,
    ForwarderThread,
    addresses_of,
    forget_proxies_of_the_environment,
)
from hospital_node.forwarder_settings import ForwarderSettings
from hospital_node.forwarder_way import Address
from hospital_node.settings import FILE, NodeSettings
from twinward.errors import CoordinatorUnreachable
from twinward.organisation import Organisation
from twinward.settings import load

_KNOCK_SECONDS = 1.0


def settings_of(folder: Path) -> ForwarderSettings | None:
    """What ``node.toml`` says of the way out; None without the file or the table."""
    path = folder / FILE
    return load(NodeSettings, path).forwarder if path.exists() else None


@contextmanager
def at_hand(
    folder: Path,
    *,
    settings: ForwarderSettings | None,
    addresses: Mapping[str, Address],
    probe: bool = True,
) -> Iterator[None]:
    """For the duration of a block the forwarder listens; nothing without settings for it.

    Args:
        folder: Of the node.
        settings: Of its forwarder.
        addresses: Of the coordinator, by name; it goes nowhere else.
        probe: Whether the way is tried first, so that what is in it is named.

    Raises:
        CoordinatorUnreachable: TW6074, the forwarder is a service of its own and does not run;
            TW6061 to TW6065, what is in the way.
        UsageError: TW6066, TW1014, the file of the proxy's credentials; TW6071.
    """
    if settings is None:
        yield
        return
    forget_proxies_of_the_environment()
    if _listens(settings.port):
        yield
        return
    if settings.separate and Organisation(folder).founding_file.exists():
        raise not_there(settings.port)
    only_tunnel = {name: each for name, each in addresses.items() if name != "flower"}
    forwarder = Forwarder(
        folder, addresses=only_tunnel, settings=settings, tell=lambda _trouble: None
    )
    with ForwarderThread(forwarder) as running:
        if probe:
            running.probe(next(iter(only_tunnel.values())))
        yield


@contextmanager
def of_member(
    folder: Path, *, also: Mapping[str, Address] | None = None, probe: bool = True
) -> Iterator[None]:
    """The same for a hospital that is in a network, by its files.

    Args:
        folder: Of the node.
        also: Addresses of the coordinator's that the founding file does not name.
        probe: As of `at_hand`.

    Raises:
        TwinwardError: As `at_hand`; UsageError: TW1035, no network was joined yet.
    """
    settings = settings_of(folder)
    if settings is None:
        yield
        return
    addresses = addresses_of(membership.load_founding(folder)) | dict(also or {})
    with at_hand(folder, settings=settings, addresses=addresses, probe=probe):
        yield


def address_of(text: str) -> Address:
    """``host:port`` as an address."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def not_there(port: int) -> CoordinatorUnreachable:
    """The refusal when nothing, or something else, listens where the forwarder should."""
    return CoordinatorUnreachable(
        "the forwarder of this node does not answer",
        code="TW6074",
        at=f"127.0.0.1:{port}",
        help="start it (`twinward node forwarder FOLDER`), or free its port",
    )


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=_KNOCK_SECONDS):
        return True
    return False
