"""Metrics are told on this machine, to who has the token or the account, and to nobody else."""

import http.client
import socket
import stat
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from twinward import metrics_door
from twinward.errors import UsageError


class One(Collector):
    def collect(self):
        yield GaugeMetricFamily("twinward_up", "Up", value=1)


@contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def get(port, path="/metrics", token=None):
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read().decode()


def test_only_the_token_opens_it_and_only_on_the_loopback(tmp_path):
    (tmp_path / "secrets").mkdir()
    server, where = metrics_door._at_port(tmp_path, 0, One())
    token = (tmp_path / metrics_door.TOKEN).read_text().strip()
    assert token not in where
    assert server.server_address[0] == "127.0.0.1"
    assert stat.S_IMODE((tmp_path / metrics_door.TOKEN).stat().st_mode) == 0o600
    with serving(server):
        assert "twinward_up 1.0" in get(server.server_port, token=token)
        for wrong in (None, "", token[:-1], token + "0", "Bearer"):
            with pytest.raises(urllib.error.HTTPError, match="401") as refusal:
                get(server.server_port, token=wrong)
            refusal.value.close()
        with pytest.raises(urllib.error.HTTPError, match="404") as refusal:
            get(server.server_port, path="/", token=token)
        refusal.value.close()


def test_a_socket_is_private_and_gone_afterwards(tmp_path):
    path = tmp_path / "m.sock"
    server = metrics_door._at_socket(path, One())
    with serving(server):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        client = http.client.HTTPConnection("local")
        client.sock = socket.socket(socket.AF_UNIX)
        client.sock.connect(str(path))
        client.request("GET", "/metrics")
        assert b"twinward_up 1.0" in client.getresponse().read()
        client.close()
    assert not path.exists()


def test_a_port_that_is_taken_is_named(tmp_path):
    (tmp_path / "secrets").mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError) as refusal:
            metrics_door.serve(One(), folder=tmp_path, port=taken.getsockname()[1], socket=None)
    assert refusal.value.code == "TW7412"
