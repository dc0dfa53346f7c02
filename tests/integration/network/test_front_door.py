"""What answers at the front door, asked from a hospital's own machine. Real nginx."""

import contextlib
import os
import socket
import ssl
import subprocess
import time

import pytest

from server.front_door_conf import fleet_paths, grpc_paths
from tests.simulators.namespaces import COORDINATOR, DOOR, HUB
from twinward.organisation import Organisation
from twinward.reach import LEDGER_PATH

pytestmark = pytest.mark.slow
HOSPITAL = "harbour"
FLOODING = "meadow"
CLOSED = {"400", "403", "404", "405", "421"}
FORBIDDEN = (
    "/v1/control/start-run",
    "/v1/control/register-node",
    "/v1/runtime/acquire-task",
    "/v1/fleet/",
    "/v1/fleet",
    "/v1/fleet/../control/start-run",
    "/v1/fleet/%2e%2e/control/start-run",
    "/v1/fleet/pull-messages/../../control/start-run",
    "/v1/fleet/pull%2dmessages",
    "/v1/fleet//pull-messages",
    "//v1/fleet/pull-messages",
    "/v1/./fleet/pull-messages",
    "/v1/fleet/pull-messages/",
    "/v1/fleet/pull-messages.",
    "/v1/fleet/pull-messages?to=/v1/control/start-run",
    "/v1/fleet/pull-messages%00",
    "/V1/FLEET/PULL-MESSAGES",
    "/health",
    "/docs",
    "/openapi.json",
    "/_served",
    "/",
)


def context(world, *, certificate):
    tls = Organisation(world.folder / HOSPITAL).tls
    if certificate:
        return tls.client_context()
    return ssl.create_default_context(cafile=str(tls.ca))


def raw(world, request, *, certificate=True):
    """The first line of the answer to these bytes; empty if the connection is closed."""

    def ask():
        address = (world.machines.address(COORDINATOR), DOOR)
        plain = socket.create_connection(address, timeout=10)
        with context(world, certificate=certificate).wrap_socket(plain, server_hostname=HUB) as tls:
            with contextlib.suppress(OSError):  # it may hang up before it has read everything
                tls.sendall(request)
            try:
                return tls.recv(4096).split(b"\r\n", 1)[0].decode()
            except OSError:
                return ""

    return world.machines.within(HOSPITAL, ask)


def status(world, target, *, method="POST", headers="", certificate=True, host=HUB):
    request = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n{headers}\r\n"
    line = raw(world, request.encode(), certificate=certificate)
    return line.split(" ")[1] if line else "closed"


def curl(world, *paths, certificate=True, at=HOSPITAL):
    """Statuses over HTTP/2 (``:path`` as it is written here), all in one connection."""
    frame = world.folder / "empty.frame"
    frame.write_bytes(bytes(5))  # gRPC's form of a message without fields
    tls = Organisation(world.folder / HOSPITAL).tls
    shown = ("--cert", tls.certificate, "--key", tls.key) if certificate else ()
    words = [*world.machines.exec_at(at), "curl"]
    for place, path in enumerate(paths):
        words += ["--next"] * (place > 0)
        words += ["-s", "--cacert", tls.ca, *shown, "--path-as-is", "--http2", "-m", "10"]
        words += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        words += [
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{http_version}\n",
            "--data-binary",
            f"@{frame}",
        ]
        words += [f"https://{HUB}:{DOOR}{path}"]
    done = subprocess.run(map(str, words), capture_output=True, text=True, check=False)
    return [tuple(line.split()) for line in done.stdout.splitlines()]


def test_the_listed_paths_answer_a_member(world):
    for path in (*fleet_paths(), LEDGER_PATH):
        assert status(world, path) not in {*CLOSED, "502", "500", "closed"}, path
    services = ("Network", "Join", "WithdrawalRelay")
    ours = [path for name in services for path in grpc_paths(name) if "Session" not in path]
    assert curl(world, *ours) == [("200", "2")] * len(ours)  # gRPC's own refusals are in trailers


def test_nothing_else_of_flower_answers_even_a_member(world):
    for target in FORBIDDEN:
        assert status(world, target) in CLOSED, target
    found = curl(world, *FORBIDDEN[:-1])
    assert len(found) == len(FORBIDDEN) - 1
    assert all(code in CLOSED and version == "2" for code, version in found), found


