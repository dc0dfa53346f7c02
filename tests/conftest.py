"""Fixtures that several folders share: the one network of real processes."""

import sys
from types import SimpleNamespace

import pytest
from hypothesis import settings

# How long an example may take says how busy a machine is, and nothing of what is tested.
settings.register_profile("unhurried", parent=settings(), deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    """The network, started once; take `network`, which finds it whole."""
    from tests.simulators.network import running_network

    with running_network(tmp_path_factory.mktemp("network")) as found:
        yield found


@pytest.fixture
def network(running):
    """Four hospitals, ledger and coordinator, all up and healthy, whatever the last test did."""
    running.heal()
    return running


@pytest.fixture(scope="session")
def founded(tmp_path_factory):
    """A network whose founding file everyone has signed and where nothing runs."""
    from tests.simulators.network import Network

    found = Network(tmp_path_factory.mktemp("founded"))
    with found.stage:
        found.found()
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def both_stores(request, monkeypatch):
    """Whatever hospital a test makes keeps its vault in a file, then in a server."""
    if request.param == "sqlite":
        yield
        return
    from tests.simulators import postgres
    from tests.simulators.consent import world

    monkeypatch.setattr(world, "place", postgres.shared().vault)
    with postgres.all_closed():
        yield


@pytest.fixture
def same_noise(request, monkeypatch):
    """Noise and samples of a node are drawn as ever, from bytes that are those of every run.

    For tests that hold what chance gave against a bound: whether they pass is then not chance.
    """
    from tests.simulators.entropy import known

    system = SimpleNamespace(urandom=known(request.node.name))
    for module in ("noise", "sampler"):
        monkeypatch.setattr(f"hospital_node.privacy.{module}.os", system)


@pytest.fixture(scope="session", autouse=True)
def _no_server_is_left():
    yield
    if "tests.simulators.postgres" in sys.modules:
        sys.modules["tests.simulators.postgres"].end_shared()
