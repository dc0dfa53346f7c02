"""What a run has come to at the coordinator, and every message made of it. No network, no disk."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from server.transcript import AttemptRecord, EpochRecord, MaskedRecord
from twinward.errors import TrainingError
from twinward.rpc.messages_pb2 import Frame
from twinward.secsum import masks, transcript
from twinward.secsum.frames import pack, sign_frame, signed_of
from twinward.secsum.masks import WordFormat
from twinward.secsum.messages import (
    Abort,
    Advertise,
    Close,
    Hello,
    Kind,
    Masked,
    Next,
    Offer,
    Reason,
    Roster,
    Signed,
    Sum,
)
from twinward.signing import Identity, PublicIdentity


@dataclass(frozen=True, slots=True)
class RunTerms:
    """What does not change during a run; ``attempts`` is T + R, ``max_abs_sum`` in grid steps."""

    run: bytes
    plan: bytes
    words: WordFormat
    max_abs_sum: int
    steps: int
    attempts: int


@dataclass(frozen=True, slots=True)
class OpenOffer:
    """An epoch that has been offered and waits for its members' keys."""

    epoch: int
    members: tuple[bytes, ...]
    roster: bytes
    signed: Signed
    adverts: dict[bytes, Signed] = field(default_factory=dict)


class RunState:
    """The run's history so far; ``histories[s]`` is h_s, ``frames`` the sums as they were sent."""

    def __init__(self, identity: Identity, terms: RunTerms) -> None:
        self.terms = terms
        self.histories = [transcript.history_start(terms.run, terms.plan)]
        self.sums: list[NDArray[np.int64]] = []
        self.frames: list[Frame] = []
        self.epoch = 0
        self.attempts = 0
        self._identity = identity

    @property
    def step(self) -> int:
        """The step to be made next, from 1."""
        return len(self.sums) + 1

    @property
    def attempts_left(self) -> int:
        """Starting signals that may still be given."""
        return self.terms.attempts - self.attempts

    def missed_by(self, frame: Frame, peer: bytes, identity: PublicIdentity) -> list[Frame]:
        """Check a HELLO; the sums that this member has not seen yet.

        Raises:
            IdentityError: TW2002. TrainingError: TW6133, its history is not a part of ours.
        """
        hello = signed_of(frame).opened(Hello, identity)
        known = hello.steps < len(self.histories) and hello.epoch <= self.epoch
        if (
            (hello.run, hello.plan, hello.sender) != (self.terms.run, self.terms.plan, peer)
            or not known
            or hello.history != self.histories[hello.steps]
        ):
            raise broke_protocol(peer)
        return self.frames[hello.steps :]

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

    def take_advert(
        self, opened: OpenOffer, frame: Frame, peer: bytes, identity: PublicIdentity
    ) -> bool:
        """Check an M2 and keep it; False if it belongs to another epoch.

        Raises:
            IdentityError: TW2002. TrainingError: TW6101, TW6133.
        """
        advert = signed_of(frame).opened(Advertise, identity)
        if (advert.run, advert.epoch) != (self.terms.run, opened.epoch):
            return False
        if (advert.plan, advert.roster, advert.sender) != (self.terms.plan, opened.roster, peer):
            raise broke_protocol(peer)
        opened.adverts[peer] = signed_of(frame)
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

    def take_vector(
        self,
        epoch: EpochRecord,
        vectors: dict[bytes, MaskedRecord],
        frame: Frame,
        peer: bytes,
        identity: PublicIdentity,
    ) -> bool:
        """Check an M4 and keep it; False if it belongs to another epoch or step.

        Raises:
            IdentityError: TW2002. TrainingError: TW6101, TW6133.
        """
        signed = signed_of(frame)
        head = signed.opened(Masked, identity)
        if (head.run, head.epoch, head.step) != (self.terms.run, epoch.epoch, self.step):
            return False
        if (
            (head.plan, head.sender) != (self.terms.plan, peer)
            or (head.setup, head.history) != (epoch.setup, self.histories[-1])
            or len(frame.data) != self.terms.words.data_bytes
            or head.vector != transcript.vector_digest(frame.data)
        ):
            raise broke_protocol(peer)
        vectors[peer] = MaskedRecord(peer, signed, frame.data)
        return True

    def add_up(
        self, epoch: EpochRecord, vectors: dict[bytes, MaskedRecord], *, newcomers: bool
    ) -> tuple[AttemptRecord, Frame, NDArray[np.int64], Next]:
        """M5 of the current step, not yet taken into the history (see ``take_sum``).

        Raises:
            TrainingError: TW6131, the masks do not cancel or the sum is out of range.
        """
        terms, step = self.terms, self.step
        ordered = tuple(vectors[member] for member in epoch.members)
        words = masks.add_up([terms.words.from_bytes(one.vector) for one in ordered])
        try:
            integers = terms.words.to_integers(words, limit=terms.max_abs_sum)
        except TrainingError as error:
            raise TrainingError(
                f"step {step} has no usable sum: a member's vector is wrong",
                code="TW6131",
                note="which one cannot be told from masked vectors; all members were charged",
                help="compare the versions of Twinward at all members, then start a new run",
            ) from error
        then = Next.OFFER if newcomers else Next.STEP
        if step == terms.steps:
            then = Next.CLOSE
        data, blobs = words.tobytes(), [one.signed.blob for one in ordered]
        head = Sum(
            run=terms.run,
            plan=terms.plan,
            epoch=epoch.epoch,
            setup=epoch.setup,
            history=self.histories[-1],
            total=transcript.total_digest(data),
            heads=transcript.heads_digest(blobs),
            step=step,
            then=then,
        )
        signed = Signed.by(self._identity, head)
        record = AttemptRecord(epoch.epoch, step, ordered, (), signed, data)
        return record, pack(Kind.SUM, signed, data=data, heads=blobs), integers, then

    def take_sum(self, epoch: EpochRecord, frame: Frame, integers: NDArray[np.int64]) -> None:
        """Take a sum that is durable into the history."""
        self.histories.append(
            transcript.history_next(
                self.histories[-1],
                epoch=epoch.epoch,
                step=self.step,
                members=epoch.members,
                total=integers,
            )
        )
        self.sums.append(integers)
        self.frames.append(frame)

    def take_close(
        self, epoch: EpochRecord, frame: Frame, peer: bytes, identity: PublicIdentity
    ) -> Close:
        """Check an M6: this member holds what we hold.

        Raises:
            IdentityError: TW2002. TrainingError: TW6135.
        """
        close = signed_of(frame).opened(Close, identity)
        held = (close.run, close.plan, close.epoch, close.setup, close.history, close.steps)
        terms = self.terms
        ours = (terms.run, terms.plan, epoch.epoch, epoch.setup, self.histories[-1], terms.steps)
        if close.sender != peer or held != ours:
            raise contradiction(peer)
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


def broke_protocol(peer: bytes) -> TrainingError:
    """The refusal of a message that this member signed although it cannot be honest."""
    return TrainingError(
        f"{peer.hex()[:16]} sent a message that does not belong to this run",
        code="TW6133",
        help="the member is out of this run; compare its version of Twinward with the others'",
    )


def contradiction(peer: bytes) -> TrainingError:
    """The refusal of a closing that differs from the run or from the other closings."""
    return TrainingError(
        f"{peer.hex()[:16]} signed another end of the run than the others",
        code="TW6135",
        note="nothing is released unless every member of the last epoch signs the same model",
        help="compare the members' versions of Twinward, then start a new run",
    )