def test_no_form_of_request_gets_around_the_list(world):
    listed, wanted = fleet_paths()[5], "/v1/control/start-run"
    for host in (HUB, "localhost", "127.0.0.1", "flower"):
        assert status(world, f"https://{host}{wanted}") in CLOSED
        assert status(world, f"http://{host}:9441{wanted}", host=host) in CLOSED
    upgrade = "Connection: Upgrade\r\nUpgrade: {}\r\n"
    for protocol in ("websocket", "h2c", "TLS/1.0"):
        headers = upgrade.format(protocol)
        assert status(world, wanted, headers=headers) in CLOSED
        assert status(world, listed, headers=headers) != "101"
    for method in ("GET", "CONNECT", "OPTIONS", "TRACE", "PUT", "DELETE"):
        assert status(world, listed, method=method) in CLOSED, method
    for name in ("X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Path", "X-HTTP-Method-Override"):
        assert status(world, "/nothing", headers=f"{name}: {wanted}\r\n") == "404"
    assert status(world, listed, host="elsewhere.test") in CLOSED
    # A second request hidden in the first one's body is read as what it is: another request.
    inner = f"POST {wanted} HTTP/1.1\r\nHost: {HUB}\r\nContent-Length: 0\r\n\r\n"
    both = f"Content-Length: {len(inner)}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"
    assert " 400 " in raw(world, f"POST {listed} HTTP/1.1\r\nHost: {HUB}\r\n{both}".encode())
    # gRPC needs HTTP/2: a plain call of a listed method is nothing.
    assert status(world, grpc_paths("Network")[1]) == "404"


def test_floods_are_turned_away_before_they_reach_anything(world):
    listed = fleet_paths()[5]
    assert status(world, listed, headers=f"X: {'x' * 40_000}\r\n") in {"400", "414", "431"}
    assert status(world, f"/{'x' * 40_000}") in {"400", "414"}
    big = f"POST {LEDGER_PATH} HTTP/1.1\r\nHost: {HUB}\r\nContent-Length: {2**33}\r\n\r\n"
    assert " 413 " in raw(world, big.encode())
    # From an address of which nothing else asks to join: 21 at once, then five a second.
    found = curl(world, *[grpc_paths("Join")[0]] * 60, certificate=False, at=FLOODING)
    codes = [code for code, _ in found]
    assert codes.count("429") >= 10
    assert codes.count("200") >= 20
    # It holds for that address alone.
    assert curl(world, grpc_paths("Join")[0], certificate=False) == [("200", "2")]
    begun = time.monotonic()
    assert raw(world, b"POST /v1/fleet/pull-messages HTTP/1.1\r\nHost: slow") == ""
    assert time.monotonic() - begun < 15


def test_without_a_certificate_nothing_answers_but_joining_and_withdrawing(world):
    for path in (*fleet_paths(), LEDGER_PATH):
        assert status(world, path, certificate=False) == "403", path
    forged = "x-twinward-client: -----BEGIN%20CERTIFICATE-----\r\n"
    assert status(world, LEDGER_PATH, headers=forged, certificate=False) == "403"
    found = curl(world, *grpc_paths("Network"), certificate=False)
    assert found == [("403", "2")] * len(grpc_paths("Network"))
    both = (*grpc_paths("Join"), *grpc_paths("WithdrawalRelay"))
    assert curl(world, *both, certificate=False) == [("200", "2")] * len(both)


def test_the_services_behind_listen_on_the_loopback_only(world):
    def knock(port):
        address = (world.machines.address(COORDINATOR), port)
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=2):
            return True
        return False

    open_ports = {
        port
        for port in (DOOR, *range(9440, 9446))
        if world.machines.within(HOSPITAL, lambda port=port: knock(port))
    }
    assert open_ports == {DOOR}
    conf = world.folder / COORDINATOR / "front_door" / "door.key"
    assert os.stat(conf).st_mode & 0o077 == 0


def test_the_coordinators_doctor_asks_nginx_which_certificate_it_shows(world):
    found = world.do("server", "doctor", COORDINATOR)
    said = {one["check"]: (one["result"], one["what"]) for one in found["checks"]}
    assert said["front door"][0] == "ok", said
    assert said["front door"][1].startswith(f"{HUB}:{DOOR}, valid until ")
