"""The coordinator's side of secure sum profile A: adds masked vectors, never sees one bare.

An epoch has an immutable set of members. When one of them breaks off or falls silent, the attempt
is dead for all: abort, fresh keys, fresh noise, a new epoch with those who are there. A member that
comes back is sent the sums it missed and enters the next epoch. What is durable when: an epoch
before its roster is sent, a step before its sum is sent. If the coordinator dies, the run is over
(resuming it is future work): its nodes are told so when they reconnect, what they sent stays
charged, and the transcript holds every step that any node can have applied.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from server.secure_sum_seats import Seat, Seats
from server.secure_sum_state import RunState, RunTerms, contradiction
from server.transcript import AttemptRecord, EpochRecord, MaskedRecord, Transcript
from twinward.errors import TrainingError, TwinwardError
from twinward.ids import Fingerprint
from twinward.rpc.messages_pb2 import Frame
from twinward.secsum.frames import signed_of
from twinward.secsum.masks import WordFormat
from twinward.secsum.messages import Kind, Next, Reason, Signed, fingerprint, raw
from twinward.secsum.profile import MIN_MEMBERS, noise_shares
from twinward.signing import Identity, PublicIdentity


@dataclass(frozen=True, slots=True)
class Progress:
    """One event of a run: ``epoch`` opened, ``step`` summed, attempt ``lost``, run ``closed``.

    ``milliseconds`` since the previous starting signal; ``missing``: for whom an attempt was lost.
    """

    kind: str
    epoch: int
    step: int
    members: tuple[Fingerprint, ...]
    milliseconds: float = 0.0
    missing: tuple[Fingerprint, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run: its last epoch, h_T, the sums in order, everyone's signed closing.

    ``attempts`` counts starting signals given; each is a release that is charged. ``model`` is the
    digest that every member of the last epoch signed.
    """

    epoch: int
    members: tuple[Fingerprint, ...]
    history: bytes
    model: bytes
    attempts: int
    sums: tuple[NDArray[np.int64], ...]
    closings: dict[Fingerprint, Signed]


