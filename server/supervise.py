"""Runs Flower's SuperLink as a child of the coordinator and speaks its control API.

The SuperLink listens on loopback with TLS of our CA, knows SuperNodes by their registered keys,
installs nothing and phones nowhere. Its control API is plain protobuf over HTTPS; calling it here
costs milliseconds, Flower's own command line a second each.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from server.fab import fab_bytes, fab_sha256
from server.flower_register import forget_unregistered
from server.launcher import DATABASE, Launch
from twinward import flower_launch
from twinward.child import Child, scrubbed_environment
from twinward.errors import CoordinatorUnreachable, IdentityError, TrainingError
from twinward.ids import OrgName

if TYPE_CHECKING:
    from twinward.rpc.local import LocalAddress
    from twinward.rpc.tls import TlsFiles

Response = TypeVar("Response")

_PROTOBUF = "application/protobuf"
_LOOK_SECONDS = 0.05
_GRACE_SECONDS = 3.0
_PUT_OUT = "unregistered"


class SuperLink:
    """One SuperLink: started, registered with, asked for runs, stopped. Blocking calls.

    Args:
        folder: Private folder for its database, log and Flower home; made if missing.
        tls: The coordinator's TLS material; the certificate must name 127.0.0.1.
        port: Loopback port of all of Flower's interfaces.
        daemon: The coordinator daemon's socket and token, handed to the ServerApp alone.
    """

    def __init__(self, folder: Path, *, tls: TlsFiles, port: int, daemon: LocalAddress) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.address = f"127.0.0.1:{port}"
        launch = Launch(
            port=port,
            ca=tls.ca.resolve(),
            certificate=tls.certificate.resolve(),
            key=tls.key.resolve(),
            folder=folder.resolve(),
            parent=os.getpid(),
        )
        self._child = Child(
            "server.launcher",
            launch.as_arguments(),
            environment=scrubbed_environment(
                {**flower_launch.environment(folder.resolve() / "flwr"), **daemon.environment()}
            ),
            log=folder / "superlink.log",
            folder=folder,
        )
        self._database = folder / DATABASE
        self._ca = tls.ca
        self._http = self._client()

    def __enter__(self) -> Self:
        """Start it and wait until it answers."""
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.stop()

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._child.pid

    def start(self) -> None:
        """Start the process; it is not ready yet.

        Raises:
            TrainingError: TW6210, something else answers on its port.
        """
        if self._answers():
            raise TrainingError(
                "something listens on the SuperLink's port already",
                code="TW6210",
                at=self.address,
                help="stop the other coordinator, or set another `flower_port`",
            )
        self._child.start()
        _load_flower()

    def wait_ready(self, *, timeout: float = 30.0) -> None:
        """Return once it answers.

        Raises:
            TrainingError: TW6211, it ended or did not answer in time.
        """
        deadline = time.monotonic() + timeout
        while not self._answers():
            status = self._child.exit_status()
            if status is not None or time.monotonic() > deadline:
                raise TrainingError(
                    "Flower's SuperLink "
                    + (f"ended (exit {status})" if status is not None else "does not answer"),
                    code="TW6211",
                    at=self.address,
                    note=self._child.last_words(),
                    help="read `superlink.log` in its folder; is the port free and TLS in place?",
                )
            time.sleep(_LOOK_SECONDS)

    def enrol(self, keys: Mapping[OrgName, str]) -> None:
        """Make these SuperNode keys (OpenSSH text) the registered ones, and no others.

        Keys registered earlier that are not named are removed, and may come back later. Dying in
        between leaves some registered; calling it again completes it.

        Raises:
            IdentityError: TW6212, a key is not an elliptic-curve public key in OpenSSH form.
            CoordinatorUnreachable: TW6213.
            TrainingError: TW6214, TW6237.
        """
        from flwr.proto import control_pb2 as control  # noqa: PLC0415 - the coordinator's only

        wanted = {_pem(org, key): org for org, key in keys.items()}
        listed = self._listed()
        known = {bytes(node.public_key): node for node in listed if node.status != _PUT_OUT}
        for key, node in known.items():
            if wanted.get(key) != node.name:
                self._call(
                    "unregister-node",
                    control.UnregisterNodeRequest(node_id=node.node_id),
                    control.UnregisterNodeResponse,
                )
        kept = {bytes(node.public_key) for node in listed} - set(known)
        if back := kept & set(wanted):
            forget_unregistered(self._database, back)
        for key, org in wanted.items():
            if key not in known or known[key].name != org:
                self._call(
                    "register-node",
                    control.RegisterNodeRequest(public_key=key, name=org),
                    control.RegisterNodeResponse,
                )

    def online(self) -> frozenset[OrgName]:
        """Registered hospitals whose SuperNode is online, as far as Flower knows.

        A killed node counts until its heartbeat lapses; the daemon's own stream knows sooner.
        """
        return frozenset(OrgName(node.name) for node in self._listed() if node.status == "online")

    def start_run(self) -> int:
        """Submit the code-less bundle; returns Flower's run id, for `stop_run`.

        Dying after this line leaves a run whose ServerApp asks the daemon for an opening, finds
        none and ends.

        Raises:
            CoordinatorUnreachable: TW6213.
            TrainingError: TW6214.
        """
        from flwr.proto import control_pb2 as control  # noqa: PLC0415 - the coordinator's only
        from flwr.proto.fab_pb2 import Fab  # noqa: PLC0415

        fab = Fab(hash_str=fab_sha256(), content=fab_bytes())
        answer = self._call("start-run", control.StartRunRequest(fab=fab), control.StartRunResponse)
        self._child.wake()
        return int(answer.run_id)

    def stop_run(self, run: int) -> None:
        """End a run at Flower's side; one that has ended already is left alone."""
        from flwr.proto import control_pb2 as control  # noqa: PLC0415 - the coordinator's only

        if self.run_status(run) != "finished":
            self._call("stop-run", control.StopRunRequest(run_id=run), control.StopRunResponse)

    def run_status(self, run: int) -> str:
        """Flower's word for the run: pending, starting, running or finished."""
        from flwr.proto import control_pb2 as control  # noqa: PLC0415 - the coordinator's only

        answer = self._call(
            "list-runs", control.ListRunsRequest(run_id=run), control.ListRunsResponse
        )
        return str(answer.run_dict[run].status.status)

    def restart(self) -> None:
        """Start it again, with the certificate that is on disk now; SuperNodes come back.

        Flower reads its certificate once. Call it while no run is under way.

        Raises:
            TrainingError: TW6211, it does not come up.
        """
        before, self._http = self._http, self._client()
        before.close()  # first: its server would wait for this side to say goodbye
        self._child.stop(grace=_GRACE_SECONDS)
        self._child.start()
        self.wait_ready()

    def stop(self) -> None:
        """End the SuperLink and everything it started; its database is safe at any moment."""
        self._http.close()  # first: its server would wait for this side to say goodbye
        self._child.stop(grace=_GRACE_SECONDS)

    def _client(self) -> httpx.Client:
        # No proxy of the environment, no redirect: this client speaks to this machine only.
        return httpx.Client(
            base_url=f"https://{self.address}",
            verify=ssl.create_default_context(cafile=str(self._ca)),
            timeout=30.0,
            trust_env=False,
            follow_redirects=False,
        )

    def _answers(self) -> bool:
        try:
            return self._http.get("/health", timeout=2.0).is_success
        except httpx.HTTPError:
            return False

    def _listed(self) -> list[Any]:
        from flwr.proto import control_pb2 as control  # noqa: PLC0415 - the coordinator's only

        answer = self._call("list-nodes", control.ListNodesRequest(), control.ListNodesResponse)
        return list(answer.nodes_info)

    def _call(self, procedure: str, request: Any, response: Any) -> Any:
        try:
            answer = self._http.post(
                f"/v1/control/{procedure}",
                content=request.SerializeToString(deterministic=True),
                headers={"content-type": _PROTOBUF, "accept": _PROTOBUF},
            )
        except httpx.HTTPError as error:
            raise CoordinatorUnreachable(
                f"Flower's SuperLink does not answer `{procedure}`",
                code="TW6213",
                at=self.address,
                note=type(error).__name__,
                help="is the coordinator up? start it with `twinward server up`",
            ) from error
        if not answer.is_success:
            raise TrainingError(
                f"Flower's SuperLink refused `{procedure}` (HTTP {answer.status_code})",
                code="TW6214",
                at=self.address,
                note=answer.text[:300],
                help="read `superlink.log` in its folder",
            )
        return response.FromString(answer.content)


def _load_flower() -> None:
    """Load what the calls need before there are threads that call.

    Its modules import one another: of two threads that load them at once, one finds half of one.
    """
    from flwr.proto import control_pb2, fab_pb2  # noqa: F401, PLC0415


def _pem(org: OrgName, openssh: str) -> bytes:
    """The form in which Flower registers a key."""
    try:
        key = serialization.load_ssh_public_key(openssh.encode())
        return key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IdentityError(
            f"the SuperNode key of `{org}` is not a public key in OpenSSH form",
            code="TW6212",
            help="take it from the founding file, unchanged",
        ) from error
