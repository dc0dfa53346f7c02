"""The coordinator's gRPC services: one for hospitals over mTLS, one for its own machine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import grpc
import grpc.aio

from server import studies
from server.coordinator import Coordinator
from server.gate import Gate
from server.members_service import MembersService
from server.queue_keeper import QueueKeeper
from server.run_events import Event
from server.secure_sum_service import serve_session
from twinward.clock import Clock
from twinward.errors import InternalError, TrainingError, TwinwardError
from twinward.logging import log
from twinward.rpc.messages_pb2 import (
    Blob,
    Closing,
    ClosingAnswer,
    Frame,
    Nothing,
    Opening,
    Progress,
)
from twinward.rpc.messages_pb2_grpc import (
    CoordinatorLocalServicer,
    add_CoordinatorLocalServicer_to_server,
    add_NetworkServicer_to_server,
)
from twinward.rpc.replies import abort
from twinward.rpc.tls import TlsFiles


class NetworkService(MembersService):
    """What hospitals may call, each known by its certificate."""

    def __init__(self, coordinator: Coordinator, gate: Gate, *, clock: Clock) -> None:
        super().__init__(coordinator, gate, clock=clock)
        self._identify = gate.identify

    async def Session(  # noqa: N802
        self, request_iterator: AsyncIterator[Frame], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[Frame]:
        """The stream of one hospital in one secure sum."""
        async for frame in serve_session(
            request_iterator,
            context,
            runs=self._coordinator.secure_sums,
            identify=self._identify,
            open_for=self._gate.stream,
        ):
            yield frame

    async def Tip(self, request: Nothing, context: grpc.aio.ServicerContext) -> Blob:  # noqa: N802
        """A fresh signed statement of the ledger's newest block."""
        del request
        try:
            self._gate.identify(context, although_left=True)
            return Blob(data=(await self._coordinator.tip()).encode())
        except TwinwardError as error:
            await abort(context, error)

    async def Witness(self, request: Blob, context: grpc.aio.ServicerContext) -> Blob:  # noqa: N802
        """Take a hospital's co-signatures; tell the newest block that enough others co-signed."""
        try:
            by = self._identify(context)
            return Blob(data=self._coordinator.witnesses.take(by, request.data))
        except TwinwardError as error:
            await abort(context, error)

    async def Checkpoint(  # noqa: N802
        self, request: Blob, context: grpc.aio.ServicerContext
    ) -> Blob:
        """Take a hospital's co-signature of a checkpoint, if it brings one; the newest of them."""
        try:
            by = self._identify(context)
            take = self._coordinator.checkpoints.take
            return Blob(data=await asyncio.to_thread(take, by, request.data))
        except TwinwardError as error:
            await abort(context, error)


class LocalService(CoordinatorLocalServicer):  # type: ignore[misc]
    """What this machine's command line and the thin ServerApp may call, with the token."""

    def __init__(self, coordinator: Coordinator, keeper: QueueKeeper) -> None:
        self._coordinator = coordinator
        self._keeper = keeper
        self._told: set[asyncio.Task[None]] = set()

    async def Status(self, request: Nothing, context: grpc.aio.ServicerContext) -> Blob:  # noqa: N802
        """Processes, members, the run under way."""
        del request
        try:
            return Blob(data=json.dumps(await self._coordinator.status()).encode())
        except TwinwardError as error:
            await abort(context, error)

    async def StartRun(  # noqa: N802
        self, request: Blob, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[Progress]:
        """Start a run and tell its events; the run goes on if the caller hangs up."""
        events: asyncio.Queue[Event | TwinwardError | None] = asyncio.Queue()
        try:
            name = str(json.loads(request.data)["study"])
            identity = self._coordinator.identity.public
            studies.load(self._coordinator.paths.folder, name, identity=identity)
        except TwinwardError as error:
            await abort(context, error)

        task = asyncio.create_task(self._run(name, events))
        self._told.add(task)
        task.add_done_callback(self._told.discard)
        while (event := await events.get()) is not None:
            if isinstance(event, TwinwardError):
                await abort(context, event)
            yield Progress(event=json.dumps(event).encode())

    async def _run(self, study: str, events: asyncio.Queue[Event | TwinwardError | None]) -> None:
        try:
            await self._keeper.run_at_once(study, tell=events.put)
        except TwinwardError as error:
            log().error("run failed", code=error.code, reason=error.diagnostic.message)
            await events.put(error)
        except Exception as error:
            log().error("run failed", error=type(error).__name__)
            await events.put(
                InternalError(
                    f"the run ended by an unexpected {type(error).__name__}",
                    code="TW9002",
                    note=str(error)[:300],
                    help="report it with the coordinator's log; attempts made stay charged",
                )
            )
            raise
        finally:
            await events.put(None)

    async def NextOpening(  # noqa: N802
        self, request: Nothing, context: grpc.aio.ServicerContext
    ) -> Opening:
        """The opening of the run under way, for the thin ServerApp to carry."""
        del request
        run = self._coordinator.run
        if run is None:
            await abort(
                context,
                TrainingError(
                    "no run is under way", code="TW6012", help="start one: `twinward server run`"
                ),
            )
        return run.opening()

    async def Close(  # noqa: N802
        self, request: Closing, context: grpc.aio.ServicerContext
    ) -> ClosingAnswer:
        """A hospital's signed last word, as Flower brought it."""
        run = self._coordinator.run
        if run is None:
            return ClosingAnswer(finished=True)
        try:
            return ClosingAnswer(finished=run.take_closing(request))
        except TwinwardError as error:
            log().warning("closing refused", code=error.code)
            await abort(context, error)


def network_server(service: NetworkService, *, tls: TlsFiles, address: str) -> grpc.aio.Server:
    """The hospitals' server: every call needs a certificate of the network's CA."""
    server = grpc.aio.server()
    add_NetworkServicer_to_server(service, server)
    server.add_secure_port(address, tls.server_credentials(mutual=True))
    return server


def add_local(service: LocalService, server: grpc.aio.Server) -> None:
    """Attach the local service."""
    add_CoordinatorLocalServicer_to_server(service, server)
