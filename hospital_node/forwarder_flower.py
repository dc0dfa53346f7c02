"""Carries Flower's calls to the front door: adds the certificate that Flower cannot show.

Flower's client knows no client certificates, follows redirects and takes a proxy from anywhere. So
it speaks to this machine only; here each of its calls is parsed, held against the exact list of
paths, and sent on over mutual TLS. An answer that would lead Flower elsewhere never reaches it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import h11

from twinward.errors import IdentityError, TwinwardError
from twinward.logging import log

FLEET: Final = "/v1/fleet/"
_IDLE_SECONDS = 300.0
_ANSWER_SECONDS = 150.0
_PIECE = 64 * 1024
_HOP_BY_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"expect"}

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class _Side:
    """One HTTP/1.1 connection: bytes below, h11's events above."""

    def __init__(
        self,
        role: Any,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.http = h11.Connection(role, max_incomplete_event_size=16 * 1024)
        self._reader = reader
        self._writer = writer

    async def event(self, *, within: float) -> Any:
        while (found := self.http.next_event()) is h11.NEED_DATA:
            async with asyncio.timeout(within):
                self.http.receive_data(await self._reader.read(_PIECE))
        return found

    async def send(self, event: Any) -> None:
        data = self.http.send(event)
        if data:
            self._writer.write(data)
            await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()
        with suppress(OSError, ssl.SSLError):
            await self._writer.wait_closed()


async def serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, host: str, connect: Connect
) -> None:
    """Carry the calls of one connection of Flower's, one after the other, until it ends.

    Args:
        reader: Of the connection.
        writer: Of the connection.
        host: Of the front door, which goes into each call.
        connect: Opens a connection to it, with TLS proved.
    """
    here = _Side(h11.SERVER, reader, writer)
    there: _Side | None = None
    try:
        while isinstance(request := await here.event(within=_IDLE_SECONDS), h11.Request):
            if not _is_fleet_call(request):
                log().warning("call refused", reason="not a call of Flower's fleet")
                await _say(here, 404)
                return
            try:
                if there is None:
                    there = _Side(h11.CLIENT, *await connect())
                await _carry(here, there, request, host=host)
            except TwinwardError as error:
                log().warning("call refused", code=error.code)
                await _say(here, 502)
                return
            if here.http.our_state is not h11.DONE or here.http.their_state is not h11.DONE:
                return
            here.http.start_next_cycle()
            if there.http.our_state is h11.DONE and there.http.their_state is h11.DONE:
                there.http.start_next_cycle()
            else:
                await there.close()
                there = None
    except (OSError, TimeoutError, ssl.SSLError, h11.ProtocolError):
        return  # Flower tries again
    finally:
        for side in (there, here):
            if side is not None:
                await side.close()


async def _carry(here: _Side, there: _Side, request: Any, *, host: str) -> None:
    headers = [
        (name, value)
        for name, value in request.headers
        if name not in _HOP_BY_HOP and name != b"host"
    ]
    await there.send(
        h11.Request(
            method=b"POST", target=request.target, headers=[(b"host", host.encode()), *headers]
        )
    )
    while not isinstance(event := await here.event(within=_ANSWER_SECONDS), h11.EndOfMessage):
        if not isinstance(event, h11.Data):
            raise ConnectionError
        await there.send(h11.Data(data=event.data))
    await there.send(h11.EndOfMessage())
    answer = await there.event(within=_ANSWER_SECONDS)
    while isinstance(answer, h11.InformationalResponse):
        answer = await there.event(within=_ANSWER_SECONDS)
    if not isinstance(answer, h11.Response):
        raise ConnectionError
    if 300 <= answer.status_code < 400:
        raise IdentityError(
            f"the coordinator's side answered with a redirect ({answer.status_code})",
            code="TW6069",
            help="nothing of the network redirects; find out what stands between",
        )
    headers = [(name, value) for name, value in answer.headers if name not in _HOP_BY_HOP]
    await here.send(h11.Response(status_code=answer.status_code, headers=headers))
    while not isinstance(event := await there.event(within=_ANSWER_SECONDS), h11.EndOfMessage):
        if not isinstance(event, h11.Data):
            raise ConnectionError
        await here.send(h11.Data(data=event.data))
    await here.send(h11.EndOfMessage())


def _is_fleet_call(request: Any) -> bool:
    target = request.target.decode("ascii", errors="replace")
    name = target.removeprefix(FLEET)
    # What exactly is served the front door knows; nothing but a plain name under this goes there.
    plain = name.replace("-", "")
    return bool(
        request.method == b"POST"
        and target.startswith(FLEET)
        and plain.isascii()
        and plain.isalpha()
        and plain.islower()
    )


async def _say(here: _Side, status: int) -> None:
    if here.http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
        headers = [(b"content-length", b"0"), (b"connection", b"close")]
        await here.send(h11.Response(status_code=status, headers=headers))
        await here.send(h11.EndOfMessage())
