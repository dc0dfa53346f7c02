"""What a run has come to at the coordinator, and every message made of it. No network, no disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self, overload

import numpy as np

from server.secure_sum_attempt import Attempt, RunTerms, broke_protocol
from server.secure_sum_totals import Total
from server.transcript import AttemptRecord, EpochRecord, Transcript
from twinward.errors import TrainingError
from twinward.rpc.messages_pb2 import Frame
from twinward.secsum import transcript
from twinward.secsum.frames import pack, sign_frame, signed_of
from twinward.secsum.messages import (
    Abort,
    Advertise,
    Close,
    Hello,
    Kind,
    Next,
    Offer,
    Reason,
    Roster,
    Signed,
    Sum,
)
from twinward.secsum.vectors import VectorFrames
from twinward.secsum.words import Integers, WordFormat, Words
from twinward.signing import Identity, PublicIdentity


@dataclass(frozen=True, slots=True)
class Summed:
    """A finished step: M5 as it was signed, everyone's M4 heads, the words of the sum."""

    signed: Signed
    heads: tuple[bytes, ...]
    total: Total

    def frames(self) -> VectorFrames:
        """M5 as it goes to the members."""
        return VectorFrames(Kind.SUM, self.signed, memoryview(self.total), heads=self.heads)


@dataclass(frozen=True, slots=True)
class Sums(Sequence[Integers]):
    """The sums of a run in order, in grid steps; each is read when it is asked for."""

    words: WordFormat
    limit: int
    totals: tuple[Total, ...]

    def __len__(self) -> int:
        """How many steps were made."""
        return len(self.totals)

    @overload
    def __getitem__(self, index: int) -> Integers: ...
    @overload
    def __getitem__(self, index: slice) -> Sums: ...
    def __getitem__(self, index: int | slice) -> Integers | Sums:
        """The sum of step ``index + 1``."""
        if isinstance(index, slice):
            return Sums(self.words, self.limit, self.totals[index])
        words = self.words.from_bytes(memoryview(self.totals[index]))
        return self.words.to_integers(words, limit=self.limit)


@dataclass(frozen=True, slots=True)
class OpenOffer:
    """An epoch that has been offered and waits for its members' keys."""

    epoch: int
    members: tuple[bytes, ...]
    roster: bytes
    signed: Signed
    adverts: dict[bytes, Signed] = field(default_factory=dict)


