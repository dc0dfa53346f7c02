"""Studies over cables that delay, lose and are pulled: they complete, or stop and say why."""

import contextlib
import threading

import pytest

from tests.simulators.namespaces import BEHIND_PROXY, HOSPITALS

pytestmark = pytest.mark.slow
CUT_SECONDS = 4.0
TOO_FEW = "TW6100"


def heal(world):
    for name in HOSPITALS:
        world.wait_healthy(name)


def released(outcome):
    """With every hospital to the last step, no attempt lost, and evidence that verifies."""
    assert outcome.release, outcome.last
    assert {*outcome.release["members"]} == {*HOSPITALS}
    assert outcome.release["verified"]
    assert not outcome.of("lost")
    return outcome


def test_a_study_over_a_slow_cable_and_one_that_loses_completes(world):
    heal(world)
    with contextlib.ExitStack() as cables:
        cables.enter_context(world.machines.bad_cable("harbour", delay=0.05))
        cables.enter_context(world.machines.bad_cable(BEHIND_PROXY, loss=0.1))
        outcome = released(world.run().end())
    steps = [one["ms"] for one in outcome.of("step")]
    assert sorted(steps)[len(steps) // 2] > 100  # there and back: the cable was in the way


def test_a_hospital_two_seconds_away_stops_a_study_of_three_with_a_named_cause(world):
    heal(world)
    with world.machines.bad_cable("meadow", delay=2.0):
        outcome = world.run().end()
    # Whoever is fast enough after all takes part; otherwise too few are there, and it says so.
    assert outcome.release or outcome.error["code"] == TOO_FEW, outcome.last


def test_a_study_whose_cable_is_pulled_in_a_step_goes_on_when_it_is_back(world):
    heal(world)  # also from what the test before left
    with world.machines.bad_cable("harbour", delay=0.05):  # steps slow enough to be cut in one
        run = world.run()
        run.until("step", step=2)
        world.machines.cable("meadow", "down")
        back = threading.Timer(CUT_SECONDS, world.machines.cable, ("meadow", "up"))
        back.start()
        try:
            outcome = released(run.end())
        finally:
            back.join()
    assert max(one["ms"] for one in outcome.of("step")) > 1000 * CUT_SECONDS / 2
