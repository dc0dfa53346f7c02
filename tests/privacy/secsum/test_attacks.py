"""Adversaries as code: a coordinator (or a member) that lies, one test named after each attack.

The other side is always the node's real driver; the liar signs with the coordinator's real key.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.simulators.secsum import leaping
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
from tests.simulators.secsum.wire import Site
from twinward.errors import TrainingError
from twinward.rpc.messages_pb2 import Frame
from twinward.secsum import masks, transcript
from twinward.secsum.frames import pack, signed_of
from twinward.secsum.messages import (
    Advertise,
    Kind,
    Masked,
    Next,
    Offer,
    Reason,
    Roster,
    Signed,
    Sum,
    raw,
)
from twinward.secsum.profile import noise_shares
from twinward.signing import Identity


@attack
async def test_the_honest_protocol_is_accepted(liar):
    """Without a lie the same building blocks bring every node to the end."""
    attempt, frame, take = await honest_sum(liar)
    for step in (1, 2, 3):
        if step > 1:
            attempt = await liar.vectors(attempt.epoch)
            frame, take = liar.sum(attempt)
        take()
        liar.give(frame)
    for site in liar.sites:
        await liar.take(site, Kind.CLOSE)
        liar.pipes[site].end()
        assert await liar.refusal(site) == "accepted"


@attack
async def test_a_second_sum_for_one_step_is_refused(liar):
    _, frame, _ = await honest_sum(liar)
    liar.give(frame)
    await liar.take(liar.sites[0], Kind.MASKED)
    liar.give(frame)
    assert await liar.quiet(liar.sites[0])  # the very same sum again changes nothing
    liar.give(resigned(liar, frame, Sum, data=plus(liar, frame, 0, 1)))
    assert await liar.refusal(liar.sites[0]) == "TW6111"
    assert [step for step, _ in liar.sites[0].applied] == [1]


@attack
async def test_a_sum_out_of_range_is_refused(liar):
    _, frame, _ = await honest_sum(liar)
    liar.give(resigned(liar, frame, Sum, data=plus(liar, frame, 1, 1 << 45)), liar.sites[:1])
    liar.give(resigned(liar, frame, Sum, data=plus(liar, frame, 1, -(1 << 63))), liar.sites[1:])
    for site in liar.sites:
        assert await liar.refusal(site) == "TW6106"
        assert site.applied == []


@attack
async def test_tampered_guard_words_are_refused(liar):
    _, frame, _ = await honest_sum(liar)
    for site, guard in zip(liar.sites, (-1, -2, -1, -2), strict=True):
        liar.give(resigned(liar, frame, Sum, data=plus(liar, frame, guard, 1)), [site])
        assert await liar.refusal(site) == "TW6105"
        assert site.applied == []


@attack
async def test_two_models_make_masks_that_do_not_cancel(liar):
    """Different sums to different nodes: their histories part, their vectors are noise."""
    _, frame, take = await honest_sum(liar)
    other = resigned(liar, frame, Sum, data=plus(liar, frame, 0, 7))
    liar.give(frame, liar.sites[:2])
    liar.give(other, liar.sites[2:])
    take()
    frames = {site: await liar.take(site, Kind.MASKED) for site in liar.sites}
    total = added(liar.terms.words.from_bytes(one.data) for one in frames.values())
    with pytest.raises(TrainingError) as garbage:
        liar.terms.words.to_integers(total, limit=liar.terms.max_abs_sum)
    assert garbage.value.code == "TW6105"
    # ... and shown to the nodes with a sum that looks perfect, the histories in the heads differ.
    heads = [signed_of(frames[site]).blob for site in liar.sites]
    lie = resigned(liar, frame, Sum, heads=heads, step=2, history=liar.state.histories[-1])
    liar.give(lie, liar.sites[:2])
    for site in liar.sites[:2]:
        assert await liar.refusal(site) == "TW6116"


@attack
async def test_the_same_noisy_vector_is_never_sent_under_two_sets(liar):
    """The subtraction attack: abort, shrink the set, ask again, subtract. Noise is fresh."""
    epoch = await liar.epoch()
    before = await liar.vectors(epoch)
    full = liar.terms.words.to_integers(
        before.total,
        limit=1 << 40,
    )
    rest, dropped = liar.sites[:3], liar.sites[3]
    liar.give(liar.state.abort(Reason.SILENT, (raw(dropped.name),)), rest)
    epoch = await liar.epoch(rest)
    after = await liar.vectors(epoch, rest)
    partial = liar.terms.words.to_integers(
        after.total,
        limit=1 << 40,
    )
    assert not np.array_equal(full - partial, dropped.contributed[1, 1][0])
    for site in rest:
        assert site.marks == [(1, 1), (2, 1)]
        assert not np.array_equal(site.contributed[1, 1][0], site.contributed[2, 1][0])
        assert [len(one) for one in site.contributed.values()] == [1, 1]


@attack
async def test_epochs_without_end_are_each_paid_and_stop_when_the_reservation_is_gone(liar):
    """Averaging the noise away: offer, take the vectors, pretend a break, again and again."""
    for site in liar.sites:
        site.attempts = 5
    for _ in range(5):
        epoch = await liar.epoch()
        await liar.vectors(epoch)
        liar.give(liar.state.abort(Reason.BROKEN, ()))
    await liar.epoch()
    for site in liar.sites:
        with pytest.raises(RuntimeError, match="no attempts left"):
            await liar.refusal(site)
        assert len(site.marks) == 5
        assert [kind for kind, _ in site.left].count("masked") == 5


@attack
async def test_asking_again_inside_an_epoch_gives_no_second_vector(liar):
    """Replayed roster, replayed offer: nothing more is contributed."""
    opened, offer = liar.state.offer(tuple(raw(site.name) for site in liar.sites))
    liar.give(offer)
    for site in liar.sites:
        advert = await liar.take(site, Kind.ADVERTISE)
        liar.state.take_advert(opened, advert, site.identity.public)
    _, roster = liar.state.roster(opened)
    site = liar.sites[0]
    liar.give(roster, [site])
    await liar.take(site, Kind.MASKED)
    liar.give(roster, [site])
    assert await liar.quiet(site)
    liar.give(offer, [site])
    assert await liar.refusal(site) == "TW6113"
    assert site.marks == [(1, 1)]


@attack
async def test_a_dropped_member_and_then_a_partial_sum_is_refused(liar):
    """Three of four vectors: the fourth's masks stay in it, and its head is missing."""
    epoch = await liar.epoch()
    vectors = await liar.vectors(epoch)
    kept = [masked_of(vectors)[member] for member in epoch.members[:3]]
    words = added(words_of(liar, vectors, one.sender) for one in kept)
    assert np.any(words[-2:])
    frame, _ = liar.sum(vectors)
    data, heads = words.tobytes(), [one.signed.blob for one in kept]
    liar.give(resigned(liar, frame, Sum, data=data, heads=heads), liar.sites[:2])
    liar.give(resigned(liar, frame, Sum, data=data), liar.sites[2:])
    assert [await liar.refusal(site) for site in liar.sites] == ["TW6116"] * 2 + ["TW6105"] * 2


