"""The stream to the coordinator over gRPC: outgoing connections only, mutual TLS in the channel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import grpc.aio

from hospital_node.secure_sum_work import OpenStream
from twinward.errors import IdentityError, TrainingError, TwinwardError
from twinward.rpc.messages_pb2 import Frame
from twinward.rpc.messages_pb2_grpc import NetworkStub
from twinward.secsum.frames import FrameStream, StreamBroken, StreamEnded

_FRAMES_AHEAD = 8
"""What is not worked on yet; more is not read from the network."""


def grpc_streams(channel: grpc.aio.Channel) -> OpenStream:
    """How ``run_session`` opens streams on this channel; the caller owns the channel."""

    @asynccontextmanager
    async def open_stream() -> AsyncIterator[FrameStream]:
        stream = _GrpcStream(NetworkStub(channel).Session())
        try:
            yield stream
        finally:
            await stream.aclose()

    return open_stream


class _GrpcStream:
    """Reads ahead in a task of its own: cancelling a gRPC read would cancel the whole call."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._inbox: asyncio.Queue[Frame | StreamBroken | TwinwardError] = asyncio.Queue(
            _FRAMES_AHEAD
        )
        self._reader = asyncio.create_task(self._read())

    async def send(self, frame: Frame) -> None:
        # A failed write means that the call is over: what came before, and why, is still read.
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self._call.write(frame)

    async def receive(self) -> Frame:
        found = await self._inbox.get()
        if isinstance(found, Exception):
            self._inbox.put_nowait(found)
            raise found
        return found

    async def aclose(self) -> None:
        self._call.cancel()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        try:
            while (frame := await self._call.read()) is not grpc.aio.EOF:
                await self._inbox.put(frame)
            code, details = await self._call.code(), await self._call.details()
        except grpc.aio.AioRpcError as error:
            code, details = error.code(), error.details()
        await self._inbox.put(_verdict(code, details or ""))


def _verdict(code: grpc.StatusCode, details: str) -> StreamBroken | TwinwardError:
    if code in {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED}:
        return IdentityError(
            "the coordinator does not accept this node in the run",
            code="TW6121",
            note=details or None,
            help="compare this node's identity with the plan and the founding file",
        )
    if code is grpc.StatusCode.NOT_FOUND:
        return TrainingError(
            "the coordinator does not know this run (any more)",
            code="TW6123",
            note="a coordinator that restarts goes on with runs of its queue alone",
            help="if the run goes on, it is brought here again; attempts made stay charged",
        )
    return StreamEnded() if code is grpc.StatusCode.OK else StreamBroken(code.name)
