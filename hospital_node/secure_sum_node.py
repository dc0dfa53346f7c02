"""One run at a node: what it answers to each frame, and what it does while it waits.

A vector leaves, frame by frame, in a task of its own, so that an abort is heard while it does;
other members' signatures are checked in another one. Both have ended before the run is closed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from hospital_node.secure_sum_checks import (
    Claim,
    IncomingSum,
    Repeated,
    Standing,
    Terms,
    Total,
    check_sum,
)
from hospital_node.secure_sum_epoch import Epoch
from hospital_node.secure_sum_tasks import Beside
from hospital_node.secure_sum_work import Result, Work
from twinward.errors import CoordinatorUnreachable, TrainingError
from twinward.rpc.messages_pb2 import Frame
from twinward.secsum import transcript
from twinward.secsum.frames import (
    FrameStream,
    StreamBroken,
    StreamEnded,
    kind_of,
    sign_frame,
    signed_of,
)
from twinward.secsum.messages import Abort, Close, Hello, Kind, Next, Reason, fingerprint, raw
from twinward.signing import Identity

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: the sending slot; how long the coordinator may say nothing in and between epochs."""

    slot: float
    silence_in_epoch: float
    silence_between: float


class RunningNode:
    """State of one run at a node; survives a broken stream, not the process.

    Args:
        identity: This node's key.
        terms: What the site has agreed to.
        standing: How far the run has come here.
        work: What to compute, charge and apply.
        timing: See there.
        attempts: How many the node has been charged for before.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        terms: Terms,
        standing: Standing,
        work: Work,
        timing: Timing,
        attempts: int,
    ) -> None:
        self.heard_at = -math.inf
        self._identity = identity
        self._own = raw(identity.public.fingerprint)
        self._terms = terms
        self._standing = standing
        self._work = work
        self._timing = timing
        self._attempts = attempts
        self._epoch: Epoch | None = None
        self._incoming = IncomingSum(terms.words)
        self._last: Total | None = None
        self._beside = Beside()
        self._writing = asyncio.Lock()
        self._patience = asyncio.timeout(None)

    def forget(self) -> None:
        """End the epoch: its keys are gone, and what was still to be sent is not sent."""
        if self._epoch is not None:
            self._epoch.erase()
        self._epoch = None
        self._incoming.forget()

    async def serve(self, stream: FrameStream) -> Result:
        """Follow one stream to the end of the run.

        Raises:
            StreamBroken: It ended before, or nothing came for too long inside an epoch.
            CoordinatorUnreachable: TW6122, nothing came for too long between epochs.
        """
        self._patience = asyncio.timeout(None)
        try:
            async with self._patience:
                return await self._follow(stream)
        except TimeoutError as error:
            if not self._patience.expired():
                raise
            if self._epoch is not None:
                raise StreamBroken("silent") from error
            raise unreachable(self._timing.silence_between) from error
        finally:
            await self._beside.end()

    async def _follow(self, stream: FrameStream) -> Result:
        await self._send(stream, "hello", self._hello())
        if self._finished:
            await self._send(stream, "close", self._close())
        while True:
            try:
                self._wait_anew()
                frame = await self._beside.receive(stream)
            except StreamEnded:
                # The coordinator ends a stream in good order once it holds every closing.
                if self._finished:
                    return self._result()
                raise
            self._patience.reschedule(None)  # while this node works, nobody is silent
            self.heard_at = asyncio.get_running_loop().time()
            await self._handle(stream, frame)

    async def _handle(self, stream: FrameStream, frame: Frame) -> None:
        match kind_of(frame):
            case Kind.OFFER:
                self.forget()
                self._epoch = Epoch.accept(
                    frame, terms=self._terms, standing=self._standing, own=self._own
                )
                self._standing.epoch = self._epoch.offer.epoch
                await self._send(stream, "advertise", self._epoch.advertise(self._identity))
            case Kind.ROSTER:
                epoch = self._epoch
                if epoch is not None and epoch.enter(frame, terms=self._terms, own=self._own):
                    await self._attempt(stream, epoch)
            case Kind.DATA:
                if frame.index == 0:
                    self._incoming.forget()
                self._incoming.take(frame)
            case Kind.SUM:
                await self._take_sum(stream, frame)
            case Kind.ABORT:
                self._abort(frame)
            case kind:
                raise TrainingError(
                    f"the coordinator sent a {kind.name}, which only nodes send",
                    code="TW6101",
                    help="check that every member runs the same version of Twinward",
                )

    async def _attempt(self, stream: FrameStream, epoch: Epoch) -> None:
        """One attempt of one step: fresh contribution, charged durably, masked, sent at its slot.

        Dying before ``mark`` returns: nothing left. Dying after it: charged, may have left.
        """
        step = self._standing.steps + 1
        vector = self._work.contribute(step, epoch.offer.epoch, len(epoch.members))
        frames = epoch.mask(
            vector,
            identity=self._identity,
            terms=self._terms,
            standing=self._standing,
            consent=self._work.consent_head(),
        )
        first = next(frames)
        self._work.mark(epoch.offer.epoch, step)
        self._attempts += 1
        slot, worked = self._timing.slot, asyncio.get_running_loop().time() - self.heard_at
        due = self.heard_at + slot * max(1, math.ceil(worked / slot)) if slot > 0 else 0.0
        leaving = self._leave(stream, epoch, chain([first], frames), due=due)
        if slot > 0 or self._terms.words.pieces > 1:
            self._beside.start(leaving)
        else:
            await leaving

    async def _leave(
        self, stream: FrameStream, epoch: Epoch, frames: Iterator[Frame], *, due: float
    ) -> None:
        """Send a vector, not before it is due; stops when its epoch is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await epoch.over.wait()
        for frame in frames:
            if epoch.over.is_set():
                return
            kind = "data" if frame.kind == Kind.DATA else "masked"
            await self._send(stream, kind, frame, only_in=epoch)
            await asyncio.sleep(0)  # a write that need not wait does not let others run

    async def _take_sum(self, stream: FrameStream, frame: Frame) -> None:
        """Apply a sum that passes every check; it is the starting signal of the next step."""
        standing, epoch = self._standing, self._epoch
        incoming = self._incoming
        part = None if epoch is None else epoch.part(standing.steps + 1)

        def check() -> tuple[Total, bytes]:
            incoming.take(frame)
            total = check_sum(frame, incoming, terms=self._terms, standing=standing, part=part)
            history = transcript.history_next(
                standing.history,
                epoch=total.head.epoch,
                step=total.head.step,
                members=total.members,
                total=total.head.total,
            )
            return total, history

        try:
            total, history = await self._aside(check)
        except Repeated:
            return
        finally:
            incoming.forget()
        await self._beside.settle()  # what was left to check of the step before
        head = total.head
        await self._aside(lambda: self._work.apply(head.step, total.integers))
        standing.history = history
        standing.steps = head.step
        standing.totals[head.step] = head.total
        self._last = total
        if self._finished:
            self.forget()
            self._check_later(total.claims)
            await self._beside.settle()
            await self._send(stream, "close", self._close())
        elif epoch is not None and head.then == Next.STEP:
            await self._attempt(stream, epoch)
            self._check_later(total.claims)
        else:
            self.forget()
            self._check_later(total.claims)

    def _check_later(self, claims: tuple[Claim, ...]) -> None:
        async def check() -> None:
            for claim in claims:
                claim.require()
                await asyncio.sleep(0)

        if claims:
            self._beside.start(check())

    def _abort(self, frame: Frame) -> None:
        abort = signed_of(frame).opened(Abort, self._terms.coordinator)
        if (abort.run, abort.plan) != (self._terms.run, self._terms.plan):
            return
        if abort.reason == Reason.FAILED:
            raise TrainingError(
                "the coordinator ended the run before its last step",
                code="TW6120",
                help="ask the coordinator for the reason; attempts made stay charged",
            )
        if self._epoch is not None and abort.epoch == self._epoch.offer.epoch:
            self.forget()

    async def _send(
        self, stream: FrameStream, kind: str, frame: Frame, *, only_in: Epoch | None = None
    ) -> None:
        """Write one frame after the other; none of an epoch that has ended while it waited."""
        async with self._writing:
            if only_in is None or not only_in.over.is_set():
                self._wait_anew()
                self._work.let_out(kind, frame.ByteSize())
                await stream.send(frame)

    async def _aside(self, work: Callable[[], _T]) -> _T:
        """Work on a whole vector: a large one in a thread, so that the event loop still answers.

        Single pieces are worked on in line, 1 to 2 ms each: a thread for each would cost half as
        much again in fresh memory.
        """
        if self._terms.words.pieces == 1:
            return work()
        return await asyncio.to_thread(work)

    def _wait_anew(self) -> None:
        """From now on the coordinator is waited for."""
        timing = self._timing
        seconds = timing.silence_between if self._epoch is None else timing.silence_in_epoch
        self._patience.reschedule(asyncio.get_running_loop().time() + seconds)

    @property
    def _finished(self) -> bool:
        return self._standing.steps == self._terms.steps

    def _hello(self) -> Frame:
        standing = self._standing
        return sign_frame(
            self._identity,
            Hello(
                run=self._terms.run,
                plan=self._terms.plan,
                epoch=standing.epoch,
                sender=self._own,
                history=standing.history,
                steps=standing.steps,
            ),
        )

    def _close(self) -> Frame:
        assert self._last is not None  # noqa: S101 - a run has at least one step
        return sign_frame(
            self._identity,
            Close(
                run=self._terms.run,
                plan=self._terms.plan,
                epoch=self._last.head.epoch,
                sender=self._own,
                setup=self._last.head.setup,
                history=self._standing.history,
                model=self._work.model_digest(),
                steps=self._standing.steps,
                attempts=self._attempts,
            ),
        )

    def _result(self) -> Result:
        assert self._last is not None  # noqa: S101 - as above
        return Result(
            epoch=self._last.head.epoch,
            history=self._standing.history,
            members=tuple(fingerprint(member) for member in self._last.members),
            attempts=self._attempts,
        )


def unreachable(seconds: float) -> CoordinatorUnreachable:
    """The coordinator is gone, or is there and says nothing."""
    return CoordinatorUnreachable(
        f"the coordinator did not answer for {seconds:g} s",
        code="TW6122",
        help="repeat the command when it is back; attempts made stay charged",
    )