@attack
async def test_own_vector_replaced_is_noticed(liar):
    """The sum shows another vector of ours than the one we sent (here: of an older attempt)."""
    epoch = await liar.epoch()
    first = await liar.vectors(epoch)
    liar.give(liar.state.abort(Reason.BROKEN, ()))
    epoch = await liar.epoch()
    vectors = await liar.vectors(epoch)
    frame, _ = liar.sum(vectors)
    victim = liar.sites[0]
    heads = [
        masked_of(first if member == raw(victim.name) else vectors)[member].signed.blob
        for member in epoch.members
    ]
    liar.give(resigned(liar, frame, Sum, heads=heads), [victim])
    assert await liar.refusal(victim) == "TW6116"


@attack
async def test_a_foreign_member_in_the_offer_is_refused(liar):
    """Three hospitals of the coordinator's own making around a real one."""
    victim, fakes = liar.sites[0], [Site() for _ in range(3)]
    members = tuple(sorted(raw(site.name) for site in (victim, *fakes)))
    _, frame = liar.state.offer(members)
    liar.give(frame, [victim])
    assert await liar.refusal(victim) == "TW6108"
    assert victim.marks == []


@attack
async def test_a_forged_member_in_the_roster_is_refused(liar):
    """A key that the coordinator made, announced in a real member's name."""
    opened = await liar.offer()
    forged, victim = liar.sites[1], liar.sites[0]
    fake = dataclasses.replace(
        Advertise.decode(opened.adverts[raw(forged.name)].head),
        key=masks.public_key(X25519PrivateKey.generate()),
    )
    opened.adverts[raw(forged.name)] = Signed.by(Identity.generate(), fake)
    _, frame = liar.state.roster(opened)
    liar.give(frame, [victim])
    assert await liar.refusal(victim) == "TW2002"
    assert victim.marks == []


