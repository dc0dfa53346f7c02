"""Starts Flower's SuperLink so that the only ServerApp it can run is this installed package.

Flower's control API has no login: whoever reaches the port on this machine may submit a bundle,
and a stock SuperLink would run its code beside the coordinator's credential. Here a bundle with
any hash but our own is refused before it is unpacked, and the app that runs is
`server.flower_app` of this installation. The SuperLink listens on loopback only.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from queue import Queue
from typing import Any

from server.fab import fab_sha256
from twinward import flower_launch
from twinward.errors import TwinwardError
from twinward.files import write_atomic
from twinward.rpc.local import LocalAddress

DATABASE = "superlink.db"
"""Flower's own, in the SuperLink's folder; nothing in it outlives a run."""

_REPLY_SECONDS = 2.0  # for the whole of one reply, from its announcement
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Launch:
    """What the supervisor asks for; only addresses and paths, never a secret."""

    port: int
    ca: Path
    certificate: Path
    key: Path
    folder: Path
    parent: int

    @classmethod
    def parse(cls, argv: Sequence[str]) -> Launch:
        """Read the command line that ``as_arguments`` writes."""
        parser = argparse.ArgumentParser(prog="server.launcher", allow_abbrev=False)
        for name in ("ca", "certificate", "key", "folder"):
            parser.add_argument(f"--{name}", type=Path, required=True)
        for name in ("port", "parent"):
            parser.add_argument(f"--{name}", type=int, required=True)
        return cls(**vars(parser.parse_args(argv)))

    def as_arguments(self) -> list[str]:
        """The command line of this launch."""
        names = self.__dataclass_fields__
        return flower_launch.arguments({name: getattr(self, name) for name in names})


def gate(module: Any, grid: Any, approved: frozenset[str]) -> None:
    """Replace the ServerApp process's way in: exact bytes, and the installed app.

    Also bounds how long one reply may take to arrive in full: by default a node that announces a
    reply and then withholds it holds up everybody for minutes.

    Args:
        module: Flower's module that runs a ServerApp.
        grid: Flower's module that fetches replies.
        approved: SHA-256 of the bundles that may be used.

    Raises:
        InternalError: TW6204, a private name of Flower is not as audited.
    """
    from server import flower_app  # noqa: PLC0415 - heavy

    install = flower_launch.require(
        module,
        "install_from_fab",
        ("fab_file", "install_dir", "skip_prompt"),
        used_by="run_serverapp",
    )
    run = flower_launch.require(
        module,
        "run_",
        ("grid", "context", "server_app_dir", "server_app_attr", "loaded_server_app"),
        used_by="run_serverapp",
    )

    fetch = flower_launch.require(grid, "pull_objects", (
        "object_ids", "pull_object_fn", "max_concurrent_pulls", "max_time",
        "max_tries_per_object", "initial_backoff", "backoff_cap",
    ))  # fmt: skip

    def install_approved(content: bytes, **options: Any) -> Any:
        flower_launch.require_approved(content, approved)
        return install(content, **options)

    grid.pull_objects = partial(
        fetch, max_time=_REPLY_SECONDS, initial_backoff=_LOOK_SECONDS, backoff_cap=_LOOK_SECONDS
    )
    module.install_from_fab = install_approved
    module.run_ = lambda **given: run(
        grid=given["grid"],
        context=given["context"],
        server_app_dir=given["server_app_dir"],
        loaded_server_app=flower_app.app,
    )


def launch_superlink(launch: Launch) -> None:
    """Check, gate, fork the executor, then become the SuperLink; returns when it ends.

    Raises:
        TwinwardError: any check failed; no Flower process was started.
    """
    LocalAddress.from_environment()
    flower_launch.require_version()

    # By name, because Flower's packages re-export functions that hide modules of the same name.
    flower_superlink = import_module("flwr.superlink.cli.flower_superlink")
    module = import_module("flwr.superlink.runtime.run_serverapp")
    start = flower_launch.require(flower_superlink, "flower_superlink", ())
    gate(module, import_module("flwr.superlink.grid.http_grid"), frozenset({fab_sha256()}))
    run_app = flower_launch.require(
        module,
        "run_serverapp",
        ("runtime_api_address", "log_queue", "token", "insecure", "certificates", "parent_pid",
         "runtime_dependency_install"),
    )  # fmt: skip
    secret = secrets.token_bytes(flower_launch.SECRET_BYTES)
    secret_file = launch.folder / "executor.secret"
    write_atomic(secret_file, secret, mode=0o600)
    ca = launch.ca.read_bytes()
    flower_launch.fork_executor(
        "flwr-serverapp",
        lambda task: run_app(
            runtime_api_address=task.runtime_api_address,
            log_queue=Queue(),
            token=task.token,
            insecure=False,
            certificates=ca,
            parent_pid=task.parent_pid,
        ),
        runtime_address=f"127.0.0.1:{launch.port}",
        ca=launch.ca,
        secret=secret,
        wake=sys.stdin.fileno(),
    )
    flower_launch.end_with(launch.parent)
    sys.argv = [
        "flower-superlink",
        *flower_launch.arguments(
            {
                "ssl-ca-certfile": launch.ca,
                "ssl-certfile": launch.certificate,
                "ssl-keyfile": launch.key,
                "host": "127.0.0.1",
                "port": launch.port,
                "database": launch.folder / DATABASE,
                "isolation": "process",
                "superexec-auth-secret-file": secret_file,
            }
        ),
        "--enable-supernode-auth",
        "--disable-runtime-dependency-installation",
    ]
    start()


def main(argv: Sequence[str]) -> int:
    """Run the launcher; returns the exit status of a refusal."""
    try:
        launch_superlink(Launch.parse(argv))
    except TwinwardError as error:
        sys.stderr.write(f"{error.diagnostic.as_text()}\n")
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