class _Lost(Exception):
    """The epoch is dead because of these members."""

    def __init__(self, reason: Reason, missing: list[Seat]) -> None:
        super().__init__(reason.name)
        self.reason = reason
        self.missing = missing


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
        deadline_seconds: Silence that ends an attempt; must exceed the plan's sending slot.
        record: The durable transcript of this run; the caller closes it.
        progress: Told of each event after the frames it describes were handed to the streams.
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
    ) -> None:
        terms = RunTerms(
            run=run,
            plan=plan_digest,
            words=WordFormat(word_bits, dimension),
            max_abs_sum=min(max_abs_sum, (1 << (word_bits - 1)) - 1),
            steps=steps,
            attempts=steps + spare_attempts,
        )
        self._state = RunState(identity, terms)
        self._seats = Seats({raw(name): member for name, member in members.items()})
        self._member_count = len(members)
        self._deadline = deadline_seconds
        self._record = record
        self._progress = progress
        self._last_words: list[Frame] | None = None
        self._signal_at = 0.0

    async def attend(self, peer: Fingerprint, frames: AsyncIterator[Frame]) -> AsyncIterator[Frame]:
        """Serve the stream of a member whose certificate has been checked.

        Raises:
            IdentityError: TW6130, not a member.
        """
        if self._last_words is not None:  # it comes back after the end: tell it how things went
            for frame in self._last_words:
                yield frame
            return
        async for frame in self._seats.attend(peer, frames):
            yield frame

    async def drive(self, *, gather_seconds: float, patience_seconds: float) -> Outcome:
        """Run all steps with whoever is there; returns when every member has signed its closing.

        Args:
            gather_seconds: How long to wait for all members before starting with at least three.
            patience_seconds: How long to wait, with too few members or for closings, for a member
                to come back.

        Raises:
            TrainingError: TW6100 fewer than three members; TW6131 a sum that is none; TW6132 no
                attempts left; TW6134 a member of the last epoch did not sign; TW6135 closings
                that contradict each other.
        """
        state = self._state
        try:
            await self._gather(gather_seconds)
            while True:
                seats = await self._assemble(patience_seconds)
                try:
                    epoch = await self._open_epoch(seats)
                    await self._run_epoch(epoch, seats)
                except _Lost as lost:
                    await self._abandon(lost, seats)
                    continue
                if state.step > state.terms.steps:
                    break
            outcome = await self._close(epoch, patience_seconds)
        except BaseException as error:
            self._end(state.abort(Reason.FAILED, ()))
            self._record.fail(str(error) or type(error).__name__)
            raise
        self._last_words = list(state.frames)
        self._end()
        await self._tell("closed", epoch.members)
        return outcome

    async def _gather(self, seconds: float) -> None:
        until = _now() + seconds
        while len(self._seats.ready()) < self._member_count:
            try:
                await self._event(until)
            except TimeoutError:
                return

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
        until = _now() + seconds
        while len(self._seats.ready()) < MIN_MEMBERS:
            try:
                await self._event(until)
            except TimeoutError:
                break
        noise_shares(len(self._seats.ready()))
        return self._seats.ready()

    async def _open_epoch(self, seats: list[Seat]) -> EpochRecord:
        """M1 to M3; the epoch is durable before its roster, the starting signal, is sent."""
        opened, offer = self._state.offer(tuple(seat.peer for seat in seats))
        self._signal_at = _now()
        for seat in seats:
            seat.send(offer)
        await self._collect(
            Kind.ADVERTISE,
            seats,
            lambda seat, frame: self._state.take_advert(opened, frame, seat.peer, seat.identity),
        )
        epoch, roster = self._state.roster(opened)
        self._record.add_epoch(epoch)
        self._state.attempts += 1
        for seat in seats:
            seat.send(roster)
        await self._tell("epoch", epoch.members)
        return epoch

    async def _run_epoch(self, epoch: EpochRecord, seats: list[Seat]) -> None:
        """Steps until the last one, until a member waits to come in, or until ``_Lost``."""
        state, then = self._state, Next.STEP
        while then is Next.STEP:
            vectors: dict[bytes, MaskedRecord] = {}
            try:
                await self._collect(
                    Kind.MASKED,
                    seats,
                    lambda seat, frame, kept=vectors: state.take_vector(  # type: ignore[misc]
                        epoch, kept, frame, seat.peer, seat.identity
                    ),
                )
                newcomers = len(self._seats.ready()) > len(seats)
                record, frame, integers, then = state.add_up(epoch, vectors, newcomers=newcomers)
            except (_Lost, TrainingError) as error:
                lost = error.missing if isinstance(error, _Lost) else []
                came = tuple(vectors[sender] for sender in sorted(vectors))
                missing = tuple(sorted(seat.peer for seat in lost))
                self._record.add_attempt(AttemptRecord(epoch.epoch, state.step, came, missing))
                raise
            self._record.add_attempt(record)  # durable before anyone can apply it
            state.take_sum(epoch, frame, integers)
            state.attempts += then is Next.STEP
            for seat in self._seats.ready():
                seat.send(frame)
            await self._tell("step", epoch.members, step=state.step - 1)
            self._signal_at = _now()

    async def _collect(
        self, kind: Kind, seats: list[Seat], take: Callable[[Seat, Frame], bool]
    ) -> None:
        """Wait for one acceptable frame of this kind from each seat; late or double ones drop.

        Raises:
            _Lost: One of the seats broke off, stayed silent or broke the protocol.
        """
        waiting, until = set(seats), _now() + self._deadline
        if gone := [seat for seat in seats if not seat.alive]:
            raise _Lost(Reason.BROKEN, gone)
        while waiting:
            try:
                seat, frame = await self._event(until)
            except TimeoutError:
                raise _Lost(Reason.SILENT, list(waiting)) from None
            if frame is None and seat in seats:
                raise _Lost(Reason.BROKEN, [seat])
            if frame is None or seat not in waiting or frame.kind != kind:
                continue
            try:
                accepted = take(seat, frame)
            except TwinwardError:
                self._seats.expel(seat, self._state.abort(Reason.FAILED, (seat.peer,)))
                raise _Lost(Reason.BROKEN, [seat]) from None
            if accepted:
                waiting.discard(seat)

    async def _event(self, until: float) -> tuple[Seat, Frame | None]:
        """The next event; a member that says hello is first told what it missed."""
        seat, frame = await self._seats.event(until)
        if frame is not None and frame.kind == Kind.HELLO and seat.alive and not seat.ready:
            try:
                missed = self._state.missed_by(frame, seat.peer, seat.identity)
            except TwinwardError:
                self._seats.expel(seat, self._state.abort(Reason.FAILED, (seat.peer,)))
            else:
                for earlier in missed:
                    seat.send(earlier)
                seat.ready = True
        return seat, frame

    async def _abandon(self, lost: _Lost, seats: list[Seat]) -> None:
        """Tell everyone that the epoch is dead; who was silent must connect again."""
        missing = tuple(sorted(seat.peer for seat in lost.missing))
        frame = self._state.abort(lost.reason, missing)
        for seat in lost.missing:
            self._seats.drop(seat)
        for seat in seats:
            seat.send(frame)
        await self._tell("lost", tuple(seat.peer for seat in seats), missing=missing)

    async def _close(self, epoch: EpochRecord, seconds: float) -> Outcome:
        """Collect M6 of every member of the last epoch; durable before the run counts as done."""
        state, until = self._state, _now() + seconds
        closings: dict[bytes, Signed] = {}
        models: set[bytes] = set()
        while missing := [member for member in epoch.members if member not in closings]:
            try:
                seat, frame = await self._event(until)
            except TimeoutError:
                _refuse_unsigned(missing)
            if frame is None or frame.kind != Kind.CLOSE or seat.peer not in missing:
                continue
            close = state.take_close(epoch, frame, seat.peer, seat.identity)
            closings[seat.peer] = signed_of(frame)
            models.add(close.model)
            if len(models) > 1:
                raise contradiction(seat.peer)
        self._record.finish(closings)
        return Outcome(
            epoch=epoch.epoch,
            members=_names(epoch.members),
            history=state.histories[-1],
            model=models.pop(),
            attempts=state.attempts,
            sums=tuple(state.sums),
            closings={fingerprint(member): signed for member, signed in closings.items()},
        )

    def _end(self, farewell: Frame | None = None) -> None:
        if farewell is not None:
            self._last_words = [farewell]
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
    ) -> None:
        await self._progress(
            Progress(
                kind=kind,
                epoch=self._state.epoch,
                step=self._state.step if step is None else step,
                members=_names(members),
                milliseconds=(_now() - self._signal_at) * 1000,
                missing=_names(missing),
            )
        )


def _now() -> float:
    return asyncio.get_running_loop().time()


def _names(members: tuple[bytes, ...]) -> tuple[Fingerprint, ...]:
    return tuple(fingerprint(member) for member in members)


def _refuse_unsigned(missing: list[bytes]) -> NoReturn:
    names = ", ".join(member.hex()[:16] for member in missing)
    raise TrainingError(
        f"the closing of {names} did not come",
        code="TW6134",
        note="a release needs the signature of every member of the last epoch",
        help="start that node again before the deadline, or start a new run",
    ) from None