@attack
async def test_an_advert_of_an_older_epoch_is_refused(liar):
    older = await liar.offer()
    newer = await liar.offer()
    replayed, victim = raw(liar.sites[1].name), liar.sites[0]
    newer.adverts[replayed] = older.adverts[replayed]
    _, frame = liar.state.roster(newer)
    liar.give(frame, [victim])
    assert await liar.refusal(victim) == "TW6114"
    assert victim.marks == []


@attack
async def test_reflection_of_a_nodes_own_key_is_refused(liar):
    """A colluding member announces the victim's key as its own: the secret would be known."""
    opened = await liar.offer()
    victim, colluder = liar.sites[0], liar.sites[1]
    mirrored = dataclasses.replace(
        Advertise.decode(opened.adverts[raw(colluder.name)].head),
        key=Advertise.decode(opened.adverts[raw(victim.name)].head).key,
    )
    opened.adverts[raw(colluder.name)] = Signed.by(colluder.identity, mirrored)
    _, frame = liar.state.roster(opened)
    liar.give(frame, [victim])
    assert await liar.refusal(victim) == "TW6114"


@attack
async def test_an_own_advert_that_is_not_the_one_sent_is_refused(liar):
    """The node's advert of another run with the same fields would change its key."""
    opened = await liar.offer()
    victim = liar.sites[0]
    other = dataclasses.replace(
        Advertise.decode(opened.adverts[raw(victim.name)].head),
        key=masks.public_key(X25519PrivateKey.generate()),
    )
    opened.adverts[raw(victim.name)] = Signed.by(victim.identity, other)
    _, frame = liar.state.roster(opened)
    liar.give(frame, [victim])
    assert await liar.refusal(victim) == "TW6114"


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31)])
def test_a_key_without_secret_is_refused(key):
    @attack
    async def scenario(liar):
        opened = await liar.offer()
        colluder = liar.sites[1]
        weak = dataclasses.replace(
            Advertise.decode(opened.adverts[raw(colluder.name)].head), key=key
        )
        opened.adverts[raw(colluder.name)] = Signed.by(colluder.identity, weak)
        _, frame = liar.state.roster(opened)
        liar.give(frame, liar.sites[:1])
        assert await liar.refusal(liar.sites[0]) == "TW6107"

    scenario()


@attack
async def test_a_smaller_set_than_was_offered_is_refused(liar):
    """U of four offered, keys of three delivered; then a sum of three heads."""
    opened = await liar.offer()
    victim = liar.sites[0]
    _, frame = liar.state.roster(opened)
    short = list(frame.heads)[:3]
    setup = transcript.setup_digest(opened.signed.head, [blob[:-64] for blob in short])
    liar.give(resigned(liar, frame, Roster, heads=short, setup=setup), [victim])
    assert await liar.refusal(victim) == "TW6114"


