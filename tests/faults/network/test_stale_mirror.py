"""A record of consents that is old, altered or damaged: nobody's data is used, and it says why."""

import sqlite3
import time
from contextlib import closing

import pytest

from tests.simulators.network import COORDINATOR, MIRROR_SECONDS, eventually
from twinward.errors import TwinwardError

pytestmark = pytest.mark.slow


def mirror_of(network, name):
    return network.folder / name / "state" / "mirror.sqlite"


def refusal(network, name):
    """Why this node does not take part in a run that it is offered now."""
    before = network.book(name)
    with pytest.raises(TwinwardError) as refused:
        network.open_run(name, network.opening())
    assert network.book(name) == before  # refused before anything was reserved
    return refused.value


def test_while_the_coordinator_is_silent_a_run_is_refused_and_afterwards_it_is_not(network):
    name = network.hospitals[0]
    with network.paused(network.pid(COORDINATOR)):
        time.sleep(MIRROR_SECONDS + 1)
        refused = refusal(network, name)
    assert refused.code == "TW3104"
    assert f"limit is {MIRROR_SECONDS} s" in refused.diagnostic.message
    assert refused.diagnostic.exit_status == 6
    assert "withdrawals work" in refused.diagnostic.help
    eventually(lambda: network.is_healthy(name))
    assert name in network.complete_run().release["members"]


def test_a_step_is_refused_when_the_record_grows_too_old_in_the_middle_of_a_run(network):
    """The ledger falls silent; a slow hospital holds the run up until the others' limit."""
    strict, slow, *rest = network.hospitals
    network.stop(strict)
    network.set(strict, mirror_max_age_seconds=2.0)
    network.up(strict)
    try:
        run = network.run()
        run.until("step", step=6)
        with network.paused(network.ledger_process()):
            with network.paused(network.pid(slow)):
                time.sleep(3.5)
            run.until("closed")
        run.end()
    finally:
        network.stop(strict)
        network.set(strict, mirror_max_age_seconds=MIRROR_SECONDS)
    assert run.release, run.last
    assert sorted(run.release["members"]) == sorted([slow, *rest])
    assert "TW3104" in network.log(strict)
    charged = network.book(strict)[run.id]
    assert not charged.closed


def test_a_copy_that_was_altered_is_refused_by_name(network):
    name = network.hospitals[1]
    network.stop(name)
    with closing(sqlite3.connect(mirror_of(network, name))) as mirror:
        # Somebody adds a consent: bring one subject's permission back to its first state.
        mirror.execute(
            "update events set slot = (select slot from events where sequence = 1),"
            " head = zeroblob(32) where sequence = (select max(sequence) from events)"
        )
        mirror.commit()
    network.begin(name)
    try:
        eventually(lambda: trouble(network, name) == "TW3102")
        assert refusal(network, name).code == "TW3102"
        assert not network.status(name)["healthy"]
        assert "cohort" not in network.status(name)["studies"][0]
        run = network.complete_run()  # the others go on without it
        assert name not in run.release["members"]
    finally:
        network.stop(name)
        mirror_of(network, name).unlink()
    network.up(name)
    network.wait_for_consents()


def test_a_copy_that_breaks_under_a_running_node_stops_it_at_once_and_does_not_go_unseen(network):
    name = network.hospitals[2]
    with closing(sqlite3.connect(mirror_of(network, name))) as mirror:
        mirror.execute("drop table events")
        mirror.commit()
    try:
        eventually(lambda: trouble(network, name) == "TW5043")
        assert refusal(network, name).code == "TW5043"
        # It takes withdrawals all the same: they hold here, and reach the ledger after a repair.
        assert network.withdraw(network.granted(name)[0])["hospital"] == name
    finally:
        network.stop(name)
        mirror_of(network, name).unlink()
    network.up(name)
    network.wait_for_consents()
    eventually(lambda: network.waiting(name) == 0)


def trouble(network, name):
    try:
        found = network.status(name)["ledger"]["trouble"]
    except TwinwardError:
        return None
    return found and found["code"]
