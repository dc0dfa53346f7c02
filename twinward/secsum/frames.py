"""Frames on a stream: the protobuf envelope around signed heads, and what a stream must offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twinward.errors import TrainingError
from twinward.rpc.messages_pb2 import Frame
from twinward.secsum.messages import Head, Kind, Signed
from twinward.signing import Identity


class StreamBroken(Exception):
    """The other side of a stream is gone; whatever epoch it was in is over."""


class StreamEnded(StreamBroken):
    """The other side ended the stream in good order."""


class FrameStream(Protocol):
    """One side of a bidirectional stream, as a node sees it."""

    async def send(self, frame: Frame) -> None:
        """Hand over one frame; raises ``StreamBroken``."""
        ...

    async def receive(self) -> Frame:
        """The next frame; raises ``StreamBroken`` at its end. Safe to cancel."""
        ...


def sign_frame(
    identity: Identity, head: Head, *, data: bytes = b"", heads: Sequence[bytes] = ()
) -> Frame:
    """A frame with this head, signed."""
    return pack(head.KIND, Signed.by(identity, head), data=data, heads=heads)


def pack(kind: Kind, signed: Signed, *, data: bytes = b"", heads: Sequence[bytes] = ()) -> Frame:
    """A frame around a head that is already signed."""
    return Frame(kind=kind, head=signed.head, signature=signed.signature, data=data, heads=heads)


def signed_of(frame: Frame) -> Signed:
    """The signed head of a frame, still unverified."""
    return Signed(frame.head, frame.signature)


def kind_of(frame: Frame) -> Kind:
    """What the frame claims to be; its head says it again, under the signature.

    Raises:
        TrainingError: TW6101, no such kind.
    """
    try:
        return Kind(frame.kind)
    except ValueError as error:
        raise TrainingError(
            f"a secure-sum frame is of unknown kind {frame.kind}",
            code="TW6101",
            help="check that every member runs the same version of Twinward",
        ) from error
