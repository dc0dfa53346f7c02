"""What both launchers do to Flower 1.41 before it runs: check its names, gate bundles, fork apps.

Flower starts a new interpreter per message and runs whatever code the bundle brings. A launcher
of ours imports Flower once, replaces a few private names so that only approved bytes and only
installed code are ever used, and forks an *executor*: a warm process that waits for tasks and
forks once more for each. A fork takes milliseconds, needs no program on ``PATH`` and shows no
task token in ``ps``. Private names can change: `require` refuses to start when one has.

Nothing here is sent anywhere; Flower's two phone-home switches are off in `environment`.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
import re
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from twinward.errors import IdentityError, InternalError, UsageError

_SUPPORTED = re.compile(r"1\.41\.\d+")
_HASH = re.compile(r"[0-9a-f]{64}")
_IDLE_SECONDS = 1.0  # longest a task can wait if a wake-up was lost
_PARENT_SECONDS = 0.2  # between looks whether the daemon is still there
_GRACE_SECONDS = 2.0
SECRET_BYTES = 32


def environment(home: Path) -> dict[str, str]:
    """Variables for a Flower process: silent to the outside, with a home of its own."""
    return {
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_HOME": str(home),
        # The executor waits for wake-ups itself, so Flower's own sleep is only in the way.
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.01",
        # One thread in the process that forks; the thin apps compute nothing.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def approved_hashes(path: Path) -> frozenset[str]:
    """Read the bundles a site approves: one SHA-256 in lower-case hex per line, ``#`` comments.

    Raises:
        UsageError: TW6201, the list is missing, empty or malformed; nothing is approved then.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "the list of approved Flower bundles cannot be read",
            code="TW6201",
            at=str(path),
            help="restore the file that came with the release; without it no bundle is approved",
        ) from error
    hashes = [line.split("#", 1)[0].strip() for line in lines]
    hashes = [line for line in hashes if line]
    wrong = next((line for line in hashes if not _HASH.fullmatch(line)), None)
    if wrong is not None or not hashes:
        raise UsageError(
            "the list of approved Flower bundles holds "
            + ("no hash" if wrong is None else f"`{wrong[:80]}`, which is not a SHA-256"),
            code="TW6201",
            at=str(path),
            help="write one SHA-256 in 64 lower-case hex digits per line",
        )
    return frozenset(hashes)


def require_approved(content: bytes, approved: frozenset[str]) -> None:
    """Let exact approved bytes pass.

    Raises:
        IdentityError: TW6202, these bytes are not on the site's list.
    """
    digest = hashlib.sha256(content).hexdigest()
    if digest not in approved:
        raise IdentityError(
            f"the Flower bundle {digest} is not approved here",
            code="TW6202",
            help="if your organisation audited this release, add its hash to the approved list",
        )


def require_version() -> None:
    """Refuse any Flower but the line whose private names were audited.

    Raises:
        UsageError: TW6203.
    """
    from importlib.metadata import version  # noqa: PLC0415 - only launchers ask

    installed = version("flwr")
    if not _SUPPORTED.fullmatch(installed):
        raise UsageError(
            f"Flower {installed} is installed; the launcher knows 1.41 only",
            code="TW6203",
            help="install `flwr>=1.41,<1.42`; the bundle gate is not tested on any other",
        )


def require(
    module: object, name: str, parameters: tuple[str, ...], *, used_by: str | None = None
) -> Callable[..., Any]:
    """Return Flower's private function if it is still what we audited, else refuse to start.

    Args:
        module: Flower's module.
        name: The function's name in it.
        parameters: Names of its parameters, in order.
        used_by: A function of the same module that must still look the name up as a global;
            otherwise replacing it would change nothing, silently.

    Raises:
        InternalError: TW6204.
    """
    function = getattr(module, name, None)
    cause = None
    if not callable(function):
        cause = "is missing"
    elif tuple(inspect.signature(function).parameters) != parameters:
        cause = "takes other parameters"
    elif used_by is not None:
        user = getattr(module, used_by, None)
        if name not in getattr(getattr(user, "__code__", None), "co_names", ()):
            cause = f"is no longer used by `{used_by}`"
    if cause is not None or function is None:
        where = getattr(module, "__name__", "flwr")
        raise InternalError(
            f"Flower's `{where}.{name}` {cause}; the gate cannot be put in place",
            code="TW6204",
            help="install the Flower version of the lock file; the launcher will not run without",
        )
    return function  # type: ignore[no-any-return]


