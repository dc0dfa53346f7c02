"""Attacks over several attempts, epochs or runs: what one gave must not open another."""

from __future__ import annotations

import asyncio
import dataclasses
import gc

import numpy as np
import pytest

from hospital_node.secure_sum_epoch import Epoch
from tests.simulators.secsum.adversary import (
    added,
    attack,
    honest_sum,
    masked_of,
    plus,
    resigned,
    words_of,
)
from tests.simulators.secsum.liar import Liar
from twinward.errors import TrainingError
from twinward.secsum import masks
from twinward.secsum.frames import pack, sign_frame
from twinward.secsum.messages import Advertise, Kind, Next, Reason, Roster, Signed, Sum, raw
from twinward.secsum.profile import colluders, noise_shares


def pair_keys(liar, watch):
    """Every pair key that any node derives from now on, as ``(own, peer, key)``."""
    plain = masks.pair_key

    def spy(private, peer_key, *, setup, own, peer):
        key = plain(private, peer_key, setup=setup, own=own, peer=peer)
        watch.append((own, peer, key))
        return key

    return plain, spy


@attack
async def test_a_members_keys_of_a_later_epoch_open_nothing_of_an_earlier_one(liar):
    """Set up once and recover later opens the past; here every later key of a member is given away.

    The victim colludes from epoch 2 on: its keys of then do not unmask what it sent before.
    """
    first = await liar.vectors(await liar.epoch())
    victim = liar.sites[0]
    before = words_of(liar, first, raw(victim.name)).copy()
    liar.give(liar.state.abort(Reason.BROKEN, ()))
    given = []
    plain, masks.pair_key = pair_keys(liar, given)
    try:
        await liar.vectors(await liar.epoch())
    finally:
        masks.pair_key = plain
    later = {peer: key for own, peer, key in given if own == raw(victim.name)}
    assert len(later) == 3
    for epoch in (1, 2):
        words = before.copy()
        history = liar.state.histories[0]
        # Unmasking is masking with the signs turned round: as if we were each peer in turn.
        for peer, key in later.items():
            theirs = masks.Masks(
                {raw(victim.name): key}, own=peer, epoch=epoch, step=1, history=history
            )
            theirs.add_to(words)
        assert np.any(words[-2:])
        assert not np.array_equal(words[:-2].view(np.int64), victim.contributed[1, 1][0])


@attack
async def test_the_keys_of_an_epoch_do_open_its_vectors_so_the_test_above_can_fail(liar):
    given = []
    plain, masks.pair_key = pair_keys(liar, given)
    try:
        attempt = await liar.vectors(await liar.epoch())
    finally:
        masks.pair_key = plain
    victim = liar.sites[0]
    words = words_of(liar, attempt, raw(victim.name)).copy()
    for own, peer, key in given:
        if own == raw(victim.name):
            masks.Masks(
                {own: key}, own=peer, epoch=1, step=1, history=liar.state.histories[0]
            ).add_to(words)
    assert np.array_equal(words[:-2].view(np.int64), victim.contributed[1, 1][0])


@attack
async def test_after_an_abort_a_node_holds_no_key_of_the_dead_epoch(liar):
    """Seizing the machine afterwards gives nothing: no reference to a key is left."""

    await liar.vectors(await liar.epoch())
    # By type: asking a torch object for its class can warn, and other tests import torch.
    alive = [one for one in gc.get_objects() if type(one) is Epoch]
    assert len([one for one in alive if one._pair_keys]) >= 4
    liar.give(liar.state.abort(Reason.BROKEN, ()))
    await asyncio.sleep(0.1)
    assert all(not one._pair_keys and one._private is None for one in alive if one.offer.run ==
               liar.run)  # fmt: skip


