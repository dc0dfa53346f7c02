"""What secure sum asks of the daemon, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from twinward.ids import Fingerprint
from twinward.secsum.frames import FrameStream
from twinward.secsum.words import Contribution, Integers

OpenStream = Callable[[], AbstractAsyncContextManager[FrameStream]]


@dataclass(frozen=True, slots=True)
class Work:
    """What the daemon does for a run; one call at a time, in this order.

    All are called in the event loop and meant for milliseconds; only ``apply`` of a vector of more
    than one frame (512 kB) is called in a worker thread.

    Attributes:
        contribute: ``(step, epoch, members)`` to the vector in grid steps, **with fresh noise at
            every call**; steps and epochs count from 1. A large vector may be given block by block
            (``WordFormat.pieces_of``), each noised when it is asked for.
        mark: ``(epoch, step)``; charges the attempt durably, raises when none are left.
        apply: ``(step, sum)``; updates the weights with a sum that passed every check. The words
            of a large sum are overwritten by the next one.
        consent_head: 32 bytes, the consent head under which the last contribution was made.
        model_digest: 32 bytes, digest of the weights to release; asked after the last step.
        let_out: ``(kind, bytes)``; the gate, notes every message before it leaves.
    """

    contribute: Callable[[int, int, int], Contribution | Iterator[Contribution]]
    mark: Callable[[int, int], None]
    apply: Callable[[int, Integers], None]
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
