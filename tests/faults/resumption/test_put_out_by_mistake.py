"""A hospital that is revoked is out of the run under way at once; undone, it is back by itself."""

import time

import pytest

from tests.simulators.network import COORDINATOR, eventually
from tests.simulators.resumption import is_online

pytestmark = pytest.mark.slow

OUT_SECONDS = 5.0


def test_a_hospital_put_out_by_mistake_is_back_once_that_is_undone(network):
    name = network.hospitals[1]
    run = network.run()
    run.until("step", step=2)
    begun = time.monotonic()
    network.stage.command("server", "revoke", COORDINATOR, name)
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
