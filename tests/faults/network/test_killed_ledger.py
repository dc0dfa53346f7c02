"""Kill -9 of the ledger: it is started again with every block it ever acknowledged."""

import os
import signal
import threading

import pytest

from tests.simulators.network import eventually
from twinward.errors import LedgerError

pytestmark = pytest.mark.slow


class Watcher:
    """Asks the ledger for every block as soon as it is there, and remembers its hash."""

    def __init__(self, rpc):
        self.rpc = rpc
        self.hashes = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()
        self.rpc.close()

    def block(self, number):
        return self.rpc.call("eth_getBlockByNumber", number, False)

    def _watch(self):
        while not self._ended.wait(0.02):
            try:
                newest = int(self.block("latest")["number"], 16)
                for number in range(len(self.hashes), newest + 1):
                    self.hashes[number] = self.block(hex(number))["hash"]
            except LedgerError:
                continue


def kill_ledger(network):
    """Kill -9, and return once the supervisor has started another."""
    pid = network.ledger_process()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: network.ledger_process() not in {pid, None})


def test_killed_while_consents_arrive_it_has_every_acknowledged_block(network):
    name = network.hospitals[0]
    with Watcher(network.ledger(timeout=2)) as watcher:
        given_up = [network.withdraw(reference) for reference in network.granted(name)[:6]]
        eventually(lambda: len(watcher.hashes) > 3)
        seen = dict(watcher.hashes)
        kill_ledger(network)
        given_up += [network.withdraw(reference) for reference in network.granted(name)[:6]]
        kill_ledger(network)
        eventually(lambda: network.status(name)["ledger"]["confirmed_seconds_ago"] is not None)
        network.heal()
        eventually(lambda: network.waiting(name) == 0)
        for number, block_hash in seen.items():
            assert watcher.block(hex(number))["hash"] == block_hash
    assert len(given_up) == 12
    network.wait_for_consents()


def test_killed_in_a_run_the_run_completes_or_fails_clearly_and_the_next_one_works(network):
    run = network.run()
    run.until("step", step=6)
    kill_ledger(network)
    run.end()
    # Steps do not need the ledger, and the release waits for it.
    assert run.release or run.error["code"].startswith("TW5"), run.last
    network.heal()
    after = network.complete_run()
    assert len(after.release["members"]) == 4
    assert after.release["ledger_block"] >= 1
