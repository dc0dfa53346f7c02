"""Starts Flower's SuperNode so that it can only ever run this installed package.

A stock SuperNode unpacks whatever code the coordinator's bundle holds and runs it. This program
replaces three private functions of Flower 1.41 and refuses to start if one is not as audited:

1. the SuperNode stores a bundle only if its SHA-256 is on the site's list; any other is answered
   with Flower's own error before a byte of it is unpacked;
2. the app process checks the same bytes again and unpacks nothing;
3. the app that runs is `hospital_node.flower_app` of this installation, whatever the bundle names.

The daemon's socket and token reach the app by the environment of this process alone: a SuperNode
started in any other way has no credential, and the daemon refuses it. What leaves the machine is
Flower's traffic to the coordinator.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

from twinward import flower_launch
from twinward.errors import IdentityError, TwinwardError
from twinward.files import write_atomic
from twinward.rpc.local import LocalAddress

NODE_ID = "supernode.id"
"""File with Flower's id of the session and our process id, from when the node is online."""

_LOOK_SECONDS = 0.25  # Flower: 3 s between looks for a message
_REPLY_SECONDS = 0.05  # Flower: 0.5 s between looks for the app's reply
_AGAIN_SECONDS = 2  # Flower: pauses of up to 20 s before it looks for a SuperLink that was away
_APP = "hospital_node.flower_app"


@dataclass(frozen=True, slots=True)
class Launch:
    """What the supervisor asks for; only addresses and paths, never a secret."""

    superlink: str
    ca: Path
    key: Path
    port: int
    folder: Path
    approved: Path
    parent: int

    @classmethod
    def parse(cls, argv: Sequence[str]) -> Launch:
        """Read the command line that ``as_arguments`` writes."""
        parser = argparse.ArgumentParser(prog="hospital_node.launcher", allow_abbrev=False)
        parser.add_argument("--superlink", required=True)
        for name in ("ca", "key", "folder", "approved"):
            parser.add_argument(f"--{name}", type=Path, required=True)
        for name in ("port", "parent"):
            parser.add_argument(f"--{name}", type=int, required=True)
        return cls(**vars(parser.parse_args(argv)))

    def as_arguments(self) -> list[str]:
        """The command line of this launch."""
        names = self.__dataclass_fields__
        return flower_launch.arguments({name: getattr(self, name) for name in names})


def require_installed(module_file: str | None) -> None:
    """Refuse to run from any file but the one that the installed distribution owns.

    Raises:
        IdentityError: TW6206, something shadows the package, or Twinward is not installed.
    """
    from importlib.metadata import PackageNotFoundError, distribution  # noqa: PLC0415 - start only

    try:
        installed = distribution("twinward")
    except PackageNotFoundError:
        root = None
    else:
        origin = json.loads(installed.read_text("direct_url.json") or "{}")
        editable = origin.get("dir_info", {}).get("editable", False)
        root = (
            Path(unquote(urlsplit(origin["url"]).path))
            if editable
            else Path(str(installed.locate_file("")))
        )
    expected = None if root is None else (root / "hospital_node" / "flower_app.py").resolve()
    if expected is None or module_file is None or Path(module_file).resolve() != expected:
        raise IdentityError(
            "`hospital_node` is not the installed package",
            code="TW6206",
            at=module_file,
            note=None if expected is None else f"the installed one is {expected}",
            help="run the `twinward` command of the environment that Twinward is installed in",
        )


