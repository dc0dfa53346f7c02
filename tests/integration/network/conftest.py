"""The network on machines of its own, started once for this folder."""

import pytest

from tests.simulators.namespaces import running_world


@pytest.fixture(scope="package")
def world(tmp_path_factory):
    with running_world(tmp_path_factory.mktemp("world")) as found:
        yield found
