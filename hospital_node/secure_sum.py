"""A node's side of secure sum profile A: one stream, one step per round trip, until the run closes.

What leaves the machine, each through ``let_out`` first: a greeting, fresh public keys, masked and
noised vectors, a signed closing. What is durable when: ``mark`` returns (fsync) before the vector
that it counts is sent, so a process that dies in between has paid for a vector that never left,
never the reverse. Keys are in memory only; after a crash the node enters the next epoch, told the
sums it missed. Python cannot wipe memory: erasing means dropping every reference.

Never the same noisy vector under two sets: ``_attempt`` is the only place that calls
``contribute``; its vector is a local variable that is masked once and forgotten, and no message is
ever sent twice. A new epoch asks for a fresh contribution with fresh noise.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hospital_node.secure_sum_checks import Repeated, Standing, Terms, Total, check_sum
from hospital_node.secure_sum_epoch import Epoch
from twinward.errors import CoordinatorUnreachable, TrainingError
from twinward.ids import Fingerprint
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
from twinward.secsum.masks import WordFormat
from twinward.secsum.messages import Abort, Close, Hello, Kind, Next, Reason, raw
from twinward.signing import Identity, PublicIdentity

OpenStream = Callable[[], AbstractAsyncContextManager[FrameStream]]
_FIRST_RETRY_SECONDS = 0.02
_LONGEST_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Work:
    """What the daemon does for a run; called in the event loop, one at a time, in this order.

    Attributes:
        contribute: ``(step, epoch, members)`` to the vector in grid steps, **with fresh noise at
            every call**; steps and epochs count from 1.
        mark: ``(epoch, step)``; charges the attempt durably, raises when none are left.
        apply: ``(step, sum)``; updates the weights with a sum that passed every check.
        consent_head: 32 bytes, the consent head under which the last contribution was made.
        model_digest: 32 bytes, digest of the weights to release; asked after the last step.
        let_out: ``(kind, bytes)``; the gate, notes every message before it leaves.
    """

    contribute: Callable[[int, int, int], NDArray[np.int64]]
    mark: Callable[[int, int], None]
    apply: Callable[[int, NDArray[np.int64]], None]
    consent_head: Callable[[], bytes]
    model_digest: Callable[[], bytes]
    let_out: Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run as this node saw it: the last epoch and its members, h_T, what was charged."""

    epoch: int
    history: bytes
    members: tuple[Fingerprint, ...]
    attempts: int


async def run_session(
    open_stream: OpenStream,
    *,
    work: Work,
    identity: Identity,
    members: Mapping[Fingerprint, PublicIdentity],
    coordinator: PublicIdentity,
    run: bytes,
    plan_digest: bytes,
    dimension: int,
    word_bits: int,
    max_abs_sum: int,
    steps: int,
    slot_seconds: float,
    patience_seconds: float,
    last_epoch: int = 0,
    attempts_before: int = 0,
) -> Result:
    """Take part in a run until it is closed; reconnects and waits for the next epoch on a break.

    Args:
        open_stream: Opens a stream to the coordinator (``hospital_node.secure_sum_stream``).
        work: What to compute, charge and apply.
        identity: This node's key.
        members: Peers that the site accepts, by fingerprint; this node may be among them.
        coordinator: Whose offers and sums are believed, as far as they can be checked.
        run: 32 bytes that name the run.
        plan_digest: Digest of the plan that the site approved.
        dimension: Coordinates of a vector.
        word_bits: 32 or 64.
        max_abs_sum: Largest acceptable coordinate of a sum, in grid steps.
        steps: T.
        slot_seconds: A vector leaves this long after its starting signal, or a whole multiple
            later if it took longer: arrival time must not tell the size of the cohort.
        patience_seconds: How long the coordinator may be unreachable.
        last_epoch: The highest epoch this node has a mark of in this run, from its book.
        attempts_before: Attempts of this run that an earlier process marked.

    Raises:
        CoordinatorUnreachable: TW6122; the same call may be repeated.
        IdentityError, TrainingError: see ``secure_sum_checks``, ``secure_sum_epoch`` and
            docs/errors; whatever was marked stays charged.
    """
    own = raw(identity.public.fingerprint)
    accepted = {raw(fingerprint): peer for fingerprint, peer in members.items()}
    terms = Terms(
        run=run,
        plan=plan_digest,
        words=WordFormat(word_bits, dimension),
        steps=steps,
        max_abs_sum=min(max_abs_sum, (1 << (word_bits - 1)) - 1),
        coordinator=coordinator,
        peers={**accepted, own: identity.public},
    )
    standing = Standing(transcript.history_start(run, plan_digest), epoch=last_epoch)
    node = _Node(
        identity,
        terms=terms,
        standing=standing,
        work=work,
        slot_seconds=slot_seconds,
        attempts=attempts_before,
    )
    loop = asyncio.get_running_loop()
    lost_at, pause = loop.time(), _FIRST_RETRY_SECONDS
    while True:
        try:
            async with open_stream() as stream:
                return await node.serve(stream)
        except StreamBroken as broken:
            if node.heard_at > lost_at:
                lost_at, pause = loop.time(), _FIRST_RETRY_SECONDS
            if loop.time() - lost_at > patience_seconds:
                raise CoordinatorUnreachable(
                    f"the coordinator did not answer for {patience_seconds:g} s",
                    code="TW6122",
                    help="repeat the command when it is back; attempts made stay charged",
                ) from broken
        finally:
            node.forget()
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_RETRY_SECONDS)


