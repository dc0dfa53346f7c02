"""Attacks on the mailbox: foreign code, wrong hashes, missing launcher, strangers, task thieves."""

import hashlib
import io
import json
import os
import subprocess
import sys
import time
import zipfile

import grpc
import httpx
import pytest
from cryptography.hazmat.primitives import serialization

from hospital_node.launcher import Launch
from hospital_node.supervise import approved_bundles
from server.fab import fab_bytes, fab_sha256
from server.supervise import SuperLink
from tests.simulators.flower.mailbox import free_port, stock
from twinward import flower_launch
from twinward.child import scrubbed_environment
from twinward.errors import CoordinatorUnreachable, IdentityError, TrainingError
from twinward.rpc.local import LocalAddress, local_channel
from twinward.rpc.messages_pb2 import Nothing, Opening
from twinward.rpc.messages_pb2_grpc import NodeLocalStub

pytestmark = [
    pytest.mark.slow,
    # Flower imports an older typer, which imports a name that click has announced to remove.
    pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning"),
]


def build_foreign(files):
    """A bundle with code of its own, as Flower's own tools would build it."""
    with zipfile.ZipFile(io.BytesIO(fab_bytes())) as ours:
        contents = {
            name: ours.read(name) for name in ours.namelist() if not name.startswith(".info")
        }
    contents.update({name: text.encode() for name, text in files.items()})
    manifest = "\n".join(
        f"{name},{hashlib.sha256(data).hexdigest()},{len(data) * 8}"
        for name, data in contents.items()
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for name, data in {**contents, ".info/CONTENT": manifest.encode()}.items():
            bundle.writestr(name, data)
    return buffer.getvalue()


def foreign_bundle(folder):
    """Code that leaves a mark where it runs; its ServerApp writes down the replies."""
    client = f"""
import os, pathlib
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
app = ClientApp()
@app.query()
def steal(message, context):
    # What this process could tell: where it runs, and whether it was given a credential.
    mark = pathlib.Path({str(folder)!r}) / ("ran-on-" + str(context.node_id))
    mark.write_text(os.environ.get("TWINWARD_DAEMON_TOKEN_FILE", "no credential"))
    stolen = RecordDict({{"twinward": ConfigRecord({{"closing": b"stolen"}})}})
    return Message(stolen, reply_to=message)
"""
    server = f"""
import json, pathlib, time
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import ServerApp
app = ServerApp()
pathlib.Path({str(folder / "server-ran")!r}).write_text("yes")
@app.main()
def main(grid, context):
    content = RecordDict({{"twinward": ConfigRecord({{"opening": b""}})}})
    waiting = set(grid.push_messages([Message(content, n, "query") for n in grid.get_node_ids()]))
    replies = {{}}
    end = time.time() + 40
    while waiting and time.time() < end:
        for reply in grid.pull_messages(waiting):
            waiting.discard(reply.metadata.reply_to_message_id)
            error = reply.error.code if reply.has_error() else None
            replies[reply.metadata.src_node_id] = [error, reply.error.reason if error else "ok"]
        time.sleep(0.2)
    out = pathlib.Path({str(folder / "replies.json")!r})
    out.with_suffix(".part").write_text(json.dumps(replies))
    out.with_suffix(".part").rename(out)
"""
    return build_foreign(
        {
            "server/__init__.py": "",
            "server/flower_app.py": server,
            "hospital_node/__init__.py": "",
            "hospital_node/flower_app.py": client,
        }
    )


def submit(superlink, content):
    """What any process on the coordinator's machine can do: Flower's control API has no login."""
    from flwr.proto import control_pb2 as control
    from flwr.proto.fab_pb2 import Fab

    fab = Fab(hash_str=hashlib.sha256(content).hexdigest(), content=content)
    answer = superlink._call(
        "start-run", control.StartRunRequest(fab=fab), control.StartRunResponse
    )
    superlink._child.wake()
    return answer.run_id


@pytest.fixture
def hostile(network, tmp_path):
    """A coordinator that runs Flower's stock SuperLink, so that no gate of ours is on its side."""
    port = free_port()
    tls = network.coordinator.tls
    superlink = SuperLink(tmp_path / "unused", tls=tls, port=port, daemon=network.address)
    with stock(
        "flower-superlink",
        {
            "ssl-ca-certfile": tls.ca,
            "ssl-certfile": tls.certificate,
            "ssl-keyfile": tls.key,
            "host": "127.0.0.1",
            "port": port,
        },
        "--enable-supernode-auth",
        "--disable-runtime-dependency-installation",
        home=tmp_path / "superlink",
    ):
        superlink.wait_ready()
        hostile = type(network)(
            tmp_path, network.coordinator, network.stand_in, network.address, superlink, port
        )
        with hostile.stack:
            yield hostile
        superlink.stop()


def test_a_foreign_bundle_is_refused_and_its_code_does_not_run(hostile, tmp_path):
    """The same bundle runs on a stock SuperNode: so this test can fail. That one gets no data."""
    marks = tmp_path / "marks"
    marks.mkdir()
    guarded, bare = hostile.add_site("guarded"), hostile.add_site("bare")
    hostile.superlink.enrol({site.org: site.public_key for site in (guarded, bare)})
    with stock(
        "flower-supernode",
        {
            "superlink": hostile.superlink.address,
            "root-certificates": hostile.coordinator.tls.ca,
            "auth-supernode-private-key": bare.home.flower_key,
            "host": "127.0.0.1",
            "port": free_port(),
        },
        home=tmp_path / "bare-home",
    ):
        guarded.node.start()
        guarded.node.wait_online()
        deadline = time.monotonic() + 30
        while hostile.superlink.online() != {"guarded", "bare"}:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        ids = {node.name: node.node_id for node in hostile.superlink._listed()}
        submit(hostile.superlink, foreign_bundle(marks))
        deadline = time.monotonic() + 60
        while not (marks / "replies.json").exists():
            assert time.monotonic() < deadline, (tmp_path / "superlink/log").read_text()[-3000:]
            time.sleep(0.2)
        replies = json.loads((marks / "replies.json").read_text())
        assert replies[str(ids["guarded"])] == [7, "The FAB could not be verified."]
        assert not (marks / f"ran-on-{ids['guarded']}").exists()
        assert guarded.daemon.calls == []
        assert not list((guarded.home.folder / "flower").rglob("*.py"))  # nothing was unpacked
        assert "TW6202" in (guarded.home.folder / "flower" / "supernode.log").read_text()
        # The control: without the launcher the foreign code did run, but without a credential.
        assert replies[str(ids["bare"])] == [None, "ok"]
        assert (marks / f"ran-on-{ids['bare']}").read_text() == "no credential"


def test_without_the_launcher_there_is_no_credential_and_the_daemon_refuses(network, sites):
    """A process that finds the socket but was not given the token gets nothing."""
    with grpc.insecure_channel(
        f"unix:{sites[0].address.socket}", options=[("grpc.default_authority", "localhost")]
    ) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            NodeLocalStub(channel).OpenRun(Opening(run=b"x"), timeout=5)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert sites[0].daemon.calls == []
    with pytest.raises(IdentityError) as missing:
        LocalAddress.from_environment()
    assert missing.value.code == "TW2020"
    with local_channel(sites[0].address) as channel:  # the control: with the token it works
        with pytest.raises(grpc.RpcError) as unimplemented:
            NodeLocalStub(channel).Status(Nothing(), timeout=5)
        assert unimplemented.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_foreign_bundle_does_not_run_on_the_coordinator_either(network, sites, tmp_path):
    """Any local process may submit one; our SuperLink's launcher refuses to run it."""
    network.stand_in.expect(4)
    run = submit(network.superlink, foreign_bundle(tmp_path))
    network.wait_finished(run, seconds=45)
    assert not (tmp_path / "server-ran").exists()
    assert network.stand_in.openings == 0
    assert all(site.daemon.calls == [] for site in sites)
    log = (network.coordinator.folder / "flower" / "superlink.log").read_text()
    assert "is not approved here" in log


def test_a_bundle_that_the_site_did_not_approve_is_refused(network, sites, tmp_path):
    """The genuine bundle, one site whose list holds another hash: it sits out, the rest go on."""
    strict = tmp_path / "approved.txt"
    strict.write_text(f"# audited\n{hashlib.sha256(b'another').hexdigest()}\n")
    site = network.add_site("strict", approved=strict)
    everyone = [*sites, site]
    network.superlink.enrol({each.org: each.public_key for each in everyone})
    try:
        with site.node:
            run, _ = network.run(wanted=5)
            network.wait_finished(run, seconds=45)
        assert network.stand_in.closed == ["aa", "bb", "cc", "dd"]
        assert site.daemon.calls == []
        log = (site.home.folder / "flower" / "supernode.log").read_text()
        assert f"the Flower bundle {fab_sha256()} is not approved here" in log
    finally:
        network.superlink.enrol({each.org: each.public_key for each in sites})


def test_an_unregistered_key_is_refused(network, sites):
    stranger = network.add_site("stranger")
    stranger.node.start()
    with pytest.raises(CoordinatorUnreachable) as refused:
        stranger.node.wait_online(timeout=6)
    assert refused.value.code == "TW6221"
    stranger.node.stop()
    assert "stranger" not in network.superlink.online()
    run, _ = network.run(wanted=4)
    assert network.stand_in.finished.wait(60)
    network.wait_finished(run, seconds=45)
    assert stranger.daemon.calls == []


def test_a_key_that_is_taken_off_the_register_is_cut_off(network, sites):
    leaver = network.add_site("leaver")
    network.superlink.enrol({each.org: each.public_key for each in [*sites, leaver]})
    with leaver.node:
        assert "leaver" in network.superlink.online()
        network.superlink.enrol({each.org: each.public_key for each in sites})
        assert network.superlink.online() == {site.org for site in sites}
        run, _ = network.run(wanted=4)
        assert network.stand_in.finished.wait(60)
        network.wait_finished(run, seconds=45)
        assert leaver.daemon.calls == []


def test_a_key_that_was_taken_off_by_mistake_comes_back(network, sites):
    keys = {each.org: each.public_key for each in sites}
    network.superlink.enrol({each.org: each.public_key for each in sites[:-1]})
    assert sites[-1].org not in network.superlink.online()
    for _ in range(2):  # it is known again; what is known stays as it is
        network.superlink.enrol(keys)
    sites[-1].node.wait_online()
    until = time.monotonic() + 30  # its SuperNode may have been ended in between, or not yet
    while network.superlink.online() != set(keys):
        assert time.monotonic() < until
        time.sleep(0.2)


def test_nobody_without_the_secret_can_fetch_a_task(network, sites):
    """Flower's runtime API has no login by default: any local process could take a task."""
    from flwr.proto.runtime_pb2 import AcquireTaskRequest

    request = AcquireTaskRequest(supported_task_types=["flwr-clientapp", "flwr-serverapp"])
    headers = {"content-type": "application/protobuf", "accept": "application/protobuf"}
    body = request.SerializeToString(deterministic=True)
    node = f"http://127.0.0.1:{sites[0].runtime_port}/v1/runtime/acquire-task"
    answer = httpx.post(node, content=body, headers=headers, trust_env=False)
    assert answer.status_code in {401, 403}
    answer = network.superlink._http.post("/v1/runtime/acquire-task", content=body, headers=headers)
    assert answer.status_code in {401, 403}


def launch_in(tmp_path, statement, *, environment=None):
    """Run the launcher in a fresh interpreter after `statement` has changed Flower."""
    launch = Launch(
        superlink="127.0.0.1:1",
        ca=tmp_path / "ca.pem",
        key=tmp_path / "key",
        port=free_port(),
        folder=tmp_path,
        approved=approved_bundles(),
        parent=os.getpid(),
    )
    program = f"""
import importlib, sys
node = importlib.import_module("flwr.supernode.start_client_internal")
app = importlib.import_module("flwr.supernode.runtime.run_clientapp")
{statement}
from hospital_node.launcher import main
sys.exit(main({launch.as_arguments()!r}))
"""
    given = LocalAddress.of(tmp_path).environment() if environment is None else environment
    return subprocess.run(
        [sys.executable, "-I", "-c", program],
        env=scrubbed_environment({**flower_launch.environment(tmp_path / "home"), **given}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "change",
    [
        "del node._pull_and_store_message",
        "app.install_from_fab = lambda fab: None",
        "node.start_client_internal = lambda **_: node.stock_loop()",
    ],
    ids=["gone", "other parameters", "no longer used"],
)
def test_a_changed_name_of_flower_and_the_launcher_fails_closed(tmp_path, change):
    ended = launch_in(tmp_path, change)
    assert ended.returncode == 1
    assert "error[TW6204]" in ended.stderr
    assert "Starting Flower SuperNode" not in ended.stdout + ended.stderr
    assert not (tmp_path / "executor.secret").exists()


def test_the_launcher_without_a_credential_starts_nothing(tmp_path):
    ended = launch_in(tmp_path, "pass", environment={})
    assert ended.returncode == 4
    assert "error[TW2020]" in ended.stderr
    assert not (tmp_path / "executor.secret").exists()


def test_a_launcher_that_refuses_is_reported_with_its_own_words(network, tmp_path):
    empty = tmp_path / "approved.txt"
    empty.write_text("# nothing approved\n")
    site = network.add_site("unset", approved=empty)
    site.node.start()
    with pytest.raises(TrainingError) as refused:
        site.node.wait_online()  # says so as soon as the launcher has
    site.node.stop()
    assert refused.value.code == "TW6220"
    assert "TW6201" in (refused.value.diagnostic.note or "")


def test_a_second_superlink_on_one_port_is_refused(network, tmp_path):
    second = SuperLink(
        tmp_path / "second",
        tls=network.coordinator.tls,
        port=network.port,
        daemon=network.address,
    )
    with pytest.raises(TrainingError) as refused:
        second.start()
    second.stop()
    assert refused.value.code == "TW6210"


def test_a_key_in_another_form_is_not_registered(network, sites):
    key = serialization.load_ssh_public_key(sites[0].public_key.encode())
    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
    with pytest.raises(IdentityError) as refused:
        network.superlink.enrol({sites[0].org: pem})
    assert refused.value.code == "TW6212"
    assert network.superlink.online() == {site.org for site in sites}
