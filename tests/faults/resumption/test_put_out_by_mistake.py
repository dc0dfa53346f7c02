"""A hospital that is revoked is out of the run under way at once; undone, it is back by itself."""

import time

import pytest

from tests.simulators.network import COORDINATOR, eventually
from tests.simulators.resumption import is_online

pytestmark = pytest.mark.slow

OUT_SECONDS = 5.0


def test_a_hospital_put_out_by_mistake_is_back_once_that_is_undone(network):
    name, other = network.hospitals[1:3]
    run = network.run()
    run.until("step", step=2)
    with network.paused(network.pid(other)):  # the run does not end before the command has begun
        network.stage.command("server", "revoke", COORDINATOR, name)
        begun = time.monotonic()
    assert run.until("lost")["missing"] == [name]
    eventually(lambda: not is_online(network, name))
    assert time.monotonic() - begun < OUT_SECONDS
    run.end()
    assert run.release, run.last
    assert name not in run.release["members"]
    network.stage.command("server", "revoke", COORDINATOR, name, "--undo")
    eventually(lambda: is_online(network, name))
    eventually(lambda: network.status(name)["running"] is None)  # it gave up the run it was in
    network.wait_healthy(name)
    again = network.complete_run()
    assert name in again.release["members"], again.of("absent")
