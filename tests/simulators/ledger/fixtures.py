"""One ledger for all tests of a module; each test brings its own patients and digests."""

import pytest

from tests.simulators.ledger.network import LedgerNetwork, Patient, RunningNode


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    running = RunningNode(tmp_path_factory.mktemp("node"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def network(node):
    network = LedgerNetwork(node.url, genesis=node.genesis.hash())
    yield network
    network.close()


@pytest.fixture
def patient(network):
    return Patient(network)
