"""One sound node for all tests of the doctor; each test damages a copy of its own."""

import pytest

from tests.simulators.one_node import Hospital, World


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"))
    yield world
    world.close()


@pytest.fixture
def hospital(world, tmp_path):
    world.tips.ahead = 0.0
    return Hospital(world, tmp_path)
