"""Flower is an untrusted mailbox: what it brings twice is taken once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.simulators.network import SLACK
from twinward.errors import TwinwardError
from twinward.ids import RunId

pytestmark = pytest.mark.slow


def test_of_two_openings_that_come_at_once_one_is_refused(network):
    name = network.hospitals[0]
    openings = [network.opening(), network.opening()]
    together = Barrier(2)

    def bring(opening):
        together.wait(SLACK)
        try:
            network.open_run(name, opening)
        except TwinwardError as error:
            return error.code
        return None

    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(bring, openings))
    # The coordinator knows neither run, so the one that was taken ends there.
    assert sorted(codes) == ["TW6006", "TW6123"]
    book = network.book(name)
    reserved = [RunId(opening.run.hex()) in book for opening in openings]
    assert sum(reserved) == 1
    assert network.status(name)["running"] is None


def test_an_order_that_the_coordinator_did_not_sign_is_refused(network):
    name, other = network.hospitals[:2]
    before = network.book(name)
    from twinward.organisation import Organisation

    with pytest.raises(TwinwardError) as refused:
        network.open_run(
            name, network.opening(signer=Organisation(network.folder / other).identity())
        )
    assert refused.value.code == "TW2004"
    opening = network.opening()
    opening.run = bytes(32)  # another run than the order's
    with pytest.raises(TwinwardError) as refused:
        network.open_run(name, opening)
    assert refused.value.code == "TW6007"
    assert network.book(name) == before
