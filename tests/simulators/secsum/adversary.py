"""What the tests of attacks share: an honest start, and the coordinator's pen."""

from __future__ import annotations

import asyncio
import dataclasses

import numpy as np

from tests.simulators.secsum import leaping
from tests.simulators.secsum.liar import Liar
from twinward.canonical import tagged_hash
from twinward.secsum import transcript
from twinward.secsum.frames import sign_frame
from twinward.secsum.messages import Sum


def attack(scenario=None, **given):
    """Run an async test; each gets a fresh liar with four honest nodes."""
    # Vectors of several pieces are worked on in threads, which a leaping clock would overtake.
    run = asyncio.run if "dimension" in given else leaping.run

    def wrap(scenario):
        def test():
            async def inside():
                async with asyncio.timeout(60), Liar(**given) as liar:
                    await scenario(liar)

            run(inside())

        test.__name__, test.__doc__ = scenario.__name__, scenario.__doc__
        return test

    return wrap if scenario is None else wrap(scenario)


def resigned(liar, frame, kind, *, data=None, heads=None, **changed):
    """The frame with fields changed, signed by the coordinator, digests made right again."""
    head = dataclasses.replace(kind.decode(frame.head), **changed)
    data = frame.data if data is None else data
    heads = list(frame.heads) if heads is None else heads
    if kind is Sum:
        total = tagged_hash("secsum-a/total/v1", data)
        head = dataclasses.replace(head, total=total, heads=transcript.heads_digest(heads))
    return sign_frame(liar.identity, head, data=data, heads=heads)


async def honest_sum(liar):
    """One step as far as its sum: the attempt, M5, and what takes it into the history."""
    attempt = await liar.vectors(await liar.epoch())
    return attempt, *liar.sum(attempt)


def masked_of(attempt):
    """Everyone's M4 as the coordinator holds it, by sender."""
    return {one.sender: one for one in attempt.masked}


def words_of(liar, attempt, member):
    """A member's masked vector as the coordinator holds it."""
    return liar.terms.words.from_bytes(masked_of(attempt)[member].vector)


def added(vectors):
    """Masked vectors added as anyone can."""
    return np.sum(list(vectors), axis=0, dtype=np.uint64)


def plus(liar, frame, where, by):
    """The data of a sum with one word changed."""
    words = liar.terms.words.from_bytes(frame.data).copy()
    words[where] = (int(words[where]) + by) % 2**64
    return words.tobytes()
