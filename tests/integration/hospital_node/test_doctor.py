"""The doctor finds nothing wrong with a sound node, and each provoked fault by its name."""

import json
import socket
import sqlite3
import sys
import threading
from contextlib import closing, contextmanager

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization

from hospital_node import supervise
from hospital_node.cli import node
from hospital_node.doctor.checks import CHECKS
from server import ca
from twinward.doctor.findings import Check, Result, examine

pytestmark = pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")


def test_a_sound_node_has_no_fault_and_is_not_changed(hospital):
    before = {path: path.stat().st_mtime_ns for path in sorted(hospital.folder.rglob("*"))}
    found = hospital.examine()
    assert list(found) == [check.name for check in CHECKS]
    wrong = {name: one.what for name, one in found.items() if one.result not in {
        Result.OK, Result.SKIPPED,
    }}  # fmt: skip
    assert wrong == {}
    skipped = {name for name, one in found.items() if one.result is Result.SKIPPED}
    assert skipped == {name for name in found if name.startswith("node: ")}
    kept = {path for path in before if path.name != "audit" and "sqlite-" not in path.name}
    after = {path: path.stat().st_mtime_ns for path in sorted(hospital.folder.rglob("*"))}
    assert {path: before[path] for path in kept if path.is_file()} == {
        path: after[path] for path in kept if path.is_file()
    }


def test_ports_that_are_taken_or_the_same(hospital):
    desk, flower = hospital.world.node_ports
    with closing(socket.create_server(("127.0.0.1", flower))):
        found = hospital.examine("ports")["ports"]
        assert (found.code, "flower_port" in found.at) == ("TW7329", True)
    hospital.edit("node.toml", f"flower_port = {flower}", f"flower_port = {desk}")
    del hospital.site.settings
    assert hospital.examine("ports")["ports"].code == "TW7328"


def test_what_is_asked_of_witnesses_cannot_be_had(hospital):
    hospital.edit("node.toml", "witness_quorum = 0", "witness_quorum = 9")
    assert hospital.examine("witness quorum")["witness quorum"].code == "TW7362"
    hospital.edit("node.toml", "witness = true", "witness = false")
    del hospital.site.settings
    assert hospital.examine("witness quorum")["witness quorum"].code == "TW7361"


def test_a_proxy_in_the_way_of_what_is_near(hospital):
    with closing(socket.create_server(("127.0.0.1", 0))) as proxy:
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        hospital.site.environment = {"HTTPS_PROXY": address}
        assert hospital.examine("proxy")["proxy"].code == "TW7332"
        for excepted in ("127.0.0.1", "localhost,127.0.0.0/8"):
            hospital.site.environment = {"HTTPS_PROXY": address, "NO_PROXY": excepted}
            assert hospital.examine("proxy")["proxy"].result is Result.OK
        payload = hospital.world.founding.document.payload
        far = hospital.world.signed(payload, network="8.8.8.8:9440")
        (hospital.folder / "founding.json").write_bytes(far.document.encode())
        del hospital.site.founding
        hospital.site.environment = {"https_proxy": address}
        assert hospital.examine("proxy")["proxy"].code == "TW7333"


# A coordinator that shows something else


@contextmanager
def impostor(port, *, certificate=None, key=None, says=b""):
    """Listens where the coordinator does; TLS with this certificate, or plain words."""
    import ssl

    server = socket.create_server(("127.0.0.1", port))
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)

    def serve():
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                try:
                    if context is None:
                        client.sendall(says)
                    else:
                        context.wrap_socket(client, server_side=True).close()
                except OSError:
                    pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


@pytest.fixture
def elsewhere(hospital):
    """The hospital's founding file names a port where an impostor may listen."""
    from twinward.demo.stage import free_ports

    port, world = free_ports(1), hospital.world
    moved = world.signed(world.founding.document.payload, network=f"127.0.0.1:{port}")
    (hospital.folder / "founding.json").write_bytes(moved.document.encode())
    return port


def shown(hospital, tmp_path, *, hosts=("127.0.0.1",), age_days=0, own_authority=False):
    """A certificate as the network's authority, or another one, could issue it."""
    home = hospital.world.paper.home
    authority, authority_key = home.tls.ca, home.secrets / "ca.key"
    now = hospital.site.clock.now()
    if own_authority:
        authority, authority_key = tmp_path / "ca.pem", tmp_path / "ca.key"
        ca.create(key_file=authority_key, certificate_file=authority, network="x", now=now)
    csr = home.certificate_request("coordinator").public_bytes(serialization.Encoding.PEM)
    issued = ca.issue(
        csr.decode(), org="coordinator", hosts=hosts, key_file=authority_key, ca_file=authority,
        now=now - age_days * 86_400,
    )  # fmt: skip
    path = tmp_path / "shown.pem"
    path.write_text(issued)
    return {"certificate": path, "key": home.tls.key}


@pytest.mark.parametrize(
    ("certificate", "code"),
    [
        ({"age_days": 91}, "TW7334"),
        ({"hosts": ("coordinator.example",)}, "TW7335"),
        ({"own_authority": True}, "TW7336"),
    ],
    ids=["expired", "another name", "a proxy that opens TLS"],
)
def test_a_certificate_that_is_not_the_coordinators(
    hospital, elsewhere, tmp_path, certificate, code
):
    with impostor(elsewhere, **shown(hospital, tmp_path, **certificate)):
        found = hospital.examine("coordinator TLS")["coordinator TLS"]
    assert found.code == code


