"""A patient's device talking to a hospital's consent desk: gRPC over TLS, nothing else trusted.

Refusals come back with the desk's own code, cause and fix.
"""

from __future__ import annotations

from typing import Any, Self

import grpc

from consent.letters import Letter
from consent.policy import Rule
from consent.uses import KIND as USES
from twinward import canonical
from twinward.errors import EXIT_UNREACHABLE, ConsentError
from twinward.rpc.messages_pb2 import Blob
from twinward.rpc.messages_pb2_grpc import ConsentDeskStub
from twinward.rpc.replies import refusal_of
from twinward.signing import Document

_SECONDS = 10.0


class DeskUnreachable(ConsentError):
    """The hospital's consent desk did not answer; the same call may be repeated safely."""

    exit_status = EXIT_UNREACHABLE
    default_code = "TW3001"


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

    def terms_of(self, code: bytes) -> dict[str, Any]:
        """The same for the study that the letter with this code asks about."""
        return self._object(self._stub.Terms, {"code": code.hex()})

    def grant(self, body: dict[str, Any]) -> PendingAnswer:
        """Hand in a signed grant; the answer is a receipt's bytes."""
        return self._start(self._stub.Grant, body)

    def withdraw(self, body: dict[str, Any]) -> PendingAnswer:
        """Hand in a withdrawal; the answer is a receipt's bytes."""
        return self._start(self._stub.Withdraw, body)

    def show(self, *, code: bytes, study: bytes) -> dict[str, Any]:
        """What is on record for the holder of the code."""
        return self._object(self._stub.Show, {"code": code.hex(), "study": study.hex()})

    def foresee(self, *, code: bytes, study: bytes, draft: dict[str, Any]) -> Rule:
        """The rule that would decide if the holder of the code signed the draft."""
        body = {"code": code.hex(), "study": study.hex(), "draft": draft}
        return Rule(self._object(self._stub.Show, body)["foreseen"])

    def name_delegate(
        self, *, code: bytes, study: bytes, holder: str, says: str, until: int
    ) -> dict[str, Any]:
        """Name somebody who answers for the holder of the code; their own code is told once."""
        told = {"holder": holder, "says": says, "until": until}
        body = {"code": code.hex(), "study": study.hex(), "delegate": told}
        return self._object(self._stub.Grant, body)

    def end_delegate(self, *, code: bytes, study: bytes, number: int) -> None:
        """End what somebody may answer, whom the holder of the code named."""
        body = {"code": code.hex(), "study": study.hex(), "mandate": number}
        self._object(self._stub.Withdraw, body)

    def notices(self, *, code: bytes, study: bytes) -> dict[str, Any]:
        """Which mails the holder of the code wants, and whether this hospital sends any."""
        body = {"code": code.hex(), "study": study.hex(), "notices": "look"}
        return self._object(self._stub.Show, body)

    def choose_notices(self, *, code: bytes, study: bytes, chosen: dict[str, Any]) -> None:
        """Choose mails, or confirm the address; see ``consent.notice_desk``."""
        body = {"code": code.hex(), "study": study.hex(), "notices": chosen}
        self._object(self._stub.Grant, body)

    def end_notices(self, *, code: bytes, study: bytes) -> None:
        """No mails any more."""
        body = {"code": code.hex(), "study": study.hex(), "notices": "end"}
        self._object(self._stub.Withdraw, body)

    def uses(self, *, code: bytes, study: bytes, check: bool) -> Document:
        """What was done with the data of the holder of the code; see ``consent.uses``."""
        how = "check" if check else "look"
        body = {"code": code.hex(), "study": study.hex(), "uses": how}
        return Document.decode(self._start(self._stub.Show, body).result(), kind=USES, at="uses")

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
            RemoteRefusal: The desk understood and said no, with its own code; it kept nothing.
            ConsentError: TW3023, not an answer of a desk.
        """
        try:
            return bytes(self._call.result().data)
        except grpc.RpcError as error:
            raise refusal_of(error, otherwise=_no_answer(error)) from error


def _no_answer(error: grpc.RpcError) -> ConsentError:
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return DeskUnreachable(
            "the hospital's consent desk does not answer",
            code="TW3001",
            help="try again later; to withdraw at once, call the hospital",
        )
    return _garbled()


def _garbled() -> ConsentError:
    return ConsentError(
        "the hospital's consent desk answered with something unexpected",
        code="TW3023",
        help="try again; if it happens twice, call the hospital",
    )
