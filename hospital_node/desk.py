"""The consent desk on the network: TLS for patients, small bodies, one reply per call."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import grpc.aio

from consent.requests import LARGEST_BODY
from consent.service import ConsentDesk
from hospital_node.egress import Egress
from twinward.errors import TwinwardError
from twinward.rpc.messages_pb2 import Blob
from twinward.rpc.messages_pb2_grpc import ConsentDeskServicer, add_ConsentDeskServicer_to_server
from twinward.rpc.replies import abort
from twinward.rpc.tls import TlsFiles

_FRAMING = 1024


class DeskService(ConsentDeskServicer):  # type: ignore[misc]
    """Carries bodies to the desk and answers back; ``changed`` is told of every write."""

    def __init__(self, desk: ConsentDesk, egress: Egress, *, changed: Callable[[], None]) -> None:
        self._desk = desk
        self._egress = egress
        self._changed = changed

    async def Terms(self, request: Blob, context: grpc.aio.ServicerContext) -> Blob:  # noqa: N802
        """What a patient is asked, as the text that is signed for."""
        return await self._answer(self._desk.terms, request, context)

    async def Grant(self, request: Blob, context: grpc.aio.ServicerContext) -> Blob:  # noqa: N802
        """Take a signed grant."""
        answer = await self._answer(self._desk.grant, request, context)
        self._changed()
        return answer

    async def Withdraw(self, request: Blob, context: grpc.aio.ServicerContext) -> Blob:  # noqa: N802
        """Take a withdrawal; it holds when this answers."""
        answer = await self._answer(self._desk.withdraw, request, context)
        self._changed()
        return answer

    async def Show(self, request: Blob, context: grpc.aio.ServicerContext) -> Blob:  # noqa: N802
        """What is on record for the patient of a letter."""
        return await self._answer(self._desk.show, request, context)

    async def _answer(
        self, call: Callable[[bytes], bytes], request: Blob, context: grpc.aio.ServicerContext
    ) -> Blob:
        try:
            reply = call(request.data)
        except TwinwardError as error:
            await abort(context, error)
        self._egress.let_out("desk", "reply", to="patient", size=len(reply))
        return Blob(data=reply)


def desk_server(service: DeskService, *, tls: TlsFiles, address: str) -> grpc.aio.Server:
    """The desk's server: TLS without client certificates, since patients have none."""
    limit = LARGEST_BODY + _FRAMING
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", limit)])
    add_ConsentDeskServicer_to_server(service, server)
    server.add_secure_port(address, tls.server_credentials(mutual=False))
    return server