def end_with(parent_pid: int) -> None:
    """End this process, and all of its session, when the daemon that started it is gone.

    Interrupted first, so that Flower can say goodbye; that may wait for connections that others
    hold open, so after a grace nothing is left, and the port is free for the next start.
    """

    def watch() -> None:
        while os.getppid() == parent_pid:
            time.sleep(_PARENT_SECONDS)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(_GRACE_SECONDS)
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


class _ForkExecutor:
    """Flower's executor interface, with a fork where Flower starts a program.

    One task at a time is forked from a process that holds no threads and no gRPC objects.
    """

    def __init__(
        self,
        task_type: str,
        run: Callable[[Any], None],
        *,
        wake: int,
        on_killed: Callable[[], None],
    ) -> None:
        self._task_type = task_type
        self._on_killed = on_killed
        self._run = run
        self._wake: int | None = wake

    def get_eligible_capacity(
        self, supported_task_types: set[Any], **_: object
    ) -> tuple[set[Any], set[str]]:
        """Only apps of this side; agents, models and connectors of a bundle never start."""
        return {kind for kind in supported_task_types if kind == self._task_type}, set()

    def wait_for_capacity(self, *_: object, **__: object) -> None:
        """A fork always fits."""

    def launch(self, spec: Any) -> Any:
        """Fork; the child runs one task and ends, the parent goes on waiting."""
        from flwr.supercore.superexec.executor import LaunchResult  # noqa: PLC0415 - as above

        if spec.task_type != self._task_type:
            return LaunchResult.failed("this kind of task does not run here")
        sys.stdout.flush()
        sys.stderr.flush()
        if os.fork() == 0:
            _run_and_exit(lambda: self._run(spec))
        return LaunchResult.accepted()

    def reconcile(self) -> None:
        """Bury finished tasks, then sleep until someone says that there is work."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if os.WIFSIGNALED(ended[1]):
                    self._on_killed()
        watched = [] if self._wake is None else [self._wake]
        readable, _, _ = select.select(watched, [], [], _IDLE_SECONDS)
        if readable and not os.read(readable[0], 4096):
            self._wake = None  # nobody is left to wake us; fall back to looking now and then

    def close(self) -> None:
        """Nothing is held."""


def fork_executor(
    task_type: str,
    run: Callable[[Any], None],
    *,
    runtime_address: str,
    ca: Path | None,
    secret: bytes,
    wake: int,
) -> int:
    """Fork the process that runs this side's apps; returns its process id.

    Call it after every name is replaced and before a thread or server is started. It ends when
    this process ends; and when a task of it is killed by a signal it ends this process, because
    Flower would sit a minute over the answer that cannot come, deaf to any other message.
    ``wake`` is a descriptor: a byte on it means that a task may be waiting.
    ``secret`` is what Flower demands of whoever fetches tasks, so that no other local process can.
    """
    module: Any = import_module("flwr.supercore.superexec.run_superexec")
    require(module, "get_executor", (
        "executor_type", "executor_config", "insecure", "root_certificates_path",
    ), used_by="run_superexec")  # fmt: skip
    main = require(module, "run_superexec", (
        "runtime_api_address", "insecure", "root_certificates_path", "superexec_auth_secret",
        "plugin_config", "parent_pid", "health_server_address", "runtime_dependency_install",
        "executor_type", "executor_config",
    ))  # fmt: skip
    if threading.active_count() != 1:
        raise InternalError(
            "a thread runs before the executor is forked",
            code="TW6205",
            help="please report this: Flower must be imported without starting threads",
        )
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    executor = _ForkExecutor(
        task_type, run, wake=wake, on_killed=lambda: os.kill(parent, signal.SIGTERM)
    )
    module.get_executor = lambda *_, **__: executor

    def execute() -> None:
        _wait_for_listener(runtime_address, parent=parent)
        main(
            runtime_api_address=runtime_address,
            insecure=ca is None,
            root_certificates_path=None if ca is None else str(ca),
            superexec_auth_secret=secret,
            parent_pid=parent,
        )

    _run_and_exit(execute)
    raise AssertionError  # pragma: no cover - _run_and_exit does not return


def _wait_for_listener(address: str, *, parent: int) -> None:
    """Return once the parent's server listens; Flower's own retries back off for seconds."""
    host, port = address.rsplit(":", 1)
    while os.getppid() == parent:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        time.sleep(0.05)
    raise SystemExit(1)


def _run_and_exit(task: Callable[[], None]) -> None:
    """Run in a forked child and leave without the parent's clean-up."""
    status = 1
    try:
        task()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException as error:  # noqa: BLE001 - the last frame of a process
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def arguments(values: Mapping[str, str | Path | int]) -> list[str]:
    """Spell ``{"port": 1}`` as ``["--port", "1"]``."""
    return [part for name, value in values.items() for part in (f"--{name}", str(value))]
