"""The way out of a hospital: where it goes, where it does not, and what it says is in the way."""

import asyncio
import base64
import contextlib
import os
import re
import socket
import threading
import tomllib
from contextlib import contextmanager

import pytest

from hospital_node.cli_forwarder import chosen
from hospital_node.forwarder_flower import serve
from hospital_node.forwarder_settings import ForwarderSettings, table
from hospital_node.forwarder_way import Way
from tests.simulators.secsum.tls import Authority
from twinward.errors import TwinwardError
from twinward.rpc.tls import TlsFiles

SECRET = b"hospital:a very secret word"


@contextmanager
def listening(answer):
    """A server on the loopback whose connections are handed to a function."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        seen = []

        def work():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        seen.append(answer(connection))

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        yield server.getsockname()[1], seen
        server.shutdown(socket.SHUT_RDWR)
        worker.join(10)  # what it was asked last is in `seen`


def proxy(answer):
    """Reads one request, answers so."""

    def one(connection):
        request = connection.recv(4096)
        connection.sendall(answer)
        return request

    return listening(one)


def settings(port=None, **more):
    proxied = {} if port is None else {"proxy": f"http://127.0.0.1:{port}"}
    return ForwarderSettings(port=9600, **proxied, **more)


def tried(folder, configured, *, target=("hub.test", 443), times=1, now=lambda: 0.0):
    """The codes of opening a way some times over."""

    async def work():
        way = Way(
            configured, allowed=frozenset({("hub.test", 443), target}), folder=folder, now=now
        )
        found = []
        for _ in range(times):
            try:
                (await way.open(target)).close()
                found.append(None)
            except TwinwardError as error:
                found.append(error.code)
        return found

    return asyncio.run(work())


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 200 Connection established\r\n\r\n", None),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "TW6064"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "TW6065"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", "TW6065"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "TW6063"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 20_000, "TW6063"),
        (b"", "TW6063"),
    ],
)
def test_what_a_proxy_answers_is_named(tmp_path, answer, code):
    with proxy(answer) as (port, seen):
        assert tried(tmp_path, settings(port)) == [code]
    assert seen[0].startswith(b"CONNECT hub.test:443 HTTP/1.1\r\n")


def test_a_proxy_that_cannot_be_reached_or_has_no_address_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert tried(tmp_path, settings(port)) == ["TW6062"]
    nowhere = ForwarderSettings(port=9600, proxy="http://proxy.invalid:3128")
    assert tried(tmp_path, nowhere) == ["TW6061"]


def test_the_password_goes_to_the_proxy_and_is_tried_once_a_minute_when_it_is_refused(tmp_path):
    file = tmp_path / "proxy"
    file.write_bytes(SECRET + b"\n")
    file.chmod(0o600)
    time = [0.0]
    refused = b"HTTP/1.1 407 No\r\n\r\n"
    with proxy(refused) as (port, seen):
        configured = settings(port, proxy_credentials="proxy")

        def now():
            time[0] += 0.7
            return time[0]

        found = tried(tmp_path, configured, times=40, now=now)
    assert set(found) == {"TW6064"}
    assert len(seen) == 1
    assert b"Proxy-Authorization: Basic " + base64.b64encode(SECRET) in seen[0]


@pytest.mark.parametrize(
    ("content", "code"), [(None, "TW1014"), (b"no colon", "TW6066"), (b"two:\nlines:", "TW6066")]
)
def test_a_useless_file_of_credentials_is_named_and_nothing_is_sent(tmp_path, content, code):
    if content is not None:
        (tmp_path / "proxy").write_bytes(content)
        os.chmod(tmp_path / "proxy", 0o600)
    with proxy(b"") as (port, seen):
        assert tried(tmp_path, settings(port, proxy_credentials="proxy")) == [code]
    assert seen == []


def test_credentials_in_the_proxys_address_are_refused():
    with pytest.raises(ValueError, match="no credentials here"):
        settings().model_validate({"port": 9600, "proxy": "http://me:word@proxy:3128"})


@pytest.mark.parametrize(
    ("rule", "straight"),
    [
        ("hub.test", True),
        (".test", True),
        ("*.test", True),
        ("TEST", True),
        ("*", True),
        ("ub.test", False),
        ("other.test", False),
        ("10.0.0.0/8", False),
    ],
)
def test_no_proxy_is_read_as_programs_read_it(rule, straight):
    found = settings(3128, no_proxy=(rule,)).proxy_for("hub.test")
    assert (found is None) is straight
    networks = settings(3128, no_proxy=("10.0.0.0/8", "::1"))
    assert networks.proxy_for("10.7.7.7") is None
    assert networks.proxy_for("11.7.7.7") == ("127.0.0.1", 3128)


def test_the_options_of_join_make_a_table_that_reads_back_and_no_proxy_is_taken_down(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("NO_PROXY", ".intern.example, 10.0.0.0/8")
    monkeypatch.delenv("no_proxy", raising=False)
    nothing = {"forwarder_port": None, "proxy": None, "proxy_credentials": None, "no_proxy": ()}
    assert chosen(**nothing) is None
    secret = tmp_path / 'a "quoted" name'
    made = chosen(**nothing | {"proxy": "http://proxy:3128", "proxy_credentials": secret})
    assert made.proxy_for("hub.intern.example") is None
    assert made.proxy_for("hub.example") == ("proxy", 3128)
    own = chosen(**nothing | {"proxy": "http://proxy:3128", "no_proxy": ("hub.example",)})
    assert own.proxy_for("hub.intern.example") == ("proxy", 3128)
    assert chosen(**nothing | {"forwarder_port": 7000}).no_proxy == ()
    for one in (made, own, chosen(**nothing | {"forwarder_port": 7000})):
        read = tomllib.loads("\n".join(table(one)))["forwarder"]
        assert ForwarderSettings.model_validate(read) == one
    for wrong in ({"proxy_credentials": secret}, {"no_proxy": ("x",)}, {"proxy": "proxy:3128"},
                  {"proxy": "http://me:secretword@proxy:3128"}):  # fmt: skip
        with pytest.raises(TwinwardError) as refusal:
            chosen(**nothing | wrong)
        assert refusal.value.code == "TW6075"
        assert "secretword" not in refusal.value.diagnostic.as_text()


def test_no_other_address_is_ever_connected_to(tmp_path):
    with listening(lambda _: True) as (port, seen):

        async def work():
            way = Way(settings(), allowed=frozenset({("hub.test", 443)}), folder=tmp_path)
            with pytest.raises(TwinwardError, match="to the coordinator only"):
                await way.open(("127.0.0.1", port))

        asyncio.run(work())
    assert seen == []


def files_of(folder):
    """Key and certificate of an authority of its own."""
    authority = Authority()
    key, certificate = authority.issue("somebody")
    folder.mkdir()
    for name, content in (("ca", authority.pem), ("certificate", certificate), ("key", key)):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    return TlsFiles(folder / "ca", folder / "certificate", folder / "key")


def test_tls_that_is_inspected_on_the_way_is_named(tmp_path):
    mine, theirs = (files_of(tmp_path / name) for name in ("mine", "theirs"))
    context = theirs.server_context(mutual=False)

    def inspect(connection):
        with contextlib.suppress(OSError):
            context.wrap_socket(connection, server_side=True).recv(1)

    with listening(inspect) as (port, _):
        target = ("127.0.0.1", port)
        way = Way(settings(), allowed=frozenset({target}), folder=tmp_path)
        with pytest.raises(TwinwardError) as caught:
            asyncio.run(way.check(target, mine.client_context()))
    assert caught.value.code == "TW6068"


def call(requests, answers):
    """What Flower gets for these requests when the front door answers so, and what went there."""
    taken = []

    def door(connection):
        for answer in answers:
            request = connection.recv(65_536)
            while not request.endswith((b"body", b"again")):
                request += connection.recv(65_536)
            taken.append(request)
            connection.sendall(answer)

    async def work(port):
        own = asyncio.current_task()

        async def connect():
            return await asyncio.open_connection("127.0.0.1", port)

        async def relay(reader, writer):
            await serve(reader, writer, host="hub.test", connect=connect)

        server = await asyncio.start_server(relay, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        found = []
        for request in requests:
            writer.write(request)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
            found.append(head + await asyncio.wait_for(reader.readexactly(length), 10))
        writer.close()
        server.close()
        if left := asyncio.all_tasks() - {own}:
            await asyncio.wait(left, timeout=10)
        return found

    with listening(door) as (port, _):
        return asyncio.run(work(port)), taken


def post(target, body=b"body", method=b"POST"):
    return b"%b %b HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n%b" % (
        method, target, len(body), body,
    )  # fmt: skip


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def test_flowers_calls_arrive_one_after_the_other_under_the_front_doors_name():
    path = b"/v1/fleet/pull-messages"
    found, taken = call([post(path), post(path, b"again")], [OK, OK])
    assert [one.endswith(b"hi") and b" 200 " in one for one in found] == [True, True]
    assert [one.rsplit(b"\r\n\r\n", 1)[1] for one in taken] == [b"body", b"again"]
    assert all(b"host: hub.test\r\n" in one.lower() for one in taken)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_never_reaches_flower(status):
    answer = b"HTTP/1.1 %d Go\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n" % status
    found, _ = call([post(b"/v1/fleet/push-messages")], [answer])
    assert found[0].startswith(b"HTTP/1.1 502 ")
    assert b"10.0.0.1" not in found[0]


@pytest.mark.parametrize(
    "request_",
    [
        post(b"/v1/control/start-run"),
        post(b"/v1/fleet/../control/start-run"),
        post(b"/v1/fleet/pull%2dmessages"),
        post(b"/v1/fleet/pull-messages?x=1"),
        post(b"/v1/fleet/"),
        post(b"http://hub.test/v1/fleet/pull-messages"),
        post(b"/v1/fleet/pull-messages", b"", method=b"GET"),
    ],
)
def test_what_is_no_call_of_the_fleet_goes_nowhere(request_):
    found, taken = call([request_], [OK])
    assert found[0].startswith(b"HTTP/1.1 404 ")
    assert taken == []