def audited() -> tuple[Any, Any, Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """Flower's two modules and the functions that the gate replaces or calls, if as audited.

    Raises:
        InternalError: TW6204, a private name of Flower is not.
    """
    node: Any = import_module("flwr.supernode.start_client_internal")
    app: Any = import_module("flwr.supernode.runtime.run_clientapp")

    pull = flower_launch.require(node, "_pull_and_store_message", (
        "state", "object_store", "node_config", "receive", "get_run", "get_fab", "pull_object",
        "confirm_message_received", "trusted_entities",
    ), used_by="start_client_internal")  # fmt: skip
    insert = flower_launch.require(node, "_insert_message", ("msg", "state", "store"))
    flower_launch.require(
        app, "install_from_fab", ("fab_file", "install_dir", "skip_prompt"), used_by="run_clientapp"
    )
    flower_launch.require(
        app,
        "get_load_client_app_fn",
        ("default_app_ref", "app_path", "multi_app"),
        used_by="run_clientapp",
    )
    fetch = flower_launch.require(node, "pull_objects", (
        "object_ids", "pull_object_fn", "max_concurrent_pulls", "max_time",
        "max_tries_per_object", "initial_backoff", "backoff_cap",
    ), used_by="_pull_and_store_message")  # fmt: skip
    return node, app, pull, insert, fetch


def gate(approved: frozenset[str], *, online: Path, wake: int) -> None:
    """Replace the SuperNode's and the app process's way in; nothing else touches a bundle.

    Args:
        approved: SHA-256 of the bundles that may be used.
        online: File that gets Flower's node id once the SuperLink has accepted this node.
        wake: Descriptor that gets a byte whenever a message has been stored for the app.

    Raises:
        InternalError: TW6204, a private name of Flower is not as audited.
    """
    from hospital_node import flower_app  # noqa: PLC0415 - after the check of where it lies

    node, app, pull, insert, fetch = audited()

    def pull_approved(**given: Any) -> int | None:
        state, receive, get_fab = given["state"], given["receive"], given["get_fab"]
        if not online.exists():
            write_atomic(online, f"{state.get_node_id()} {os.getpid()}".encode(), mode=0o600)
        received: list[Any] = []

        def remember() -> Any:
            received.append(receive())
            return received[-1]

        def fetch_approved(fab_hash: str, run_id: int) -> Any:
            fab = get_fab(fab_hash, run_id)
            flower_launch.require_approved(fab.content, approved)
            return fab

        try:
            run = pull(**{**given, "receive": remember, "get_fab": fetch_approved})
        except IdentityError as error:
            message = received[-1][0]
            sys.stderr.write(f"{error.diagnostic.as_text()}\n")
            reply = node.Message(node.FAB_VERIFICATION_ERROR, reply_to=message)
            insert(reply, state, given["object_store"])
            return int(message.metadata.run_id)
        if run is not None:
            os.write(wake, b"\n")
        return None if run is None else int(run)

    def check_and_unpack_nothing(content: bytes, **_: object) -> None:
        flower_launch.require_approved(content, approved)

    retry: Any = import_module("flwr.supercore.retry.http_retry")
    retry.MAX_RETRY_DELAY = _AGAIN_SECONDS  # renamed in Flower, a node is back later, no worse
    node.pull_objects = partial(fetch, initial_backoff=_REPLY_SECONDS, backoff_cap=_LOOK_SECONDS)
    node._pull_and_store_message = pull_approved  # noqa: SLF001 - the gate
    node.time = SimpleNamespace(
        sleep=lambda seconds: time.sleep(_LOOK_SECONDS if seconds >= 1 else _REPLY_SECONDS)
    )
    app.install_from_fab = check_and_unpack_nothing
    app.get_load_client_app_fn = lambda **_: lambda *_: flower_app.app


def release_last_session(launch: Launch, online: Path) -> None:
    """Tell the SuperLink that a session which was killed is over, so that it accepts this one.

    Without it a restarted node is refused (HTTP 412) until Flower's heartbeat lapses after a
    minute. Nothing is lost if it fails: the supervisor tries again until the SuperLink accepts.
    """
    import httpx  # noqa: PLC0415 - start only
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key  # noqa: PLC0415
    from flwr.proto.fleet_pb2 import DeactivateNodeRequest  # noqa: PLC0415 - start only
    from flwr.supernode.fleet_http_client import FleetHttpClient  # noqa: PLC0415
    from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor  # noqa: PLC0415

    with contextlib.suppress(OSError, ValueError, IndexError, httpx.HTTPError):
        node_id = int(online.read_text(encoding="ascii").split()[0])
        key: Any = load_ssh_private_key(launch.key.read_bytes(), None)
        with FleetHttpClient.from_server_address(
            launch.superlink,
            insecure=False,
            root_certificates=launch.ca.read_bytes(),
            interceptors=[NodeAuthHttpInterceptor(key, key.public_key())],
        ) as client:
            client.DeactivateNode(DeactivateNodeRequest(node_id=node_id))
    online.unlink(missing_ok=True)


def launch_supernode(launch: Launch) -> None:
    """Check, gate, fork the executor, then become the SuperNode; returns when it ends.

    Raises:
        TwinwardError: any check failed; no Flower process was started.
    """
    from importlib.util import find_spec  # noqa: PLC0415 - start only

    spec = find_spec(_APP)
    require_installed(None if spec is None else spec.origin)
    LocalAddress.from_environment()
    approved = flower_launch.approved_hashes(launch.approved)
    flower_launch.require_version()

    # By name, because Flower's packages re-export functions that hide modules of the same name.
    flower_supernode = import_module("flwr.supernode.cli.flower_supernode")
    run_clientapp = import_module("flwr.supernode.runtime.run_clientapp")
    start = flower_launch.require(flower_supernode, "flower_supernode", ())
    run_app = flower_launch.require(run_clientapp, "run_clientapp", (
        "runtime_api_address", "token", "insecure", "certificates", "parent_pid",
        "runtime_dependency_install",
    ))  # fmt: skip
    online = launch.folder / NODE_ID
    waiting, wake = os.pipe()
    gate(approved, online=online, wake=wake)
    secret = secrets.token_bytes(flower_launch.SECRET_BYTES)
    secret_file = launch.folder / "executor.secret"
    write_atomic(secret_file, secret, mode=0o600)
    flower_launch.fork_executor(
        "flwr-clientapp",
        lambda task: run_app(
            runtime_api_address=task.runtime_api_address,
            token=task.token,
            insecure=True,  # a socket of this machine's loopback
            parent_pid=task.parent_pid,
        ),
        runtime_address=f"127.0.0.1:{launch.port}",
        ca=None,
        secret=secret,
        wake=waiting,
    )
    release_last_session(launch, online)
    flower_launch.end_with(launch.parent)
    sys.argv = [
        "flower-supernode",
        *flower_launch.arguments(
            {
                "superlink": launch.superlink,
                "root-certificates": launch.ca,
                "auth-supernode-private-key": launch.key,
                "host": "127.0.0.1",
                "port": launch.port,
                "isolation": "process",
                "superexec-auth-secret-file": secret_file,
            }
        ),
    ]
    start()


def main(argv: Sequence[str]) -> int:
    """Run the launcher; returns the exit status of a refusal."""
    try:
        launch_supernode(Launch.parse(argv))
    except TwinwardError as error:
        sys.stderr.write(f"{error.diagnostic.as_text()}\n")
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
