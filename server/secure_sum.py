"""The coordinator's side of secure sum profile A: adds masked vectors, never sees one bare.

An epoch has an immutable set of members. When one of them breaks off or falls silent, the attempt
is dead for all: abort, fresh keys, fresh noise, a new epoch with those who are there. A member that
comes back is sent the sums it missed and enters the next epoch. What is durable when: an epoch's
number before it is offered, an epoch before its roster is sent, a step before its sum is sent. If
the coordinator dies, its next process goes on from the transcript, which holds every step that any
node can have applied: the attempt under way is given up like any other (ADR 13).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeVar

from server.secure_sum_attempt import Attempt, RunTerms
from server.secure_sum_hearing import Hearing, Lost, now
from server.secure_sum_outcome import Outcome, Progress, names, put_back, too_small, unsigned
from server.secure_sum_pace import Pace
from server.secure_sum_seats import Seat, Seats
from server.secure_sum_state import RunState, Summed, contradiction
from server.transcript import AttemptRecord, EpochRecord, Transcript
from twinward.errors import TrainingError
from twinward.ids import Fingerprint
from twinward.rpc.messages_pb2 import Frame
from twinward.secsum.frames import signed_of
from twinward.secsum.messages import Kind, Next, Reason, Signed, fingerprint, raw
from twinward.secsum.profile import MIN_MEMBERS, noise_shares
from twinward.secsum.words import Integers, WordFormat
from twinward.signing import Identity, PublicIdentity

_T = TypeVar("_T")
Without = Callable[[Collection[Fingerprint], TrainingError], Awaitable[TrainingError]]
"""Who is there, and why they are too few; the same refusal, with the names of who is missing."""


class SecureSumRun:
    """One run: streams come in through ``attend``, ``drive`` takes it from offer to closing.

    Args:
        identity: The coordinator's key.
        run: 32 bytes that name the run.
        plan_digest: Digest of the plan.
        members: The hospitals of the plan, by fingerprint.
        dimension: Coordinates of a vector.
        word_bits: 32 or 64.
        max_abs_sum: Largest acceptable coordinate of a sum, in grid steps.
        steps: T.
        spare_attempts: R.
        deadline_seconds: Least silence that ends an attempt (``Pace``); must exceed the plan's
            sending slot.
        record: The durable transcript of this run; the caller closes it.
        progress: Told of each event after the frames it describes were handed to the streams.
        combine: What takes the place of adding vectors that are not masked.
        enough: Whether so many patients are behind these members that an epoch may begin.
        without: Told who is there when they are too few; says the refusal with who is not.
        goes_on: Whether a stop of this process leaves the run open for its next one.
        taken_up: Whether ``record`` is of a run that such a stop interrupted.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        run: bytes,
        plan_digest: bytes,
        members: Mapping[Fingerprint, PublicIdentity],
        dimension: int,
        word_bits: int,
        max_abs_sum: int,
        steps: int,
        spare_attempts: int,
        deadline_seconds: float,
        record: Transcript,
        progress: Callable[[Progress], Awaitable[None]],
        combine: Callable[[Sequence[Integers]], Integers] | None = None,
        enough: Callable[[Collection[Fingerprint]], bool] = lambda _: True,
        without: Without | None = None,
        goes_on: bool = False,
        taken_up: bool = False,
    ) -> None:
        terms = RunTerms(
            run=run,
            plan=plan_digest,
            words=WordFormat(word_bits, dimension),
            max_abs_sum=min(max_abs_sum, (1 << (word_bits - 1)) - 1),
            steps=steps,
            attempts=steps + spare_attempts,
            combine=combine,
        )
        self._last: EpochRecord | None = None
        self._taken_up = taken_up
        if taken_up:
            self._state = RunState.taken_up(identity, terms, record)
            self._last = max(record.epochs(), key=lambda one: one.epoch, default=None)
        else:
            self._state = RunState(identity, terms)
        self._seats = Seats({raw(name): member for name, member in members.items()})
        self._member_count = len(members)
        self._pace = Pace(deadline_seconds)
        self._hearing = Hearing(self._seats, self._state, pace=self._pace)
        self._enough = enough
        self._without = without
        self._record = record
        self._progress = progress
        self._over = False
        self._farewell: Frame | None = None
        self._goes_on = goes_on
        self._signal_at = 0.0

    async def attend(self, peer: Fingerprint, frames: AsyncIterator[Frame]) -> AsyncIterator[Frame]:
        """Serve the stream of a member whose certificate has been checked.

        Raises:
            IdentityError: TW6130, not a member.
        """
        if self._over:  # it comes back after the end: tell it how things went
            if self._farewell is not None:
                yield self._farewell
            elif self._state.is_complete:
                for frame in self._state.frames(after=0):
                    yield frame
            return
        async for frame in self._seats.attend(peer, frames):
            yield frame

    @property
    def steps_made(self) -> int:
        """How many steps have a sum."""
        return len(self._state.summed)

    def give_up(self) -> None:
        """A cancellation that comes from now on ends the run, and not this process alone."""
        self._goes_on = False

    async def drive(self, *, gather_seconds: float, patience_seconds: float) -> Outcome:
        """Run all steps with whoever is there; returns when every member has signed its closing.

        Args:
            gather_seconds: How long to wait for all members before starting with at least three.
            patience_seconds: How long to wait, with too few members or for closings, for a member
                to come back.

        Raises:
            TrainingError: TW6100 fewer than three members; TW6131 a sum that is none; TW6132 no
                attempts left; TW6134 a member of the last epoch did not sign; TW6135 closings
                that contradict each other; TW6248 the record is of a backup.
        """
        state = self._state
        try:
            if not state.is_complete:
                await self._hearing.ready(self._member_count, seconds=gather_seconds)
            while not state.is_complete:
                seats = await self._assemble(patience_seconds)
                try:
                    self._last = await self._open_epoch(seats)
                    await self._run_epoch(self._last, seats)
                except Lost as lost:
                    await self._abandon(lost, seats)
            assert self._last is not None  # noqa: S101 - a step was made in some epoch
            epoch = self._last
            outcome = await self._close(epoch, patience_seconds)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and self._goes_on:
                raise  # streams break with the process: ended in good order they would say "done"
            self._end(state.abort(Reason.FAILED, ()))
            self._record.fail(str(error) or type(error).__name__)
            raise
        self._end()
        await self._tell("closed", epoch.members)
        return outcome

    async def _assemble(self, seconds: float) -> list[Seat]:
        """Everyone who is ready; refuses too few members or attempts before it offers anything."""
        steps_left = self._state.terms.steps - self._state.step + 1
        if steps_left > self._state.attempts_left:
            raise TrainingError(
                f"{steps_left} steps are to be made, but only {self._state.attempts_left} "
                "attempts are left",
                code="TW6132",
                note="every attempt in which a vector may have left a hospital is charged",
                help="find out why members break off, then start a new run",
            )
        seats = await self._hearing.ready(MIN_MEMBERS, seconds=seconds, enough=self._are_enough)
        there = names(seat.peer for seat in seats)
        try:
            noise_shares(len(seats))
            if not self._are_enough(seats):
                raise too_small(there)
        except TrainingError as error:
            said = error if self._without is None else await self._without(there, error)
            raise (put_back() if self._taken_up and self._state.ahead else said) from None
        return seats

    def _are_enough(self, seats: Sequence[Seat]) -> bool:
        return self._enough(names(seat.peer for seat in seats))

    async def _open_epoch(self, seats: list[Seat]) -> EpochRecord:
        """M1 to M3; the epoch is durable before its roster, the starting signal, is sent."""
        opened, offer = self._state.offer(tuple(seat.peer for seat in seats))
        self._record.offer(opened.epoch)
        self._signal_at = now()
        for seat in seats:
            seat.send(offer)

        async def take(seat: Seat, frame: Frame) -> bool:
            return self._state.take_advert(opened, frame, seat.identity)

        await self._hearing.answers(seats, Kind.ADVERTISE, take=take)
        epoch, roster = self._state.roster(opened)
        self._record.add_epoch(epoch)
        self._state.attempts += 1
        for seat in seats:
            seat.send(roster)
        await self._tell("epoch", epoch.members)
        return epoch

    async def _run_epoch(self, epoch: EpochRecord, seats: list[Seat]) -> None:
        """Steps until the last one, until a member waits to come in, or until ``Lost``."""
        state, then = self._state, Next.STEP
        while then is Next.STEP:
            attempt = state.attempt(epoch)
            try:
                await self._hear_sum(attempt, seats)
            except (Lost, TrainingError) as error:
                lost = error.missing if isinstance(error, Lost) else []
                missing = tuple(sorted(seat.peer for seat in lost))
                self._record.add_attempt(
                    AttemptRecord(epoch.epoch, state.step, attempt.masked, missing)
                )
                raise
            self._pace.took(now() - self._signal_at)
            then = await self._publish(attempt, newcomers=self._newcomers(seats))
            await self._tell("step", epoch.members, step=attempt.step)
            self._signal_at = now()

    async def _hear_sum(self, attempt: Attempt, seats: list[Seat]) -> None:
        async def take(seat: Seat, frame: Frame) -> bool:
            return attempt.take(frame, seat.identity)

        await self._hearing.answers(seats, Kind.DATA, Kind.MASKED, take=take)
        attempt.settle()
        await self._aside(lambda: self._state.require_sum(attempt))

    async def _publish(self, attempt: Attempt, *, newcomers: bool) -> Next:
        """M5, durable before anyone can apply it."""
        state, epoch, step = self._state, attempt.epoch.epoch, attempt.step
        signed, heads, history, then = await self._aside(
            lambda: state.sign_sum(attempt, newcomers=newcomers)
        )
        total = await self._aside(lambda: self._record.totals.keep(epoch, step, attempt.total))
        self._record.add_attempt(AttemptRecord(epoch, step, attempt.masked, (), signed, total))
        summed = Summed(signed, heads, total)
        state.take_sum(summed, history)
        state.attempts += then is Next.STEP
        frames = summed.frames()
        for seat in self._seats.ready():
            seat.send_each(frames)
        return then

    def _newcomers(self, seats: list[Seat]) -> bool:
        return len(self._seats.ready()) > len(seats)

    async def _aside(self, work: Callable[[], _T]) -> _T:
        """Work on a vector: a large one in a thread, so that the event loop still answers."""
        if self._state.terms.words.pieces == 1:
            return work()
        return await asyncio.to_thread(work)

    async def _abandon(self, lost: Lost, seats: list[Seat]) -> None:
        """Tell everyone that the epoch is dead; who was silent must connect again."""
        missing = tuple(sorted(seat.peer for seat in lost.missing))
        if lost.reason is Reason.SILENT:
            self._pace.took(now() - self._signal_at)
        frame = self._state.abort(lost.reason, missing)
        for seat in lost.missing:
            self._seats.drop(seat)
        for seat in seats:
            seat.send(frame)
        await self._tell(
            "lost",
            tuple(seat.peer for seat in seats),
            missing=missing,
            silent=lost.reason is Reason.SILENT,
        )

    async def _close(self, epoch: EpochRecord, seconds: float) -> Outcome:
        """Collect M6 of every member of the last epoch; durable before the run counts as done."""
        state, until = self._state, now() + seconds
        closings: dict[bytes, Signed] = {}
        models: set[bytes] = set()
        while missing := [member for member in epoch.members if member not in closings]:
            try:
                seat, frame = await self._hearing.event(until)
            except TimeoutError:
                raise unsigned(missing) from None
            if frame is None or frame.kind != Kind.CLOSE or seat.peer not in missing:
                continue
            close = state.take_close(epoch, frame, seat.identity)
            closings[seat.peer] = signed_of(frame)
            models.add(close.model)
            if len(models) > 1:
                raise contradiction(seat.identity)
        self._record.finish(closings)
        return Outcome(
            epoch=epoch.epoch,
            members=names(epoch.members),
            history=state.histories[-1],
            model=models.pop(),
            attempts=state.attempts,
            sums=state.sums(),
            closings={fingerprint(member): signed for member, signed in closings.items()},
        )

    def _end(self, farewell: Frame | None = None) -> None:
        self._over, self._farewell = True, farewell
        for seat in self._seats.everyone():
            if farewell is not None:
                seat.send(farewell)
            self._seats.drop(seat)

    async def _tell(
        self,
        kind: str,
        members: tuple[bytes, ...],
        *,
        step: int | None = None,
        missing: tuple[bytes, ...] = (),
        silent: bool = False,
    ) -> None:
        await self._progress(
            Progress(
                kind=kind,
                epoch=self._state.epoch,
                step=self._state.step if step is None else step,
                members=names(members),
                milliseconds=(now() - self._signal_at) * 1000,
                missing=names(missing),
                silent=silent,
                deadline_seconds=self._pace.deadline,
            )
        )
