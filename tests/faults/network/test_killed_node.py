"""Kill -9 of hospitals in a run: the others finish, and nobody's spend is ever under-counted."""

from contextlib import closing

import pytest

from server.transcript import Transcript
from tests.simulators.network import COORDINATOR, eventually
from twinward.secsum.messages import Close

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("moment", [("epoch", {}), ("step", {"step": 12})], ids=["before", "after"])
def test_the_others_finish_and_the_killed_hospital_paid_for_the_whole_run(network, moment):
    victim = network.hospitals[-1]
    run = network.run()
    event, fields = moment
    run.until(event, **fields)
    network.kill(victim)
    run.end()
    assert run.release, run.last
    assert sorted(run.release["members"]) == sorted(set(network.hospitals) - {victim})
    assert run.of("lost")[0]["missing"] == [victim]
    lost = network.book(victim)[run.id]
    sent = run.of("lost")[0]["step"]
    assert lost.reserved == 33
    assert not lost.closed
    assert lost.marked >= sent - 1  # each vector that anyone saw was charged before it left
    spent = {name: network.book(name)[run.id] for name in run.release["members"]}
    assert all(each.closed for each in spent.values())
    # An attempt that came to nothing is charged to whoever made it.
    assert all(30 <= each.marked <= run.release["attempts"] <= 33 for each in spent.values())
    assert max(each.marked for each in spent.values()) > 30

    network.up(victim)
    after = network.book(victim)[run.id]
    assert after == lost  # a restart gives nothing back
    again = network.complete_run()
    assert victim in again.release["members"]
    assert again.of("epoch")[0]["epoch"] == 1


def test_with_three_hospitals_a_run_goes_on_and_with_two_it_fails_and_says_why(network):
    first, second, *rest = network.hospitals
    run = network.run()
    run.until("step", step=5)
    network.kill(first)
    run.until("step", step=10)
    network.kill(second)
    run.end()
    assert run.release is None
    assert run.status != 0
    assert run.error["code"] == "TW6100"
    assert "3" in run.error["message"] + run.error["help"]
    assert all(f"{name} (" in run.error["message"] for name in (first, second))
    assert "last seen" in run.error["message"]
    for name in network.hospitals:
        charged = network.book(name)[run.id]
        assert charged.reserved == 33
        assert charged.marked >= (5 if name == first else 9)
        assert not charged.closed
    for name in rest:  # they end their attempt and stay up
        eventually(lambda name=name: network.status(name)["running"] is None)
    network.heal()
    assert len(network.complete_run().release["members"]) == 4


def test_a_hospital_that_comes_back_into_the_same_run_counts_what_it_sent_before(network):
    """Two of four are killed; one is back within the coordinator's patience, with its old book."""
    gone, back, *rest = network.hospitals
    run = network.run()
    run.until("step", step=6)
    network.kill(gone)
    run.until("step", step=12)
    network.kill(back)
    before = network.book(back)[run.id]
    network.begin(back)
    run.end()  # it is brought the opening again, by itself
    assert run.release, run.last
    assert sorted(run.release["members"]) == sorted([back, *rest])
    after = network.book(back)[run.id]
    assert after.marked - before.marked == 30 - run.of("lost")[-1]["step"] + 1
    assert after.marked <= after.reserved == 33
    assert after.closed
    path = network.folder / COORDINATOR / "state" / "transcripts" / f"{run.id}.sqlite"
    member = network.founding().member(back)
    with closing(Transcript.open(path)) as transcript:
        signed = transcript.closings()[bytes.fromhex(member.fingerprint)]
    told = signed.opened(Close, member.identity)
    assert told.attempts == after.marked  # nothing forgotten by the restart


def test_the_same_order_brought_again_is_not_run_again(network):
    name = network.hospitals[0]
    run = network.complete_run()
    before = network.book(name)
    opening = network.opening(run=run.id)
    with pytest.raises(Exception, match="no open reservation") as refused:
        network.open_run(name, opening)
    assert refused.value.code == "TW4102"
    assert network.book(name) == before
