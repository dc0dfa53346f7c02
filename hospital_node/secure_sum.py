"""A node's side of secure sum profile A: one stream, one step per round trip, until the run closes.

What leaves the machine, each through ``let_out`` first: a greeting, fresh public keys, masked and
noised vectors, a signed closing. What is durable when: ``mark`` returns (fsync) before the vector
that it counts is sent, so a process that dies in between has paid for a vector that never left,
never the reverse. Keys are in memory only; after a crash the node enters the next epoch, told the
sums it missed. Python cannot wipe memory: erasing means dropping every reference.

Never the same noisy vector under two sets: ``RunningNode._attempt`` is the only place that calls
``contribute``; its vector is a local variable that is masked once and forgotten, and no message is
ever sent twice. A new epoch asks for a fresh contribution with fresh noise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

from hospital_node.secure_sum_checks import Standing, Terms
from hospital_node.secure_sum_node import RunningNode, Timing, unreachable
from hospital_node.secure_sum_work import OpenStream, Result, Work
from twinward.ids import Fingerprint
from twinward.secsum import transcript
from twinward.secsum.frames import StreamBroken
from twinward.secsum.messages import fingerprint, raw
from twinward.secsum.words import WordFormat
from twinward.signing import Identity, PublicIdentity

__all__ = ["OpenStream", "Result", "Work", "run_session"]

SILENCE_SECONDS = 120.0
_DEADLINES_OF_SILENCE = 5.0
_FIRST_RETRY_SECONDS = 0.02
_LONGEST_RETRY_SECONDS = 1.0


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
    deadline_seconds: float,
    patience_seconds: float,
    silence_seconds: float = SILENCE_SECONDS,
    last_epoch: int = 0,
    attempts_before: int = 0,
    visible: bool = False,
    enough: Callable[[Collection[Fingerprint]], bool] = lambda _: True,
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
        deadline_seconds: The plan's: how long the coordinator waits for vectors. When it has said
            nothing for five times as long inside an epoch, the epoch is given up.
        patience_seconds: How long the coordinator may be unreachable.
        silence_seconds: How long it may be connected, between epochs, and say nothing.
        last_epoch: The highest epoch this node has a mark of in this run, from its book.
        attempts_before: Attempts of this run that an earlier process marked.
        visible: Vectors leave without masks; only for a plan of `visible_updates`, approved here.
        enough: Whether so many patients are behind these members that they may make steps.

    Raises:
        CoordinatorUnreachable: TW6122; the same call may be repeated.
        IdentityError, TrainingError: see ``secure_sum_checks``, ``secure_sum_epoch`` and
            docs/errors; whatever was marked stays charged.
    """
    own = raw(identity.public.fingerprint)
    accepted = {raw(name): peer for name, peer in members.items()}
    terms = Terms(
        run=run,
        plan=plan_digest,
        words=WordFormat(word_bits, dimension),
        steps=steps,
        max_abs_sum=min(max_abs_sum, (1 << (word_bits - 1)) - 1),
        coordinator=coordinator,
        peers={**accepted, own: identity.public},
        visible=visible,
        enough=lambda there: enough([fingerprint(member) for member in there]),
    )
    standing = Standing(transcript.history_start(run, plan_digest), epoch=last_epoch)
    node = RunningNode(
        identity,
        terms=terms,
        standing=standing,
        work=work,
        timing=Timing(slot_seconds, _DEADLINES_OF_SILENCE * deadline_seconds, silence_seconds),
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
                raise unreachable(patience_seconds) from broken
        finally:
            node.forget()
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_RETRY_SECONDS)
