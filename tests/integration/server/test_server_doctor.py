"""The coordinator's doctor: a sound folder, what listens, and what the daemon says of itself."""

import json
import socket
import sqlite3
import ssl
import threading
from contextlib import closing, contextmanager, suppress
from dataclasses import replace

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization

from server import ca, ca_rollover, daemon, upgrade
from server.cli import server
from server.doctor.checks import CHECKS
from server.front_door import DoorFiles
from twinward import forms
from twinward.clock import FixedClock
from twinward.doctor.findings import Result, examine
from twinward.errors import EvidenceError
from twinward.rpc.local import LocalAddress
from twinward.rpc.tls import TlsFiles

pytestmark = pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")


def test_a_sound_coordinator_has_no_fault_and_is_not_changed(coordinator):
    before = files(coordinator.folder)
    found = coordinator.examine()
    assert list(found) == [check.name for check in CHECKS]
    said = {name: (one.result, one.what) for name, one in found.items()}
    skipped = {name for name, (result, _) in said.items() if result is Result.SKIPPED}
    assert {result for result, _ in said.values()} == {Result.OK, Result.SKIPPED}, said
    assert skipped == {
        "SuperLink certificate", "ledger", "members", "witnesses",
    }  # fmt: skip
    assert files(coordinator.folder) == before


def files(folder):
    """When each was written, but for what SQLite puts beside a database that is read."""
    paths = [path for path in folder.rglob("*") if path.is_file() and "sqlite-" not in path.name]
    return {path: path.stat().st_mtime_ns for path in paths if path.parent.name != "audit"}


# What listens, and what the running coordinator says of itself


@contextmanager
def listening(port, *, certificate=None, key=None):
    """Listens there; TLS with this certificate if there is one."""
    listener = socket.create_server(("127.0.0.1", port))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate is not None:
        context.load_cert_chain(certificate, key)

    def serve():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client, suppress(OSError):
                context.wrap_socket(client, server_side=True).close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_ports_that_are_taken_the_same_or_silent(coordinator):
    port = coordinator.place.settings.ledger_port
    with closing(socket.create_server(("127.0.0.1", port))):
        found = coordinator.examine("ports")["ports"]
    assert (found.code, found.at) == ("TW7329", "coordinator.toml: ledger_port")
    coordinator.up()
    found = coordinator.examine("ports")["ports"]
    assert (found.code, found.at) == ("TW7654", "coordinator.toml: network_port")
    coordinator.edit("coordinator.toml", f"ledger_port = {port}", f"ledger_port = {port + 1}")
    del coordinator.place.settings
    assert coordinator.examine("ports")["ports"].code == "TW7328"


def shown(coordinator, tmp_path, *, own_authority=False):
    """A certificate as the network's authority, or another one, could have issued it before."""
    organisation, now = coordinator.place.organisation, coordinator.place.clock.now()
    files = {"ca_file": organisation.tls.ca, "key_file": organisation.secrets / "ca.key"}
    if own_authority:
        files = {"ca_file": tmp_path / "ca.pem", "key_file": tmp_path / "ca.key"}
        ca.create(
            key_file=files["key_file"], certificate_file=files["ca_file"], network="x", now=now
        )
    csr = organisation.certificate_request("coordinator").public_bytes(serialization.Encoding.PEM)
    issued = ca.issue(csr.decode(), org="coordinator", hosts=("127.0.0.1",), now=now, **files)
    (tmp_path / "shown.pem").write_text(issued)
    return TlsFiles(organisation.tls.ca, tmp_path / "shown.pem", organisation.tls.key)


def asked(coordinator, check, port, files):
    with listening(port, certificate=files.certificate, key=files.key):
        return alone(coordinator, check)


def alone(coordinator, name):
    """The finding of one check; what it needs are other ports, which nobody serves here."""
    coordinator.up()
    [check] = [replace(one, needs=()) for one in CHECKS if one.name == name]
    [found] = examine(coordinator.place, [check])
    return found


