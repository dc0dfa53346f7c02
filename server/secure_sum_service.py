"""The gRPC method behind every secure sum: finds the run that a greeting names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import grpc

from server.secure_sum import SecureSumRun
from twinward.errors import IdentityError, TwinwardError
from twinward.ids import Fingerprint
from twinward.rpc.messages_pb2 import Frame
from twinward.secsum.messages import Hello, Kind


async def serve_session(
    frames: AsyncIterator[Frame],
    context: Any,
    *,
    runs: Mapping[bytes, SecureSumRun],
    identify: Callable[[Any], Fingerprint],
    open_for: Callable[[Fingerprint], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> AsyncIterator[Frame]:
    """Serve ``Network.Session``: one stream, for the run named in its first frame.

    ``identify`` turns the call's context into the fingerprint behind the client certificate; it
    raises ``IdentityError`` for strangers. The greeting is only used to find the run here; its
    signature is checked by the run. Runs that have ended stay in ``runs`` for a while, so that a
    member that lost its connection at the end learns how the run went. ``open_for`` surrounds the
    stream of a member for as long as it is open.
    """
    try:
        peer = identify(context)
        first = await anext(frames, None)
        if first is None or first.kind != Kind.HELLO:
            return
        run = runs.get(Hello.decode(first.head).run)
        if run is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such run")
            return
        with open_for(peer):
            async for frame in run.attend(peer, _again(first, frames)):
                yield frame
    except IdentityError as error:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, error.diagnostic.message)
    except TwinwardError as error:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.diagnostic.message)


async def _again(first: Frame, rest: AsyncIterator[Frame]) -> AsyncIterator[Frame]:
    yield first
    async for frame in rest:
        yield frame
