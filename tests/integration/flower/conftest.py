"""The mailbox of this folder's tests: one SuperLink and four SuperNodes for the whole session."""

import pytest

from tests.simulators.flower.mailbox import open_mailbox


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    """A SuperLink that is ready, with nobody registered."""
    with open_mailbox(tmp_path_factory.mktemp("flower")) as opened:
        yield opened


@pytest.fixture(scope="session")
def four(network):
    """Four hospitals, registered and online; tests put back what they change."""
    network.sites = [network.add_site(name) for name in ("aa", "bb", "cc", "dd")]
    network.superlink.enrol({site.org: site.public_key for site in network.sites})
    for site in network.sites:
        site.node.start()
    for site in network.sites:
        site.node.wait_online()
    return network.sites


@pytest.fixture
def sites(network, four):
    """The four, with daemons that answer at once; stragglers of the last test are gone."""
    for site in four:
        site.node.wait_online()
        site.daemon.expect()
    return four
