"""The consent desk on the wire: gRPC over TLS, one servicer and one client.

Errors travel as canonical JSON with their code, cause and fix, so a patient's device shows the
same words as the hospital's log. Anything unexpected travels as "internal", without detail.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import grpc

from consent.letters import Letter
from consent.service import ConsentDesk
from twinward import canonical
from twinward.errors import EXIT_UNREACHABLE, ConsentError, TwinwardError, UsageError
from twinward.rpc.messages_pb2 import Blob
from twinward.rpc.messages_pb2_grpc import (
    ConsentDeskServicer,
    ConsentDeskStub,
    add_ConsentDeskServicer_to_server,
)

_SECONDS = 10.0


class DeskUnreachable(ConsentError):
    """The hospital's consent desk did not answer; the same call may be repeated safely."""

    exit_status = EXIT_UNREACHABLE
    default_code = "TW3001"


class DeskRefused(ConsentError):
    """The desk understood the request and said no, for the reason that it gave; it kept nothing."""


class DeskServicer(ConsentDeskServicer):  # type: ignore[misc]
    """Thin adapter from gRPC to `ConsentDesk`; works in a blocking and in an aio server."""

    def __init__(self, desk: ConsentDesk) -> None:
        self._desk = desk

    def Terms(self, request: Blob, context: grpc.ServicerContext) -> Blob:  # noqa: N802 - gRPC
        """What a patient is asked."""
        return _answer(self._desk.terms, request, context)

    def Grant(self, request: Blob, context: grpc.ServicerContext) -> Blob:  # noqa: N802 - gRPC
        """Take a signed grant."""
        return _answer(self._desk.grant, request, context)

    def Withdraw(self, request: Blob, context: grpc.ServicerContext) -> Blob:  # noqa: N802 - gRPC
        """Take a withdrawal, signed or by letter code."""
        return _answer(self._desk.withdraw, request, context)

    def Show(self, request: Blob, context: grpc.ServicerContext) -> Blob:  # noqa: N802 - gRPC
        """What is on record for the holder of a letter."""
        return _answer(self._desk.show, request, context)


def add_desk(desk: ConsentDesk, server: grpc.Server | grpc.aio.Server) -> None:
    """Serve the desk; the caller binds the TLS port (without client certificates) and starts."""
    add_ConsentDeskServicer_to_server(DeskServicer(desk), server)


def _answer(call: Callable[[bytes], bytes], request: Blob, context: grpc.ServicerContext) -> Blob:
    try:
        return Blob(data=call(request.data))
    except TwinwardError as error:
        status = (
            grpc.StatusCode.INVALID_ARGUMENT
            if isinstance(error, UsageError)
            else grpc.StatusCode.FAILED_PRECONDITION
        )
        context.abort(status, canonical.encode(error.diagnostic.as_json()).decode())
        raise  # abort has raised already


class DeskClient:
    """A patient's device talking to one hospital's desk, trusting the letter's authority alone."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._stub = ConsentDeskStub(channel)

    @classmethod
    def of(cls, letter: Letter) -> Self:
        """Connect to the desk that a letter names."""
        credentials = grpc.ssl_channel_credentials(root_certificates=letter.ca.encode())
        return cls(grpc.secure_channel(letter.desk, credentials))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def terms(self, study: bytes) -> dict[str, Any]:
        """The study, the text to show and its digest, as the desk states them."""
        return self._object(self._stub.Terms, {"study": study.hex()})

    def grant(self, body: dict[str, Any]) -> PendingAnswer:
        """Hand in a signed grant; the answer is a receipt's bytes."""
        return self._start(self._stub.Grant, body)

    def withdraw(self, body: dict[str, Any]) -> PendingAnswer:
        """Hand in a withdrawal; the answer is a receipt's bytes."""
        return self._start(self._stub.Withdraw, body)

    def show(self, *, code: bytes, study: bytes) -> dict[str, Any]:
        """What is on record for the holder of the code."""
        return self._object(self._stub.Show, {"code": code.hex(), "study": study.hex()})

    def _object(self, method: Any, body: dict[str, Any]) -> dict[str, Any]:
        value = canonical.decode(self._start(method, body).result(), at="answer of the desk")
        if not isinstance(value, dict):
            raise _garbled()
        return value

    @staticmethod
    def _start(method: Any, body: dict[str, Any]) -> PendingAnswer:
        return PendingAnswer(method.future(Blob(data=canonical.encode(body)), timeout=_SECONDS))


class PendingAnswer:
    """An answer on its way: many patients of one process can wait side by side."""

    def __init__(self, call: grpc.Future) -> None:
        self._call = call

    def result(self) -> bytes:
        """Wait for the answer.

        Raises:
            DeskUnreachable: TW3001.
            DeskRefused: The desk's own code.
            ConsentError: TW3023, not an answer of a desk.
        """
        try:
            return bytes(self._call.result().data)
        except grpc.RpcError as error:
            raise _refusal(error) from error


def _refusal(error: grpc.RpcError) -> ConsentError:
    status, details = error.code(), error.details() or ""
    if status in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT):
        try:
            said = canonical.decode(details.encode(), at="answer of the desk")
            return DeskRefused(
                str(said["message"]),
                code=str(said["code"]),
                help=str(said["help"]),
                note=said.get("note"),
            )
        except (TwinwardError, KeyError, TypeError, AttributeError):
            return _garbled()
    if status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return DeskUnreachable(
            "the hospital's consent desk does not answer",
            help="try again later; to withdraw at once, call the hospital",
        )
    return _garbled()


def _garbled() -> ConsentError:
    return ConsentError(
        "the hospital's consent desk answered with something unexpected",
        code="TW3023",
        help="try again; if it happens twice, call the hospital",
    )