class RunState:
    """The run's history so far; ``histories[s]`` is h_s, ``summed[s - 1]`` step s."""

    def __init__(self, identity: Identity, terms: RunTerms) -> None:
        self.terms = terms
        self.histories = [transcript.history_start(terms.run, terms.plan)]
        self.summed: list[Summed] = []
        self.epoch = 0
        self.attempts = 0
        self.ahead: set[bytes] = set()
        """Members that signed to hold more of this run than is known here."""
        self._identity = identity
        self._total: Words = np.empty(terms.words.count, dtype=terms.words.dtype)

    @classmethod
    def taken_up(cls, identity: Identity, terms: RunTerms, record: Transcript) -> Self:
        """What a run had come to when its coordinator died, from its record.

        Every sum that a node can have applied is in it. The attempt that was under way counts as
        made, because vectors may have left for it, and is written as given up: the next one is
        made in an epoch of its own, with fresh keys and fresh noise.

        Raises:
            TrainingError: TW6141, TW6142.
        """
        state = cls(identity, terms)
        members = {epoch.epoch: epoch.members for epoch in record.epochs()}
        last = under_way = max(members, default=None)
        for attempt in record.attempts():
            state.attempts += 1
            goes_on = False
            if attempt.sum is not None and attempt.total is not None:
                head = Sum.decode(attempt.sum.head)
                history = transcript.history_next(
                    state.histories[-1],
                    epoch=head.epoch,
                    step=head.step,
                    members=members[head.epoch],
                    total=head.total,
                )
                heads = tuple(one.signed.blob for one in attempt.masked)
                state.take_sum(Summed(attempt.sum, heads, attempt.total), history)
                goes_on = head.then == Next.STEP
            if attempt.epoch == last:
                under_way = attempt.epoch if goes_on else None
        if under_way is not None:
            state.attempts += 1
            record.add_attempt(AttemptRecord(under_way, state.step, ()))
        state.epoch = record.offered
        return state

    @property
    def step(self) -> int:
        """The step to be made next, from 1."""
        return len(self.summed) + 1

    @property
    def is_complete(self) -> bool:
        """Whether every step was made."""
        return len(self.summed) == self.terms.steps

    @property
    def attempts_left(self) -> int:
        """Starting signals that may still be given."""
        return self.terms.attempts - self.attempts

    def sums(self) -> Sums:
        """All sums so far."""
        totals = tuple(one.total for one in self.summed)
        return Sums(self.terms.words, self.terms.max_abs_sum, totals)

    def missed_by(self, frame: Frame, member: PublicIdentity) -> Iterator[Frame]:
        """Check a HELLO; the sums that this member has not seen yet.

        Raises:
            IdentityError: TW2002. TrainingError: TW6133, its history is not a part of ours.
        """
        hello = self.terms.opened(Hello, frame, member)
        known = hello.steps < len(self.histories) and hello.epoch <= self.epoch
        if not known:
            self.ahead.add(hello.sender)
        if not known or hello.history != self.histories[hello.steps]:
            raise broke_protocol(member)
        return self.frames(after=hello.steps)

    def frames(self, *, after: int) -> Iterator[Frame]:
        """The sums that came after this many steps, as they were sent."""
        for summed in self.summed[after:]:
            yield from summed.frames()

    def offer(self, members: tuple[bytes, ...]) -> tuple[OpenOffer, Frame]:
        """M1 of the next epoch with exactly these members, ascending."""
        self.epoch += 1
        terms, roster = self.terms, transcript.roster_digest(members)
        head = Offer(
            run=terms.run,
            plan=terms.plan,
            epoch=self.epoch,
            roster=roster,
            history=self.histories[-1],
            step=self.step,
            steps=terms.steps,
            members=len(members),
            attempts_left=self.attempts_left,
            dimension=terms.words.dimension,
            word_bits=terms.words.bits,
        )
        signed = Signed.by(self._identity, head)
        frame = pack(Kind.OFFER, signed, data=b"".join(members))
        return OpenOffer(self.epoch, members, roster, signed), frame

    def take_advert(self, opened: OpenOffer, frame: Frame, member: PublicIdentity) -> bool:
        """Check an M2 and keep it; False if it belongs to another epoch.

        Raises:
            IdentityError: TW2002. TrainingError: TW6101, TW6133.
        """
        advert = self.terms.opened(Advertise, frame, member)
        if advert.epoch != opened.epoch:
            return False
        if advert.roster != opened.roster:
            raise broke_protocol(member)
        opened.adverts[advert.sender] = signed_of(frame)
        return True

    def roster(self, opened: OpenOffer) -> tuple[EpochRecord, Frame]:
        """M3: all M2, in order of sender; sending it starts the epoch's first attempt."""
        adverts = tuple(opened.adverts[member] for member in opened.members)
        setup = transcript.setup_digest(opened.signed.head, [advert.head for advert in adverts])
        head = Roster(
            run=self.terms.run,
            plan=self.terms.plan,
            epoch=opened.epoch,
            roster=opened.roster,
            setup=setup,
        )
        signed = Signed.by(self._identity, head)
        record = EpochRecord(opened.epoch, opened.members, setup, opened.signed, signed, adverts)
        return record, pack(Kind.ROSTER, signed, heads=[advert.blob for advert in adverts])

    def attempt(self, epoch: EpochRecord) -> Attempt:
        """The attempt at the current step in this epoch; it takes the place of the one before."""
        return Attempt(
            epoch,
            terms=self.terms,
            step=self.step,
            history=self.histories[-1],
            total=self._total,
        )

    def require_sum(self, attempt: Attempt) -> Integers:
        """The integers of a complete attempt.

        Raises:
            TrainingError: TW6131, the masks do not cancel or the sum is out of range.
        """
        try:
            return self.terms.words.to_integers(attempt.total, limit=self.terms.max_abs_sum)
        except TrainingError as error:
            raise TrainingError(
                f"step {attempt.step} has no usable sum: a member's vector is wrong",
                code="TW6131",
                note="which one cannot be told from masked vectors; all members were charged",
                help="compare the versions of Twinward at all members, then start a new run",
            ) from error

    def sign_sum(
        self, attempt: Attempt, *, newcomers: bool
    ) -> tuple[Signed, tuple[bytes, ...], bytes, Next]:
        """M5 of a complete attempt, the heads that go with it, h_s, and what follows."""
        terms, epoch = self.terms, attempt.epoch
        then = Next.OFFER if newcomers else Next.STEP
        if attempt.step == terms.steps:
            then = Next.CLOSE
        blobs = tuple(one.signed.blob for one in attempt.masked)
        total = transcript.total_hash(terms.words.data_bytes)
        total.update(attempt.total.data.cast("B"))
        head = Sum(
            run=terms.run,
            plan=terms.plan,
            epoch=epoch.epoch,
            setup=epoch.setup,
            history=self.histories[-1],
            total=total.digest(),
            heads=transcript.heads_digest(blobs),
            step=attempt.step,
            then=then,
        )
        history = transcript.history_next(
            self.histories[-1],
            epoch=epoch.epoch,
            step=attempt.step,
            members=epoch.members,
            total=head.total,
        )
        return Signed.by(self._identity, head), blobs, history, then

    def take_sum(self, summed: Summed, history: bytes) -> None:
        """Take a sum that is durable into the history."""
        self.histories.append(history)
        self.summed.append(summed)

    def take_close(self, epoch: EpochRecord, frame: Frame, member: PublicIdentity) -> Close:
        """Check an M6: this member holds what we hold.

        Raises:
            IdentityError: TW2002. TrainingError: TW6133, TW6135.
        """
        close = self.terms.opened(Close, frame, member)
        held = (close.epoch, close.setup, close.history, close.steps)
        if held != (epoch.epoch, epoch.setup, self.histories[-1], self.terms.steps):
            raise contradiction(member)
        return close

    def abort(self, reason: Reason, missing: tuple[bytes, ...]) -> Frame:
        """The end of the current epoch, or with ``Reason.FAILED`` of the run."""
        head = Abort(
            run=self.terms.run,
            plan=self.terms.plan,
            epoch=self.epoch,
            missing=transcript.roster_digest(missing),
            step=self.step,
            reason=reason,
        )
        return sign_frame(self._identity, head, data=b"".join(sorted(missing)))


def contradiction(member: PublicIdentity) -> TrainingError:
    """The refusal of a closing that differs from the run or from the other closings."""
    return TrainingError(
        f"{member.fingerprint[:16]} signed another end of the run than the others",
        code="TW6135",
        note="nothing is released unless every member of the last epoch signs the same model",
        help="compare the members' versions of Twinward, then start a new run",
    )
