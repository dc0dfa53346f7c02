"""The node's only way out: a CONNECT proxy for the coordinator's addresses, and Flower's relay.

What the node itself sends (gRPC, the ledger's JSON-RPC) goes through as it is: TLS begins in the
node and ends at the front door, the forwarder sees neither content nor key. For Flower it adds the
hospital's certificate. Both listeners are on the loopback; whoever else on this machine uses them
gets no further than the front door, and there it needs keys.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext, suppress
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from hospital_node import forwarder_flower, membership
from hospital_node.forwarder_settings import ForwarderSettings
from hospital_node.forwarder_way import Address, Way
from hospital_node.settings import FILE, NodeSettings
from twinward.errors import TwinwardError, UsageError
from twinward.founding import Founding
from twinward.logging import log
from twinward.organisation import Organisation
from twinward.settings import load

_HEAD_SECONDS = 10.0
_LARGEST_HEAD = 8 * 1024
_PIECE = 64 * 1024
_START_SECONDS = 10.0
_ENVIRONMENT = ("proxy", "grpc_proxy", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
                "no_grpc_proxy")  # fmt: skip


def addresses_of(founding: Founding) -> dict[str, Address]:
    """Where the coordinator's services are, by their names in the founding file."""
    found = {}
    for name, text in founding.endpoints.items():
        parts = urlsplit(text if "//" in text else f"//{text}")
        default = 80 if parts.scheme == "http" else 443
        found[name] = (str(parts.hostname), parts.port or default)
    return found


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Forwarder:
    """For one node. ``serve`` runs until it is cancelled."""

    def __init__(
        self,
        folder: Path,
        *,
        addresses: Mapping[str, Address],
        settings: ForwarderSettings,
        tell: Callable[[TwinwardError | None], None] | None = None,
    ) -> None:
        """Nothing is opened yet.

        Args:
            folder: Of the node.
            addresses: Of the coordinator, by name; without ``flower`` there is no relay for it.
            settings: Of the forwarder.
            tell: Hears what is in the way, and None when it is over.
        """
        self._settings = settings
        self._tls = Organisation(folder).tls
        self._flower = addresses.get("flower")
        self._coordinator = next(iter(addresses.values()))
        self.way = Way(
            settings,
            allowed=frozenset(addresses.values()),
            folder=folder,
            tell=tell or _log_trouble,
        )

    async def check(self) -> str:
        """Try the whole way to the coordinator once.

        Raises:
            TwinwardError: TW6061 to TW6068, what is in the way.
        """
        return await self.way.check(self._coordinator, self._tls.client_context())

    async def serve(self, *, ready: Callable[[], None]) -> None:
        """Listen until cancelled.

        Raises:
            UsageError: TW6071, a port is taken.
        """
        port = self._settings.port
        listeners: list[tuple[Answer, ssl.SSLContext | None]] = [(self._tunnel, None)]
        if self._flower is not None:
            listeners.append((self._relay, self._tls.server_context(mutual=False)))
        async with AsyncExitStack() as stack:
            try:
                for place, (answer, context) in enumerate(listeners):
                    listening = await asyncio.start_server(
                        answer, "127.0.0.1", port + place, ssl=context, limit=_LARGEST_HEAD
                    )
                    stack.callback(listening.close)
            except OSError as error:
                raise UsageError(
                    f"the forwarder cannot listen on port {port + place} ({error.strerror})",
                    code="TW6071",
                    help="choose another `port` in [forwarder] of node.toml; it takes two",
                ) from error
            ready()
            await asyncio.Event().wait()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened = None
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            opened = await self.way.open(_target(head))
            there = await asyncio.open_connection(sock=opened)
        except TwinwardError as error:
            status = b"403 Forbidden" if error.code == "TW6067" else b"502 Bad Gateway"
            writer.write(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status)
            await _closed(writer)
            return
        except (OSError, TimeoutError, ValueError, EOFError, asyncio.LimitOverrunError):
            if opened is not None:
                opened.close()
            await _closed(writer)
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        ways = [
            asyncio.create_task(_copy(*each)) for each in ((reader, there[1]), (there[0], writer))
        ]
        try:  # inside is TLS: when one side is done there is nothing left for the other to say
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(_closed(writer), _closed(there[1]))

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._flower is not None  # noqa: S101 - otherwise nothing listens for it
        address, host = self._flower, self._flower[0]

        async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            opened = await self.way.open(address)
            context = self._tls.client_context()
            try:
                return await asyncio.wait_for(
                    asyncio.open_connection(sock=opened, ssl=context, server_hostname=host),
                    _HEAD_SECONDS,
                )
            except BaseException:
                opened.close()
                raise

        await forwarder_flower.serve(reader, writer, host=host, connect=connect)


class ForwarderThread:
    """The forwarder inside the node's process, on a loop of its own. Use it in a ``with`` block."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._trouble: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="forwarder", daemon=True)

    def __enter__(self) -> Self:
        """Returns once it listens.

        Raises:
            UsageError: TW6071, a port is taken.
        """
        self._thread.start()
        self._ready.wait(_START_SECONDS)
        if self._trouble is not None:
            self._thread.join()
            raise self._trouble
        return self

    def probe(self, address: Address) -> None:
        """Open the way to this address of the coordinator once, and close it again.

        Raises:
            TwinwardError: TW6061 to TW6066, what is in the way.
        """
        opening = asyncio.run_coroutine_threadsafe(self._forwarder.way.open(address), self._loop)
        opening.result().close()

    def __exit__(self, *_: object) -> None:
        """End it and every connection through it."""
        with suppress(RuntimeError):  # its loop has ended
            self._loop.call_soon_threadsafe(self._end)
        self._thread.join(_START_SECONDS)

    def _end(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._forwarder.serve(ready=self._ready.set))
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised where it was started
            self._trouble = error
        finally:
            self._ready.set()
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()


def of(folder: Path) -> AbstractContextManager[object]:
    """The forwarder that runs in the process of this folder's node; nothing, if it wants none.

    Raises:
        UsageError: What is wrong in node.toml; TW1035, no network was joined yet.
    """
    settings = load(NodeSettings, folder / FILE).forwarder
    if settings is None:
        return nullcontext()
    forget_proxies_of_the_environment()
    if settings.separate:
        return nullcontext()
    founding = membership.load_founding(folder)
    addresses = addresses_of(founding)
    return ForwarderThread(Forwarder(folder, addresses=addresses, settings=settings))


def forget_proxies_of_the_environment() -> None:
    """From now on this process goes by node.toml: not even NO_PROXY leads past the forwarder."""
    for name in list(os.environ):
        if name.lower() in _ENVIRONMENT:
            del os.environ[name]


def _target(head: bytes) -> Address:
    method, where, version = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
    if method != "CONNECT" or not version.startswith("HTTP/1."):
        raise ValueError(method)
    host, _, port = where.rpartition(":")
    return host.strip("[]"), int(port)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one side ends."""
    with suppress(OSError):
        while data := await reader.read(_PIECE):
            writer.write(data)
            await writer.drain()


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError, ssl.SSLError):
        await writer.wait_closed()


def _log_trouble(trouble: TwinwardError | None) -> None:
    if trouble is None:
        log().info("way out is open again")
    else:
        log().warning("no way out", code=trouble.code, reason=trouble.diagnostic.message)