@attack
async def test_different_sets_for_different_members_are_refused(liar):
    """The victim is told four members; the others were told three."""
    victim, rest = liar.sites[3], liar.sites[:3]
    small = await liar.offer(rest)
    liar.state.epoch -= 1
    large, frame = liar.state.offer(tuple(raw(site.name) for site in liar.sites))
    liar.give(frame, [victim])
    own = await liar.take(victim, Kind.ADVERTISE)
    large.adverts.update(small.adverts)
    large.adverts[raw(victim.name)] = signed_of(own)
    _, roster = liar.state.roster(large)
    liar.give(roster, [victim])
    assert await liar.refusal(victim) == "TW6114"
    assert victim.marks == []


def test_two_members_are_refused_by_the_node():
    @attack
    async def scenario(liar):
        _, frame = liar.state.offer(tuple(raw(site.name) for site in liar.sites[:2]))
        liar.give(frame, liar.sites[:2])
        for site in liar.sites[:2]:
            assert await liar.refusal(site) == "TW6100"
            assert site.marks == []

    scenario()


@pytest.mark.parametrize("members", [0, 1, 2, 65])
def test_the_rule_on_members_refuses_too_few_and_too_many(members):
    with pytest.raises(TrainingError) as refused:
        noise_shares(members)
    assert refused.value.code == "TW6100"


def test_the_rule_on_members_always_leaves_two_honest_shares():
    assert [noise_shares(members) for members in (3, 4, 5, 6, 9, 64)] == [2, 3, 3, 4, 6, 42]


@pytest.mark.parametrize(
    "changed",
    [
        {"run": b"x" * 32},
        {"plan": b"x" * 32},
        {"history": b"x" * 32},
        {"step": 2},
        {"steps": 99},
        {"dimension": 6},
        {"word_bits": 32},
        {"members": 5},
        {"roster": b"x" * 32},
    ],
)
def test_an_offer_of_anything_but_the_approved_run_is_refused(changed):
    @attack
    async def scenario(liar):
        _, frame = liar.state.offer(tuple(raw(site.name) for site in liar.sites))
        liar.give(resigned(liar, frame, Offer, **changed), liar.sites[:1])
        expected = "TW6110" if changed.keys() & {"members", "roster"} else "TW6109"
        assert await liar.refusal(liar.sites[0]) == expected
        assert liar.sites[0].marks == []

    scenario()


def test_an_offer_that_names_a_member_twice_is_refused():
    @attack
    async def scenario(liar):
        names = sorted(raw(site.name) for site in liar.sites[:2])
        _, frame = liar.state.offer((names[0], names[0], names[1]))
        liar.give(frame, liar.sites[:1])
        assert await liar.refusal(liar.sites[0]) == "TW6110"

    scenario()


@pytest.mark.parametrize("kind", [Kind.OFFER, Kind.ROSTER, Kind.SUM, Kind.ABORT])
def test_a_message_by_anyone_but_the_coordinator_is_refused(kind):
    @attack
    async def scenario(liar):
        if kind is Kind.OFFER:
            _, frame = liar.state.offer(tuple(raw(site.name) for site in liar.sites))
        elif kind is Kind.ROSTER:
            _, frame = liar.state.roster(await liar.offer())
        elif kind is Kind.SUM:
            _, frame, _ = await honest_sum(liar)
        else:
            frame = liar.state.abort(Reason.FAILED, ())
        forged = Signed(frame.head, Identity.generate().sign(kind.signed_as, frame.head))
        fake = pack(kind, forged, data=frame.data, heads=list(frame.heads))
        liar.give(fake, liar.sites[:1])
        assert await liar.refusal(liar.sites[0]) == "TW2002"

    scenario()


@attack
async def test_a_signature_for_one_kind_cannot_serve_as_another(liar):
    frame = liar.state.abort(Reason.FAILED, ())
    liar.give(
        Frame(kind=Kind.ABORT, head=frame.head, signature=liar.identity.sign("x", frame.head))
    )
    assert await liar.refusal(liar.sites[0]) == "TW2002"


