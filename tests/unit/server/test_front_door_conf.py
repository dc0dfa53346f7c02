"""The front door's configuration: what it passes on is written out, and nothing else."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from server import front_door
from server.front_door_conf import Ports, fleet_paths, grpc_paths, nginx_conf
from tests.unit.docs.commands import ROOT
from twinward.errors import UsageError
from twinward.reach import LEDGER_PATH, Reach

PORTS = Ports(network=9440, flower=9441, ledger=9442, join=9443, keeper=9444)


def example():
    where = Path("/etc/twinward/front_door")
    return nginx_conf(where, host="hub.example.org", port=443, behind="127.0.0.1", ports=PORTS)


def places():
    """Each exact place of the configuration with what stands in it."""
    return dict(re.findall(r"(?ms)^        location = (\S+) \{(.*?)^        \}", example()))


def test_the_example_that_is_shipped_is_what_is_generated():
    assert (ROOT / "docker" / "front_door" / "nginx.conf").read_text() == example()


def test_the_list_of_fleet_calls_is_that_of_the_installed_flower():
    flower = Path(find_spec("flwr").origin).parent
    table = (flower / "supercore" / "protobuf" / "translation.py").read_text()
    known = set(re.findall(r'"POST", "(/v1/fleet/[^"]+)"', table))
    assert known == set(fleet_paths())


def test_every_place_is_exact_and_all_but_joining_and_the_keeper_ask_for_a_certificate():
    members = {*fleet_paths(), *grpc_paths("Network"), LEDGER_PATH}
    found = places()
    open_to_all = {*grpc_paths("Join"), *grpc_paths("WithdrawalRelay")}
    assert set(found) == {*members, *open_to_all, "/_served"}
    assert re.findall(r"location (?!=)(.*)", example()) == ["/ { return 404; }"]
    for path, text in found.items():
        if path != "/_served":
            assert "if ($request_uri != $uri) { return 404; }" in text
            assert "if ($request_method != POST) { return 404; }" in text
        assert ("$ssl_client_verify != SUCCESS) { return 403; }" in text) is (path in members)
        # Whatever address a caller writes is replaced: by the one it has, or by nothing.
        if path.startswith("/twinward."):
            said = "$remote_addr" if path in open_to_all else '""'
            assert f"grpc_set_header x-twinward-address {said};" in text
    assert "internal;" in found["/_served"]
    assert not re.search(r"return 30\d|rewrite|proxy_pass http:", example())


def test_a_coordinator_without_a_front_door_is_told_so(tmp_path):
    (tmp_path / "coordinator.toml").write_text(
        'org = "coordinator"\nnetwork = "demo"\n'
        "network_port = 1\nflower_port = 2\nledger_port = 3\n"
    )
    with pytest.raises(UsageError) as caught:
        front_door.write(tmp_path, now=0.0)
    assert caught.value.code == "TW6060"
    assert list(tmp_path.iterdir()) == [tmp_path / "coordinator.toml"]


@pytest.mark.parametrize(
    ("file", "text", "reach"),
    [
        ("node.toml", "desk_port = 1\n", Reach()),
        (
            "node.toml",
            "[forwarder]\nport = 9600\n",
            Reach(None, "127.0.0.1:9600", "127.0.0.1:9601"),
        ),
        ("node.toml", "not toml", Reach()),
        ("coordinator.toml", 'ledger_port = 3\nfront_door = ""\n', Reach()),
        (
            "coordinator.toml",
            'ledger_port = 3\nfront_door = "hub.test:443"\n',
            Reach("https://127.0.0.1:3"),
        ),
    ],
)
def test_who_reaches_the_network_otherwise_than_by_the_founding_file(tmp_path, file, text, reach):
    (tmp_path / file).write_text(text)
    assert Reach.of(tmp_path) == reach