@pytest.mark.parametrize(
    ("check", "stale"), [("SuperLink certificate", "TW7645"), ("front door", "TW7651")]
)
def test_what_is_shown_is_compared_with_what_is_on_disk(coordinator, tmp_path, check, stale):
    settings = coordinator.place.settings
    door = DoorFiles(coordinator.folder / "front_door")
    port, ours = {
        "SuperLink certificate": (settings.flower_port, coordinator.place.organisation.tls),
        "front door": (
            int(settings.front_door.rpartition(":")[2]),
            TlsFiles(door.authorities, door.certificate, door.key),
        ),
    }[check]
    assert asked(coordinator, check, port, ours).result is Result.OK
    assert asked(coordinator, check, port, shown(coordinator, tmp_path)).code == stale
    foreign = shown(coordinator, tmp_path, own_authority=True)
    assert asked(coordinator, check, port, foreign).code == "TW7646"
    assert alone(coordinator, check).code == "TW7650"


SILENT = {"org": "harbour", "role": "hospital", "online": False, "seen_seconds_ago": 7300}


@pytest.mark.parametrize(
    ("change", "check", "code", "words"),
    [
        ({"members": [SILENT]}, "members", "TW7661", "`harbour` (last seen 2 hours ago)"),
        ({"members": [SILENT | {"online": True, "seen_seconds_ago": None}]}, "members", "TW7661",
         "not seen since the coordinator started"),
        ({"ledger": {"witnesses": 1}}, "witnesses", "TW7662", "1 of 3"),
        ({"release": "0.0.9"}, "daemon", "TW7664", "0.0.9"),
    ],
)  # fmt: skip
def test_what_a_running_coordinator_says_of_itself(coordinator, change, check, code, words):
    coordinator.up()
    assert coordinator.examine(check)[check].result is Result.OK
    coordinator.up(**change)
    found = coordinator.examine(check)[check]
    assert (found.code, found.result) == (code, Result.CONCERN)
    assert words in found.what


def test_a_ledger_that_is_silent_and_a_coordinator_that_was_killed(coordinator):
    coordinator.up()
    assert coordinator.examine("ledger")["ledger"].code == "TW5001"
    del coordinator.place.status
    address = LocalAddress.of(coordinator.folder)
    address.prepare()
    address.socket.touch()
    assert coordinator.examine("daemon")["daemon"].code == "TW6013"


def test_flower_of_another_line_is_named(coordinator, monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda _: "1.42.0")
    assert coordinator.examine("versions")["versions"].code == "TW6203"


# The command, and what a start does about it


def test_the_command_says_the_same_as_a_table_and_as_an_object_and_ends_with_3(coordinator):
    table = CliRunner().invoke(server, ["doctor", str(coordinator.folder)])
    assert table.exit_code == 0, table.output
    assert "ledger: blocks" in table.output
    (coordinator.folder / "secrets").chmod(0o755)
    told = CliRunner().invoke(server, ["doctor", str(coordinator.folder), "--json"])
    assert told.exit_code == 3
    said = json.loads(told.output)
    assert (said["schema"], said["faults"]) == ("twinward/server.doctor/v1", 1)
    (fault,) = [one for one in said["checks"] if one["result"] == "fault"]
    assert (fault["check"], fault["code"]) == ("secrets", "TW7340")
    assert CliRunner().invoke(server, ["doctor", str(coordinator.folder / "no")]).exit_code == 2


def test_a_coordinator_does_not_start_on_what_a_newer_release_wrote(coordinator):
    with closing(sqlite3.connect(coordinator.paths.queue)) as newer:
        newer.execute("pragma user_version = 9")
    with pytest.raises(EvidenceError) as refused:
        daemon.main(coordinator.folder)
    assert refused.value.code == "TW7408"


def test_the_forms_that_a_release_knows_are_those_that_it_writes(coordinator):
    found = forms.examine(coordinator.folder, upgrade.FORMS)
    written = set(coordinator.folder.rglob("*.sqlite"))
    assert {coordinator.folder / one.path for one in found} == written
    assert {one.found - one.known for one in found} == {0}


def test_an_own_certificate_that_is_due_is_renewed_once(coordinator):
    organisation, founding = coordinator.place.organisation, coordinator.place.founding
    now = coordinator.place.clock.now()
    assert not ca_rollover.renew_own_if_due(organisation, founding, now=now + 59 * 86_400)
    assert ca_rollover.renew_own_if_due(organisation, founding, now=now + 100 * 86_400)
    assert not ca_rollover.renew_own_if_due(organisation, founding, now=now + 100 * 86_400)
    coordinator.place.clock = FixedClock(now + 100 * 86_400)
    assert coordinator.examine("certificate")["certificate"].result is Result.OK
