"""The way out of a hospital: a connection to one of the coordinator's addresses, and to no other.

Straight, or by CONNECT through the hospital's proxy. What fails is named, and is not tried again
before a pause is over, so that a wrong password does not lock the proxy's account.
CONNECT: RFC 9110, 9.3.6; Basic: RFC 7617.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hospital_node.forwarder_settings import ForwarderSettings
from twinward.errors import CoordinatorUnreachable, IdentityError, TwinwardError, UsageError
from twinward.files import read_secret

_CONNECT_SECONDS = 10.0
_LARGEST_ANSWER = 8 * 1024
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0
_DENIED_PAUSE = 60.0
_WRONG_CREDENTIALS = (407, 401)
"""RFC 9110, 15.5.8; tinyproxy says 401 to a wrong password, and 407 to none."""
_OK = 200

_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),  # milliseconds
)
"""A link that was cut is noticed in 40 s at the latest, not in the two hours of the system."""

Address = tuple[str, int]


class Way:
    """To the addresses that the founding file names. Lives on one event loop."""

    def __init__(
        self,
        settings: ForwarderSettings,
        *,
        allowed: frozenset[Address],
        folder: Path,
        now: Callable[[], float] = time.monotonic,
        tell: Callable[[TwinwardError | None], None] = lambda _trouble: None,
    ) -> None:
        """Nothing is opened yet.

        Args:
            settings: Of the forwarder.
            allowed: ``(host, port)`` of the coordinator; nothing else is ever connected to.
            folder: Of the node, for paths that are relative.
            now: Monotonic seconds.
            tell: Hears each trouble once, and None when it is over.
        """
        self._settings = settings
        self._allowed = allowed
        self._folder = folder
        self._now = now
        self._tell = tell
        self._trouble: TwinwardError | None = None
        self._pause = _FIRST_PAUSE
        self._not_before = 0.0

    async def open(self, target: Address) -> socket.socket:
        """A connected socket to this address of the coordinator.

        Raises:
            IdentityError: TW6067, it is not an address of the coordinator's.
            CoordinatorUnreachable: TW6061 to TW6065.
            UsageError: TW6066, TW1014, the file of the proxy's credentials.
        """
        if target not in self._allowed:
            raise IdentityError(
                f"the forwarder goes to the coordinator only, not to {target[0]}:{target[1]}",
                code="TW6067",
                help="nothing was opened; find out which program asks for this address",
            )
        if self._trouble is not None and self._now() < self._not_before:
            raise self._trouble
        try:
            opened = await self._open(target)
        except TwinwardError as error:
            if self._trouble is None or self._trouble.code != error.code:
                self._tell(error)
                self._pause = _FIRST_PAUSE
            self._trouble = error
            denied = error.code in {"TW6064", "TW6066"}
            self._not_before = self._now() + (_DENIED_PAUSE if denied else self._pause)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            raise
        if self._trouble is not None:
            self._trouble, self._pause = None, _FIRST_PAUSE
            self._tell(None)
        return opened

    async def check(self, target: Address, context: ssl.SSLContext) -> str:
        """Open, prove by TLS who is there, close; the version of TLS.

        Raises:
            IdentityError: TW6068, somebody else's certificate: TLS is inspected on the way.
            TwinwardError: What ``open`` raises.
        """
        connection = await self.open(target)
        try:
            _, writer = await asyncio.wait_for(
                asyncio.open_connection(sock=connection, ssl=context, server_hostname=target[0]),
                _CONNECT_SECONDS,
            )
        except ssl.SSLCertVerificationError as error:
            raise IdentityError(
                f"who answers as {target[0]} does not have a certificate of the network's authority"
                f" for that name ({error.verify_message})",
                code="TW6068",
                at=f"{target[0]}:{target[1]}",
                help="if the proxy inspects TLS, have it let this one host through untouched",
            ) from error
        except (OSError, TimeoutError) as error:
            raise _unreachable(target, error) from error
        version = str(writer.get_extra_info("ssl_object").version())
        writer.close()
        with suppress(OSError, ssl.SSLError):
            await writer.wait_closed()
        return version

    async def _open(self, target: Address) -> socket.socket:
        proxy = self._settings.proxy_for(target[0])
        if proxy is None:
            return await _connected(target, what="coordinator")
        credentials = self._credentials()
        connection = await _connected(proxy, what="proxy")
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                status = await _ask_proxy(connection, target, credentials)
        except (OSError, ValueError, TimeoutError) as error:
            connection.close()
            raise CoordinatorUnreachable(
                f"the proxy does not answer as a proxy ({error or 'not in time'})",
                code="TW6063",
                at=f"{proxy[0]}:{proxy[1]}",
                help="check `proxy` in node.toml: it has to be an HTTP proxy that permits CONNECT",
            ) from error
        if status == _OK:
            return connection
        connection.close()
        if status in _WRONG_CREDENTIALS:
            raise CoordinatorUnreachable(
                f"the proxy wants credentials, or others than it was given ({status})",
                code="TW6064",
                at=f"{proxy[0]}:{proxy[1]}",
                help="write USER:PASSWORD into the file that `proxy_credentials` names; it is tried"
                " again once a minute",
            )
        raise CoordinatorUnreachable(
            f"the proxy does not let this machine reach {target[0]}:{target[1]} ({status})",
            code="TW6065",
            at=f"{proxy[0]}:{proxy[1]}",
            help="have the proxy's administrator permit CONNECT to this host and port",
        )

    def _credentials(self) -> bytes | None:
        if self._settings.proxy_credentials is None:
            return None
        path = self._folder / self._settings.proxy_credentials
        found = read_secret(path).strip()
        if b":" not in found or b"\n" in found:
            raise UsageError(
                "the file of the proxy's credentials does not hold USER:PASSWORD",
                code="TW6066",
                at=str(path),
                help="write one line, USER:PASSWORD",
            )
        return base64.b64encode(found)


async def _connected(address: Address, *, what: str) -> socket.socket:
    host, port = address
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError) as error:
        raise CoordinatorUnreachable(
            f"the name of the {what}, {host}, has no address here",
            code="TW6061",
            at=f"{host}:{port}",
            help="check the name and this machine's DNS (`getent hosts NAME`)"
            + ("" if what == "proxy" else "; behind a proxy, name it in node.toml"),
        ) from error
    trouble: BaseException = OSError("no address")
    for family, kind, protocol, _, sockaddr in found:
        connection = socket.socket(family, kind, protocol)
        connection.setblocking(False)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await loop.sock_connect(connection, sockaddr)
        except BaseException as error:
            connection.close()
            if not isinstance(error, OSError | TimeoutError):
                raise
            trouble = error
        else:
            for level, option, value in _OPTIONS:
                connection.setsockopt(level, option, value)
            return connection
    raise _unreachable(address, trouble, what=what) from trouble


async def _ask_proxy(connection: socket.socket, target: Address, credentials: bytes | None) -> int:
    """The proxy's status; of its answer nothing else is believed."""
    loop = asyncio.get_running_loop()
    where = f"{target[0]}:{target[1]}".encode("ascii")
    request = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n" % (where, where)
    if credentials is not None:
        request += b"Proxy-Authorization: Basic %b\r\n" % credentials
    await loop.sock_sendall(connection, request + b"\r\n")
    answer = b""
    while b"\r\n\r\n" not in answer:
        more = await loop.sock_recv(connection, 1024)
        answer += more
        if not more or len(answer) > _LARGEST_ANSWER:
            msg = "its answer has no end"
            raise ValueError(msg)
    version, _, rest = answer.partition(b" ")
    if not version.startswith(b"HTTP/1."):
        msg = "it does not speak HTTP"
        raise ValueError(msg)
    return int(rest[:3])


def _unreachable(
    address: Address, why: BaseException, *, what: str = "coordinator"
) -> CoordinatorUnreachable:
    number = getattr(why, "errno", None)
    reason = os.strerror(number).lower() if number else "no answer in time"
    return CoordinatorUnreachable(
        f"the {what} cannot be reached ({reason})",
        code="TW6062",
        at=f"{address[0]}:{address[1]}",
        help="is it up, and does the firewall let this machine there?",
    )