@attack(members=6)
async def test_a_partition_into_two_epochs_gives_two_sums_with_full_noise_each_paid(liar):
    """Two disjoint sets under one epoch number: each hides among its own, each is charged."""
    halves = liar.sites[:3], liar.sites[3:]
    totals = []
    for half in halves:
        liar.state.epoch = 0
        attempt = await liar.vectors(await liar.epoch(half), half)
        totals.append(liar.state.require_sum(attempt).copy())
        assert len(masked_of(attempt)) == 3
    for half, total in zip(halves, totals, strict=True):
        assert np.array_equal(total, np.sum([s.contributed[1, 1][0] for s in half], axis=0))
        for site in half:
            assert site.marks == [(1, 1)]
    # Nobody can be asked into the other half's epoch of the same number any more.
    liar.state.epoch = 0
    _, frame = liar.state.offer(tuple(raw(site.name) for site in liar.sites[1:4]))
    liar.give(frame, liar.sites[1:4])
    for site in liar.sites[1:4]:
        assert await liar.refusal(site) == "TW6113"
    # The noise of each was made for three members with one colluder, not for six.
    assert (noise_shares(3), colluders(3)) == (2, 1)


@attack(members=5)
async def test_overlapping_sets_differ_by_fresh_noise_in_every_member(liar):
    """{1,2,3,4}, then {1,2,3,5}: subtracting leaves the noise of both attempts of all of them."""
    one, two = liar.sites[:4], [*liar.sites[:3], liar.sites[4]]
    totals = []
    for sites in (one, two):
        attempt = await liar.vectors(await liar.epoch(sites), sites)
        totals.append(liar.state.require_sum(attempt).copy())
        liar.give(liar.state.abort(Reason.BROKEN, ()), sites)
    wanted = liar.sites[3].contributed[1, 1][0] - liar.sites[4].contributed[2, 1][0]
    assert not np.array_equal(totals[0] - totals[1], wanted)
    for site in liar.sites[:3]:
        assert site.marks == [(1, 1), (2, 1)]
        assert not np.array_equal(site.contributed[1, 1][0], site.contributed[2, 1][0])


@attack
async def test_late_arrivals_after_an_invented_drop_out_are_a_release_of_their_own(liar):
    """All four vectors of the dead attempt came in secret: its sum is one more paid release."""
    dead = await liar.vectors(await liar.epoch())
    secret = liar.state.require_sum(dead).copy()
    rest = liar.sites[:3]
    liar.give(liar.state.abort(Reason.SILENT, (raw(liar.sites[3].name),)), rest)
    again = await liar.vectors(await liar.epoch(rest), rest)
    published = liar.state.require_sum(again)
    for site in rest:
        assert len(site.marks) == 2  # both were paid by whoever is in both
    assert len(liar.sites[3].marks) == 1
    bare = liar.sites[3].contributed[1, 1][0]
    assert not np.array_equal(secret - published, bare)


@attack
async def test_masks_of_two_attempts_do_not_cancel_one_another(liar):
    """Vectors mixed from two attempts of the same members, step and history."""
    first = await liar.vectors(await liar.epoch())
    early = {name: words_of(liar, first, name).copy() for name in masked_of(first)}
    liar.give(liar.state.abort(Reason.BROKEN, ()))
    second = await liar.vectors(await liar.epoch())
    late = {name: words_of(liar, second, name) for name in masked_of(second)}
    names = sorted(early)
    for cut in (1, 2, 3):
        mixed = added([early[name] for name in names[:cut]] + [late[n] for n in names[cut:]])
        with pytest.raises(TrainingError) as garbage:
            liar.terms.words.to_integers(mixed, limit=1 << 62)
        assert garbage.value.code == "TW6105"
    for name in names:  # nor does the difference of a member's two vectors bare its own
        assert np.any((early[name] - late[name])[-2:])


def test_an_advert_of_another_run_is_refused():
    """A key that a member signed for run B, shown to the members of run A."""

    async def scenario():
        async with Liar() as one, Liar() as two:
            theirs = await two.offer()
            opened = await one.offer()
            colluder, victim = one.sites[1], one.sites[0]
            replayed = dataclasses.replace(
                Advertise.decode(opened.adverts[raw(colluder.name)].head), run=two.run
            )
            opened.adverts[raw(colluder.name)] = Signed.by(colluder.identity, replayed)
            _, frame = one.state.roster(opened)
            one.give(frame, [victim])
            assert await one.refusal(victim) == "TW6114"
            assert victim.marks == []
            _, frame = two.state.roster(theirs)  # a roster of run B, whole, to a member of run A
            one.give(frame, [one.sites[2]])
            assert await one.refusal(one.sites[2]) == "TW2002"

    asyncio.run(scenario())