@attack
async def test_a_sum_of_another_run_or_step_is_refused(liar):
    _, frame, _ = await honest_sum(liar)
    for site, changed in zip(
        liar.sites,
        ({"run": b"x" * 32}, {"step": 2}, {"history": b"x" * 32}, {"setup": b"x" * 32}),
        strict=True,
    ):
        liar.give(resigned(liar, frame, Sum, **changed), [site])
        assert await liar.refusal(site) == "TW6112"


@attack
async def test_a_sum_whose_data_was_changed_on_the_way_is_refused(liar):
    _, frame, _ = await honest_sum(liar)
    altered = Frame.FromString(frame.SerializeToString())
    altered.data = plus(liar, frame, 0, 1)
    liar.give(altered, liar.sites[:1])
    assert await liar.refusal(liar.sites[0]) == "TW6112"


@attack
async def test_a_vector_under_a_foreign_consent_head_stays_visible_to_the_auditor(liar):
    """Each head names the consent head under which its cohort was chosen."""
    epoch = await liar.epoch()
    vectors = await liar.vectors(epoch)
    for site in liar.sites:
        head = masked_of(vectors)[raw(site.name)].signed.opened(Masked, site.identity.public)
        assert head.consent == b"C" * 32


@attack
async def test_an_epoch_that_ends_without_need_gives_nothing_away(liar):
    """``Next.OFFER`` (a member came back): keys are erased, nothing is sent until an offer."""
    _, frame, take = await honest_sum(liar)
    take()
    liar.give(resigned(liar, frame, Sum, then=int(Next.OFFER)))
    assert await liar.quiet(liar.sites[0])
    again = await liar.epoch()
    await liar.vectors(again)
    assert liar.sites[0].marks == [(1, 1), (2, 2)]


@attack
async def test_after_an_abort_a_sum_of_the_dead_epoch_changes_only_public_weights(liar):
    """Keys are gone, so nothing can be unmasked; the sum is checked like any missed one."""
    _, frame, _ = await honest_sum(liar)
    victim = liar.sites[0]
    liar.give(liar.state.abort(Reason.BROKEN, ()), [victim])
    liar.give(frame, [victim])
    assert await liar.quiet(victim)
    assert [step for step, _ in victim.applied] == [1]
    assert victim.marks == [(1, 1)]


@pytest.mark.parametrize("cost", [0.0, 0.03, 0.06])
def test_arrival_time_does_not_tell_the_size_of_the_cohort(cost):
    async def scenario():
        async with Liar() as liar:
            loop, slow = asyncio.get_running_loop(), liar.sites[0]
            slow.on_contribute = lambda *_: loop.passes(cost)  # a large cohort is slow
            liar.tasks[slow].cancel()
            await asyncio.gather(liar.tasks[slow], return_exceptions=True)
            await liar.connect(slow, slot_seconds=0.1)
            opened = await liar.offer()
            _, roster = liar.state.roster(opened)
            started = loop.time()
            liar.give(roster, [slow])
            await liar.take(slow, Kind.MASKED)
            assert loop.time() - started == pytest.approx(0.1)  # not one slot later

    leaping.run(scenario())


@pytest.mark.parametrize("size", [0, 10, 239, 240, 241, 5000])
def test_garbage_with_a_valid_signature_is_refused_clearly(size):
    @attack
    async def scenario(liar):
        garbage = os.urandom(size)
        signature = liar.identity.sign(Kind.OFFER.signed_as, garbage)
        liar.give(Frame(kind=Kind.OFFER, head=garbage, signature=signature), liar.sites[:1])
        assert await liar.refusal(liar.sites[0]) == "TW6101"

    scenario()


@pytest.mark.parametrize("kind", [0, 3, 5, 8, 99])
def test_a_frame_of_a_kind_that_coordinators_do_not_send_is_refused(kind):
    @attack
    async def scenario(liar):
        liar.give(Frame(kind=kind, head=b"h", signature=b"s"), liar.sites[:1])
        assert await liar.refusal(liar.sites[0]) == "TW6101"

    scenario()
