"""Members' signatures behind a sum: every one is checked, at the latest before closing."""

from __future__ import annotations

import asyncio

import pytest

from hospital_node.secure_sum_checks import PROMPT_MEMBERS
from tests.simulators.secsum.adversary import attack, resigned
from twinward.secsum.messages import Kind, Sum

MANY = PROMPT_MEMBERS + 1


def forged(liar, frame, member):
    """The sum with one member's signature replaced; the coordinator signs that."""
    heads = list(frame.heads)
    heads[member] = heads[member][:-64] + bytes(64)
    return resigned(liar, frame, Sum, heads=heads)


async def step(liar, epoch):
    attempt = await liar.vectors(epoch)
    return liar.sum(attempt)


@attack(members=PROMPT_MEMBERS)
async def test_up_to_sixteen_members_a_forged_one_is_refused_before_anything_is_applied(liar):
    frame, _ = await step(liar, await liar.epoch())
    liar.give(forged(liar, frame, 3), liar.sites[:2])
    for site in liar.sites[:2]:
        assert await liar.refusal(site) == "TW2002"
        assert site.applied == []


@attack(members=MANY)
async def test_above_sixteen_the_vector_leaves_first_and_no_other_one_after_it(liar):
    epoch = await liar.epoch()
    frame, _ = await step(liar, epoch)
    liar.give(forged(liar, frame, 3), liar.sites[:2])
    for site in liar.sites[:2]:
        assert await liar.refusal(site) == "TW2002"
        assert [step for step, _ in site.applied] == [1]
        assert site.marks == [(1, 1), (1, 2)]
        assert [kind for kind, _ in site.left].count("masked") == 2


@attack(members=MANY, steps=1)
async def test_no_closing_is_signed_over_a_forged_member(liar):
    frame, _ = await step(liar, await liar.epoch())
    liar.give(forged(liar, frame, MANY - 1), liar.sites[:2])
    for site in liar.sites[:2]:
        assert await liar.refusal(site) == "TW2002"
        assert "close" not in [kind for kind, _ in site.left]


@attack(members=MANY, steps=3)
async def test_a_sum_that_hurries_after_a_forged_one_is_not_applied(liar):
    """Both sums are in the stream at once: the first one's signatures come first."""
    epoch = await liar.epoch()
    frame, take = await step(liar, epoch)
    victim = liar.sites[0]
    take()
    lie = forged(liar, frame, 5)
    liar.give(frame, liar.sites[1:])
    liar.give(lie, [victim])
    await liar.take(victim, Kind.MASKED)
    liar.give(lie, [victim])
    assert await liar.refusal(victim) == "TW2002"
    assert len(victim.applied) == 1


@pytest.mark.parametrize("members", [4, MANY])
def test_honest_members_are_believed(members):
    @attack(members=members, steps=2)
    async def scenario(liar):
        epoch = await liar.epoch()
        for _ in range(2):
            frame, take = await step(liar, epoch)
            take()
            liar.give(frame)
        for site in liar.sites:
            await liar.take(site, Kind.CLOSE)
            liar.pipes[site].end()
        assert {await liar.refusal(site) for site in liar.sites} == {"accepted"}

    scenario()


@attack(members=MANY)
async def test_a_node_that_catches_up_checks_them_too(liar):
    """Without an epoch of its own, before it takes the next sum or an offer."""
    frame, _ = await step(liar, await liar.epoch())
    victim = liar.sites[0]
    liar.tasks[victim].cancel()
    await asyncio.gather(liar.tasks[victim], return_exceptions=True)
    victim.applied.clear()
    await liar.connect(victim)
    liar.give(forged(liar, frame, 9), [victim])
    assert await liar.refusal(victim) == "TW2002"
