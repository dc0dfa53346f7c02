"""Who is connected to a run: one seat per member, all that they send in one queue of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from typing import Any

from twinward.errors import IdentityError
from twinward.ids import Fingerprint
from twinward.rpc.messages_pb2 import Frame
from twinward.secsum.messages import raw
from twinward.signing import PublicIdentity

_FRAMES_AHEAD = 4
"""How much of one member's stream may wait to be worked on; more is not read from the network."""


class Seat:
    """One stream of one member. ``ready`` once it holds the same sums as the run."""

    def __init__(self, peer: bytes, identity: PublicIdentity) -> None:
        self.peer = peer
        self.identity = identity
        self.ready = False
        self.alive = True
        self.room = asyncio.Semaphore(_FRAMES_AHEAD)
        self._outbox: asyncio.Queue[Iterable[Frame] | None] = asyncio.Queue()

    def send(self, *frames: Frame) -> None:
        """Queue frames; frames to a seat that has ended are dropped."""
        self.send_each(frames)

    def send_each(self, frames: Iterable[Frame]) -> None:
        """Queue frames that are made when their turn comes."""
        if self.alive:
            self._outbox.put_nowait(frames)

    def end(self) -> None:
        """End the stream in good order after what is queued."""
        self.alive = False
        self._outbox.put_nowait(None)

    async def outgoing(self) -> AsyncIterator[Frame]:
        """Frames to write to the stream, until its end."""
        while (frames := await self._outbox.get()) is not None:
            for frame in frames:
                yield frame


class Seats:
    """All seats of a run and the queue of what happens at them, in order of arrival.

    An event is a seat and its frame, or None when its stream is gone. A member that connects again
    takes the place of its older stream, which counts as broken.
    """

    def __init__(self, members: Mapping[bytes, PublicIdentity]) -> None:
        self._members = members
        self._seats: dict[bytes, Seat] = {}
        self._expelled: set[bytes] = set()
        self._events: asyncio.Queue[tuple[Seat, Frame | None]] = asyncio.Queue()

    def ready(self) -> list[Seat]:
        """Seats that can enter an epoch, in order of fingerprint."""
        return sorted(
            (seat for seat in self._seats.values() if seat.ready), key=lambda seat: seat.peer
        )

    def everyone(self) -> list[Seat]:
        """All connected seats."""
        return list(self._seats.values())

    async def event(self, deadline: float) -> tuple[Seat, Frame | None]:
        """The next event; ``TimeoutError`` at the deadline (event-loop time, seconds)."""
        async with asyncio.timeout_at(deadline):
            seat, frame = await self._events.get()
        if frame is not None:
            seat.room.release()
        return seat, frame

    def drop(self, seat: Seat) -> None:
        """End a seat; its member may connect again and enters the next epoch."""
        seat.ready = False
        if self._seats.get(seat.peer) is seat:
            del self._seats[seat.peer]
        if seat.alive:
            seat.end()
            self._events.put_nowait((seat, None))

    def expel(self, seat: Seat, farewell: Frame) -> None:
        """End a seat whose member broke the protocol; it is not let in again in this run."""
        self._expelled.add(seat.peer)
        seat.send(farewell)
        self.drop(seat)

    async def attend(self, peer: Fingerprint, frames: AsyncIterator[Any]) -> AsyncIterator[Frame]:
        """Serve one stream: takes its frames, yields what is to be sent back.

        Raises:
            IdentityError: TW6130, not a member of this run, or expelled from it.
        """
        identity = self._members.get(raw(peer))
        if identity is None or raw(peer) in self._expelled:
            raise IdentityError(
                f"{peer[:16]} is not a member of this run",
                code="TW6130",
                help="only the hospitals named in the plan take part in its runs",
            )
        seat = Seat(raw(peer), identity)
        if older := self._seats.get(seat.peer):
            self.drop(older)
        self._seats[seat.peer] = seat
        reader = asyncio.create_task(self._read(seat, frames))
        try:
            async for frame in seat.outgoing():
                yield frame
        finally:
            reader.cancel()
            self.drop(seat)

    async def _read(self, seat: Seat, frames: AsyncIterator[Any]) -> None:
        # However a stream breaks, it means the same: this member is gone.
        with suppress(Exception):
            async for frame in frames:
                await seat.room.acquire()
                self._events.put_nowait((seat, frame))
        self.drop(seat)