def test_something_else_listens_there(hospital, elsewhere):
    with impostor(elsewhere, says=b"HTTP/1.1 403 Forbidden\r\n\r\n"):
        found = hospital.examine("coordinator TLS")["coordinator TLS"]
    assert found.code == "TW7337"


# Packages and Flower


def test_another_package_with_one_of_our_names(hospital, tmp_path, monkeypatch):
    other = tmp_path / "site" / "ledger_tools-1.0.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: ledger-tools\nVersion: 1.0\n")
    (other / "top_level.txt").write_text("ledger\n")
    (other / "RECORD").write_text("ledger/__init__.py,,\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "site")])
    found = hospital.examine("packages")["packages"]
    assert (found.code, "ledger-tools" in found.what) == ("TW7320", True)


def test_flower_that_is_not_as_audited(hospital, monkeypatch, tmp_path):
    import flwr.supernode.start_client_internal as internal

    with monkeypatch.context() as patch:
        patch.setattr(internal, "_insert_message", lambda message: message)
        assert hospital.examine("Flower gate")["Flower gate"].code == "TW6204"
    with monkeypatch.context() as patch:
        patch.setattr("importlib.metadata.version", lambda _: "1.42.0")
        assert hospital.examine("Flower gate")["Flower gate"].code == "TW6203"
    with monkeypatch.context() as patch:
        patch.setattr(supervise, "approved_bundles", lambda: tmp_path / "none.txt")
        assert hospital.examine("Flower gate")["Flower gate"].code == "TW6201"
    assert hospital.examine("Flower gate")["Flower gate"].result is Result.OK


# The running node, and a second one


def test_a_second_process_on_the_same_files(hospital):
    with closing(sqlite3.connect(hospital.state("accounts.sqlite"))) as other:
        other.execute("pragma locking_mode = exclusive")
        other.execute("begin exclusive")
        found = hospital.examine("patients' accounts")["patients' accounts"]
        assert found.code == "TW7354"


STATUS = {
    "pid": 7, "policy": {"trouble": None}, "supernode": {"online": True, "restarts": 0},
    "ledger": {"confirmed_seconds_ago": 0.5, "trouble": None, "witnesses": 2,
               "witness": {"block": 4, "trouble": None}},
    "budget": {"patients_nearly_spent": 0, "epsilon_spent": 1, "epsilon_limit": 3},
}  # fmt: skip
TROUBLE = {"code": "TW5044", "message": "another history", "help": "stop and keep both", "exit": 1}


@pytest.mark.parametrize(
    ("part", "change", "check", "code"),
    [
        ("ledger", {"confirmed_seconds_ago": 31.0}, "node: consents", "TW3104"),
        ("ledger", {"confirmed_seconds_ago": None}, "node: consents", "TW3103"),
        ("ledger", {"trouble": TROUBLE}, "node: consents", "TW5044"),
        ("ledger", {"witness": {"block": 4, "trouble": TROUBLE}}, "node: witness", "TW5044"),
        ("policy", {"trouble": TROUBLE | {"code": "TW7301"}}, "node: policy", "TW7301"),
        ("supernode", {"online": False}, "node: SuperNode", "TW6221"),
        ("budget", {"patients_nearly_spent": 3}, "node: privacy", "TW7363"),
    ],
)
def test_what_a_running_node_says_of_itself(hospital, part, change, check, code):
    hospital.site.status = STATUS
    assert hospital.examine(check)[check].result is Result.OK
    hospital.site.status = {**STATUS, part: {**STATUS[part], **change}}
    assert hospital.examine(check)[check].code == code


def test_a_daemon_that_was_killed_is_told_from_one_that_is_stopped(hospital):
    assert hospital.examine("daemon")["daemon"].what == "not running"
    run = hospital.folder / "run"
    from twinward.rpc.local import LocalAddress

    address = LocalAddress.of(hospital.folder)
    address.prepare()
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(address.socket))
    del hospital.site.status
    assert hospital.examine("daemon")["daemon"].code == "TW1041"
    assert run.exists() or address.socket.exists()


# As it is typed


def test_one_check_that_breaks_does_not_hide_the_others(hospital):
    def breaks(_):
        raise ZeroDivisionError

    checks = (Check("first", breaks), Check("second", lambda _: "fine"))
    first, second = examine(hospital.site, checks)
    assert (first.code, second.result) == ("TW9000", Result.OK)


def test_the_table_and_its_json_say_the_same(hospital):
    hospital.edit("policy.toml", "take_part", "takes_part")
    words = ["doctor", str(hospital.folder)]
    told = CliRunner().invoke(node, [*words, "--json"])
    answer = json.loads(told.stdout)
    assert told.exit_code == 3
    assert answer["faults"] == sum(one["result"] == "fault" for one in answer["checks"])
    (wrong,) = (one for one in answer["checks"] if one["check"] == "policy")
    assert (wrong["code"], "line 5" in wrong["at"]) == ("TW7301", True)
    shown = CliRunner().invoke(node, words)
    assert shown.exit_code == 3
    assert "FAULT [TW7301]" in shown.stdout
    longest = max(len(line) for line in shown.stdout.splitlines())
    assert longest < 120 + len(str(hospital.folder))
    nothing = CliRunner().invoke(node, ["doctor", str(hospital.folder / "nothing")])
    assert nothing.exit_code == 2
    for text in (told.stdout, shown.stdout):
        for secret in (hospital.folder / "secrets").iterdir():
            kept = secret.read_bytes()
            raw = len(kept) == 32  # a key as bytes; the others are text
            assert (kept.hex() if raw else kept.strip().splitlines()[-1].decode()) not in text
