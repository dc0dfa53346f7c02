"""A real SuperLink and real SuperNodes on loopback; only the two daemons are stand-ins."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from cryptography.hazmat.primitives import serialization

from hospital_node.supervise import SuperNode
from server import ca
from server.supervise import SuperLink
from twinward import flower_launch
from twinward.child import scrubbed_environment
from twinward.ids import OrgName
from twinward.organisation import Organisation
from twinward.rpc.local import LocalAddress, local_server
from twinward.rpc.messages_pb2 import Closing, ClosingAnswer, Opening
from twinward.rpc.messages_pb2_grpc import (
    CoordinatorLocalServicer,
    NodeLocalServicer,
    add_CoordinatorLocalServicer_to_server,
    add_NodeLocalServicer_to_server,
)

BIN = Path(sys.executable).parent
OPENING = Opening(run=b"r" * 32, order=b"order", plan=b"plan", weights=bytes(8 * 20))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class CoordinatorStandIn(CoordinatorLocalServicer):
    """Hands out one opening; finished when as many closings came as it wants."""

    opening = OPENING

    def __init__(self):
        self.expect(1)

    def expect(self, wanted):
        self.wanted = wanted
        self.openings = 0
        self.closings = []
        self.finished = threading.Event()

    @property
    def closed(self):
        return sorted(closing.decode() for _, closing in self.closings)

    async def NextOpening(self, _request, _context):
        self.openings += 1
        return self.opening

    async def Close(self, request, _context):
        self.closings.append((time.monotonic(), bytes(request.closing)))
        if len(self.closings) >= self.wanted:
            self.finished.set()
        return ClosingAnswer(finished=len(self.closings) >= self.wanted)


class NodeStandIn(NodeLocalServicer):
    """Notes when it was called and with what, then closes after `seconds`, or refuses."""

    def __init__(self, name):
        self.name = name
        self.expect()

    def expect(self, *, seconds=0.0, refusal=None):
        self.calls = []
        self.called = threading.Event()
        self.cancelled = threading.Event()
        self.seconds = seconds
        self.refusal = refusal

    async def OpenRun(self, request, context):
        self.calls.append((time.monotonic(), request))
        self.called.set()
        if self.refusal:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, self.refusal)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return Closing(closing=self.name.encode(), weights=request.weights)


@contextmanager
def serving(address, add, servicer):
    """Serve on the daemon's socket from an event loop in a thread."""
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    server = None

    async def begin():
        nonlocal server
        server = local_server(address)
        add(servicer, server)
        await server.start()
        ready.set()

    def run():
        asyncio.set_event_loop(loop)
        loop.run_until_complete(begin())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    yield
    asyncio.run_coroutine_threadsafe(server.stop(0.1), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@dataclass
class Site:
    """One hospital: its keys, its daemon's stand-in, its SuperNode."""

    org: OrgName
    home: Organisation
    daemon: NodeStandIn
    address: LocalAddress
    node: SuperNode
    public_key: str
    runtime_port: int


@dataclass
class Network:
    folder: Path
    coordinator: Organisation
    stand_in: CoordinatorStandIn
    address: LocalAddress
    superlink: SuperLink
    port: int
    sites: list = field(default_factory=list)
    stack: ExitStack = field(default_factory=ExitStack)

    def add_site(self, name, **options):
        home = Organisation(self.folder / name)
        home.folder.mkdir()
        home.create(
            org=OrgName(name),
            role="hospital",
            ledger_key=b"\1" * 32,
            ledger_account="0x" + "00" * 20,
        )
        key = serialization.load_ssh_private_key(home.flower_key.read_bytes(), None)
        address = LocalAddress.of(home.folder)
        daemon = NodeStandIn(name)
        self.stack.enter_context(serving(address, add_NodeLocalServicer_to_server, daemon))
        port = free_port()
        node = SuperNode(
            home.folder / "flower",
            superlink=self.superlink.address,
            ca=self.coordinator.tls.ca,
            key=home.flower_key,
            port=port,
            daemon=address,
            **options,
        )
        self.stack.callback(node.stop)
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        return Site(OrgName(name), home, daemon, address, node, public.decode(), port)

    def run(self, *, wanted):
        """Start a run after forgetting the last one; returns Flower's id and the moment."""
        self.stand_in.expect(wanted)
        for site in self.sites:
            site.daemon.expect(seconds=site.daemon.seconds, refusal=site.daemon.refusal)
        begun = time.monotonic()
        return self.superlink.start_run(), begun

    def wait_finished(self, run, *, seconds):
        deadline = time.monotonic() + seconds
        while self.superlink.run_status(run) != "finished":
            assert time.monotonic() < deadline, "Flower's run did not end"
            time.sleep(0.1)


def make_certificate(home):
    """The coordinator's TLS material, by the real CA."""
    ca_key = home.secrets / "ca.key"
    now = time.time()
    ca.create(key_file=ca_key, certificate_file=home.tls.ca, network="test", now=now)
    from twinward.organisation import REQUEST_KIND
    from twinward.signing import Document

    request = Document.decode(
        home.request_file(OrgName("coordinator")).read_bytes(), kind=REQUEST_KIND
    )
    pem = ca.issue(
        request.payload["csr"],
        org="coordinator",
        hosts=("127.0.0.1", "localhost"),
        key_file=ca_key,
        ca_file=home.tls.ca,
        now=now,
    )
    home.tls.certificate.write_text(pem)


@contextmanager
def open_mailbox(folder):
    """A SuperLink that is ready, with nobody registered."""
    home = Organisation(folder / "coordinator")
    home.folder.mkdir(parents=True)
    home.create(
        org=OrgName("coordinator"),
        role="coordinator",
        ledger_key=b"\1" * 32,
        ledger_account="0x" + "00" * 20,
    )
    make_certificate(home)
    address = LocalAddress.of(home.folder)
    stand_in = CoordinatorStandIn()
    with ExitStack() as stack:
        stack.enter_context(serving(address, add_CoordinatorLocalServicer_to_server, stand_in))
        port = free_port()
        superlink = SuperLink(home.folder / "flower", tls=home.tls, port=port, daemon=address)
        stack.enter_context(superlink)
        yield Network(folder, home, stand_in, address, superlink, port, stack=stack)


@contextmanager
def stock(command, arguments, *flags, home, credential=None):
    """Run one of Flower's own programs, as a site without Twinward's launcher would."""
    environment = scrubbed_environment(flower_launch.environment(home))
    environment.update(credential or {})
    environment["PATH"] = f"{BIN}{os.pathsep}{environment['PATH']}"
    del environment["FLWR_SUPEREXEC_TASK_POLL_INTERVAL"]  # the default: a second
    home.mkdir()
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(BIN / command), *flags, *flower_launch.arguments(arguments)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