@attack
async def test_a_roster_that_the_same_coordinator_signed_for_another_run_is_refused(liar):
    opened = await liar.offer()
    _, frame = liar.state.roster(opened)
    head = dataclasses.replace(Roster.decode(frame.head), run=b"x" * 32)
    liar.give(sign_frame(liar.identity, head, heads=list(frame.heads)), liar.sites[:1])
    assert await liar.refusal(liar.sites[0]) == "TW6114"


@attack
async def test_another_members_vector_replaced_by_an_older_one_is_noticed(liar):
    first = await liar.vectors(await liar.epoch())
    old = masked_of(first)
    liar.give(liar.state.abort(Reason.BROKEN, ()))
    second = await liar.vectors(await liar.epoch())
    frame, _ = liar.sum(second)
    swapped = raw(liar.sites[1].name)
    heads = [
        (old if member == swapped else masked_of(second))[member].signed.blob
        for member in second.epoch.members
    ]
    liar.give(resigned(liar, frame, Sum, heads=heads), liar.sites[:1])
    assert await liar.refusal(liar.sites[0]) == "TW6116"
    assert liar.sites[0].applied == []


@attack
async def test_a_false_sum_told_to_all_alike_shows_when_vectors_are_added_again(liar):
    """Privacy holds, integrity does not: every node believes it, and the evidence convicts."""
    attempt, frame, _ = await honest_sum(liar)
    true = added(words_of(liar, attempt, name) for name in masked_of(attempt))
    lie = resigned(liar, frame, Sum, data=plus(liar, frame, 0, 12345))
    liar.give(lie)
    for site in liar.sites:
        await liar.take(site, Kind.MASKED)
        assert len(site.applied) == 1
    told = liar.terms.words.from_bytes(lie.data)
    assert not np.array_equal(true, told)
    signed = Sum.decode(lie.head)
    heads = {site.identity.public.fingerprint: site for site in liar.sites}
    for blob, member in zip(lie.heads, attempt.epoch.members, strict=True):
        assert blob == masked_of(attempt)[member].signed.blob
        assert member.hex() in heads
    liar.identity.public.verify(Kind.SUM.signed_as, lie.head, lie.signature)
    assert signed.step == 1


@pytest.mark.parametrize("last", [1, 7])
def test_a_restarted_node_refuses_an_epoch_that_its_book_has_a_mark_of(last):
    """A crash must not let an epoch be opened twice under one number."""

    async def scenario():
        async with Liar() as liar:
            victim = liar.sites[0]
            liar.tasks[victim].cancel()
            await asyncio.gather(liar.tasks[victim], return_exceptions=True)
            await liar.connect(victim, last_epoch=last, attempts_before=1)
            liar.state.epoch = last - 1
            _, frame = liar.state.offer(tuple(raw(site.name) for site in liar.sites))
            liar.give(frame, [victim])
            assert await liar.refusal(victim) == "TW6113"

    asyncio.run(scenario())


@attack
async def test_an_invented_last_step_ends_nothing_and_gives_nothing(liar):
    """``Next.CLOSE`` before the plan's last step: no closing is signed."""

    _, frame, _ = await honest_sum(liar)
    liar.give(resigned(liar, frame, Sum, then=int(Next.CLOSE)))
    for site in liar.sites:
        assert await liar.quiet(site)
        assert "close" not in [kind for kind, _ in site.left]


@attack
async def test_an_offer_signed_by_a_member_instead_of_the_coordinator_is_refused(liar):
    _, frame = liar.state.offer(tuple(raw(site.name) for site in liar.sites))
    forged = Signed(frame.head, liar.sites[1].identity.sign(Kind.OFFER.signed_as, frame.head))
    liar.give(pack(Kind.OFFER, forged, data=frame.data), liar.sites[:1])
    assert await liar.refusal(liar.sites[0]) == "TW2002"
