"""One attempt of one step: masked vectors are added while they arrive, none is held alone.

Adding before a signature is there is safe: an attempt ends with exactly the declared members'
signed vectors or with nothing. A single vector is kept only where the transcript wants it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from server.transcript import EpochRecord, MaskedRecord
from twinward.errors import TrainingError
from twinward.rpc.messages_pb2 import Frame
from twinward.secsum import transcript
from twinward.secsum.frames import signed_of
from twinward.secsum.messages import FromMember, Kind, Masked
from twinward.secsum.profile import KEPT_DIMENSION
from twinward.secsum.vectors import Arrival
from twinward.secsum.words import Integers, WordFormat, Words
from twinward.signing import PublicIdentity

_M = TypeVar("_M", bound=FromMember)


@dataclass(frozen=True, slots=True)
class RunTerms:
    """What does not change during a run; ``attempts`` is T + R, ``max_abs_sum`` in grid steps.

    ``combine`` takes the place of adding where vectors are visible (``server.flower_aggregate``).
    """

    run: bytes
    plan: bytes
    words: WordFormat
    max_abs_sum: int
    steps: int
    attempts: int
    combine: Callable[[Sequence[Integers]], Integers] | None = None

    def opened(self, kind: type[_M], frame: Frame, signer: PublicIdentity) -> _M:
        """What a member says, checked: the one place where the coordinator verifies signatures.

        Raises:
            IdentityError: TW2002, not its signature. TrainingError: TW6101, malformed; TW6133, of
                another run or plan, or in another's name.
        """
        head = signed_of(frame).opened(kind, signer)
        if (head.run, head.plan, head.sender.hex()) != (self.run, self.plan, signer.fingerprint):
            raise broke_protocol(signer)
        return head


class Attempt:
    """The sum of an attempt as far as it has come.

    Args:
        epoch: Whose members send.
        terms: The run's.
        step: The step to be made.
        history: The running hash before it.
        total: Where to add; what an earlier attempt left there is overwritten.
    """

    def __init__(
        self, epoch: EpochRecord, *, terms: RunTerms, step: int, history: bytes, total: Words
    ) -> None:
        self.epoch = epoch
        self.step = step
        self.total = total
        self.total.fill(0)
        self._terms = terms
        self._history = history
        self._arrivals: dict[bytes, Arrival] = {}
        self._pieces: dict[bytes, list[bytes]] = {}
        self._done: dict[bytes, MaskedRecord] = {}

    @property
    def masked(self) -> tuple[MaskedRecord, ...]:
        """The vectors that are complete, by sender."""
        return tuple(self._done[sender] for sender in sorted(self._done))

    def settle(self) -> None:
        """Once all vectors are there: where they are visible, combine them instead of adding.

        Raises:
            TrainingError: TW6501, too few members for the rule.
        """
        words, combine = self._terms.words, self._terms.combine
        if combine is None:
            return
        signed = words.dtype.str.replace("u", "i")
        given = (one.vector for one in self.masked if one.vector is not None)
        vectors = [words.from_bytes(each)[: words.dimension].view(signed) for each in given]
        self.total.fill(0)
        np.copyto(self.total[: words.dimension], combine(vectors), casting="unsafe")

    def take(self, frame: Frame, member: PublicIdentity) -> bool:
        """Add a piece of a member's vector; True once the vector is complete and signed.

        A head of another epoch or step is passed over: it was on its way when the attempt died.

        Raises:
            IdentityError: TW2002. TrainingError: TW6101, TW6104, TW6133.
        """
        words = self._terms.words
        head = None
        if frame.kind == Kind.MASKED:
            head = self._terms.opened(Masked, frame, member)
            if (head.epoch, head.step) != (self.epoch.epoch, self.step):
                return False
        arrival = self._arrivals.setdefault(
            member.raw, Arrival(words, transcript.vector_hash(words.data_bytes))
        )
        start, piece = arrival.take(frame)
        part = self.total[start : start + piece.size]
        np.add(part, piece, out=part)
        if words.dimension <= KEPT_DIMENSION:
            self._pieces.setdefault(member.raw, []).append(piece.tobytes())
        if head is None:
            return False
        if (head.setup, head.history, head.vector) != (
            self.epoch.setup,
            self._history,
            arrival.digest(),
        ):
            raise broke_protocol(member)
        pieces = self._pieces.pop(member.raw, None)
        kept = None if pieces is None else b"".join(pieces)
        self._done[head.sender] = MaskedRecord(head.sender, signed_of(frame), kept)
        return True


def broke_protocol(member: PublicIdentity) -> TrainingError:
    """The refusal of a message that this member signed although it cannot be honest."""
    return TrainingError(
        f"{member.fingerprint[:16]} sent a message that does not belong to this run",
        code="TW6133",
        help="the member is out of this run; compare its version of Twinward with the others'",
    )