class _Node:
    """State of one run at a node; survives a broken stream, not the process."""

    def __init__(
        self,
        identity: Identity,
        *,
        terms: Terms,
        standing: Standing,
        work: Work,
        slot_seconds: float,
        attempts: int,
    ) -> None:
        self.heard_at = -math.inf
        self._identity = identity
        self._own = raw(identity.public.fingerprint)
        self._terms = terms
        self._standing = standing
        self._work = work
        self._slot = slot_seconds
        self._attempts = attempts
        self._epoch: Epoch | None = None
        self._pending: tuple[float, Frame] | None = None
        self._last: Total | None = None

    def forget(self) -> None:
        """End the epoch: keys and the vector that was waiting for its slot are gone."""
        if self._epoch is not None:
            self._epoch.erase()
        self._epoch = self._pending = None

    async def serve(self, stream: FrameStream) -> Result:
        """Follow one stream to the end of the run; ``StreamBroken`` if it ends before."""
        await self._send(stream, "hello", self._hello())
        if self._finished:
            await self._send(stream, "close", self._close())
        while True:
            try:
                frame = await self._next(stream)
            except StreamEnded:
                # The coordinator ends a stream in good order once it holds every closing.
                if self._finished:
                    return self._result()
                raise
            if frame is None:
                assert self._pending is not None  # noqa: S101 - _next waits only for that
                (_, masked), self._pending = self._pending, None
                await self._send(stream, "masked", masked)
                continue
            self.heard_at = asyncio.get_running_loop().time()
            await self._handle(stream, frame)

    async def _next(self, stream: FrameStream) -> Frame | None:
        """The next frame, or None when the pending vector's slot has come."""
        if self._pending is None:
            return await stream.receive()
        try:
            async with asyncio.timeout_at(self._pending[0]):
                return await stream.receive()
        except TimeoutError:
            return None

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
        masked = epoch.mask(
            vector,
            identity=self._identity,
            terms=self._terms,
            standing=self._standing,
            consent=self._work.consent_head(),
        )
        self._work.mark(epoch.offer.epoch, step)
        self._attempts += 1
        if self._slot <= 0:
            await self._send(stream, "masked", masked)
            return
        worked = asyncio.get_running_loop().time() - self.heard_at
        slots = max(1, math.ceil(worked / self._slot))
        self._pending = (self.heard_at + slots * self._slot, masked)

    async def _take_sum(self, stream: FrameStream, frame: Frame) -> None:
        """Apply a sum that passes every check; it is the starting signal of the next step."""
        standing, epoch = self._standing, self._epoch
        part = None if epoch is None else epoch.part(standing.steps + 1)
        try:
            total = check_sum(frame, terms=self._terms, standing=standing, part=part)
        except Repeated:
            return
        head = total.head
        self._work.apply(head.step, total.integers)
        standing.history = transcript.history_next(
            standing.history,
            epoch=head.epoch,
            step=head.step,
            members=total.members,
            total=total.integers,
        )
        standing.steps = head.step
        standing.totals[head.step] = head.total
        self._last = total
        if self._finished:
            self.forget()
            await self._send(stream, "close", self._close())
        elif epoch is not None and head.then == Next.STEP:
            await self._attempt(stream, epoch)
        else:
            self.forget()

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

    async def _send(self, stream: FrameStream, kind: str, frame: Frame) -> None:
        self._work.let_out(kind, frame.ByteSize())
        await stream.send(frame)

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
            members=tuple(Fingerprint(member.hex()) for member in self._last.members),
            attempts=self._attempts,
        )
