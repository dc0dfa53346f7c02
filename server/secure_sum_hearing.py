"""Hearing the members: an acceptable answer from each before the deadline, or the epoch is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from server.secure_sum_pace import Pace
from server.secure_sum_seats import Seat, Seats
from server.secure_sum_state import RunState
from twinward.errors import TwinwardError
from twinward.rpc.messages_pb2 import Frame
from twinward.secsum.messages import Kind, Reason

Take = Callable[[Seat, Frame], Awaitable[bool]]
"""Takes one frame; True once this member's answer is complete. Raises if it cannot be honest."""


class Lost(Exception):
    """The epoch is dead because of these members."""

    def __init__(self, reason: Reason, missing: list[Seat]) -> None:
        super().__init__(reason.name)
        self.reason = reason
        self.missing = missing


class Hearing:
    """What members say, in order of arrival; ``pace`` says which silence ends an attempt."""

    def __init__(self, seats: Seats, state: RunState, *, pace: Pace) -> None:
        self._seats = seats
        self._state = state
        self._pace = pace

    async def event(self, until: float) -> tuple[Seat, Frame | None]:
        """The next event; a member that says hello is first told what it missed.

        Raises:
            TimeoutError: Nothing happened until then (event-loop time, seconds).
        """
        seat, frame = await self._seats.event(until)
        if frame is not None and frame.kind == Kind.HELLO and seat.alive and not seat.ready:
            try:
                missed = self._state.missed_by(frame, seat.identity)
            except TwinwardError:
                self._expel(seat)
            else:
                seat.send_each(missed)
                seat.ready = True
        return seat, frame

    async def ready(
        self, count: int, *, seconds: float, enough: Callable[[list[Seat]], bool] = lambda _: True
    ) -> list[Seat]:
        """Members that can enter an epoch: as soon as there are so many, or after this time."""
        until = now() + seconds
        while len(seats := self._seats.ready()) < count or not enough(seats):
            try:
                await self.event(until)
            except TimeoutError:
                break
        return self._seats.ready()

    async def answers(self, seats: list[Seat], *kinds: Kind, take: Take) -> None:
        """Wait until each seat's answer is complete; late or double frames drop.

        Raises:
            Lost: One of the seats broke off, stayed silent or broke the protocol.
        """
        waiting, until = set(seats), now() + self._pace.deadline
        if gone := [seat for seat in seats if not seat.alive]:
            raise Lost(Reason.BROKEN, gone)
        while waiting:
            try:
                seat, frame = await self.event(until)
            except TimeoutError:
                raise Lost(Reason.SILENT, list(waiting)) from None
            if frame is None and seat in seats:
                raise Lost(Reason.BROKEN, [seat])
            if frame is None or seat not in waiting or frame.kind not in kinds:
                continue
            try:
                complete = await take(seat, frame)
            except TwinwardError:
                self._expel(seat)
                raise Lost(Reason.BROKEN, [seat]) from None
            if complete:
                waiting.discard(seat)

    def _expel(self, seat: Seat) -> None:
        self._seats.expel(seat, self._state.abort(Reason.FAILED, (seat.peer,)))


def now() -> float:
    """Event-loop time in seconds."""
    return asyncio.get_running_loop().time()
