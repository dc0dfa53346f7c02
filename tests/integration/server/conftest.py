"""One sound coordinator for all tests of its doctor; each test damages a copy of its own."""

import pytest

from tests.simulators.one_coordinator import Coordinator, Office


@pytest.fixture(scope="session")
def office(tmp_path_factory):
    return Office(tmp_path_factory.mktemp("office"))


@pytest.fixture
def coordinator(office, tmp_path):
    return Coordinator(office, tmp_path)
