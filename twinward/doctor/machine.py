"""The machine that a role stands on: room, memory, files, ports; the same for every role."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Protocol

from twinward.doctor.findings import Concern
from twinward.errors import UsageError

GIB = 2**30
LEAST_FREE = GIB
LEAST_MEMORY = GIB
LEAST_FILES = 1024
_TIMEX_BYTES = 512
"""More than a ``struct timex`` of any Linux; all zero it asks and sets nothing."""
_TIME_ERROR = 5


class Machine(Protocol):
    """What this machine has."""

    def free_bytes(self, path: Path) -> int:
        """Room on the disk of this path."""
        ...

    def available_memory(self) -> int:
        """Bytes that can be had without swapping."""
        ...

    def processors(self) -> int:
        """How many this process may use."""
        ...

    def most_files(self) -> int:
        """How many files a process may have open."""
        ...

    def addresses(self, host: str) -> list[str]:
        """What a name resolves to; raises OSError."""
        ...

    def is_clock_kept(self) -> bool | None:
        """Whether the kernel's clock is synchronised; None where it does not say."""
        ...


class ThisMachine:
    """The one that the doctor runs on."""

    def free_bytes(self, path: Path) -> int:
        """Room on the disk of this path."""
        return shutil.disk_usage(path).free

    def available_memory(self) -> int:
        """Bytes that can be had without swapping."""
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        return int(fields["MemAvailable"].split()[0]) * 1024

    def processors(self) -> int:
        """How many this process may use."""
        return len(os.sched_getaffinity(0))

    def most_files(self) -> int:
        """How many files a process may have open."""
        import resource  # noqa: PLC0415 - not on every system

        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def addresses(self, host: str) -> list[str]:
        """What a name resolves to; raises OSError."""
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return sorted({str(entry[4][0]) for entry in found})

    def is_clock_kept(self) -> bool | None:
        """Whether the kernel's clock is synchronised; None where it does not say.

        ``ntp_adjtime`` that changes nothing (modes 0): https://man7.org/linux/man-pages/man2/adjtimex.2.html
        """
        ask = getattr(ctypes.CDLL(None), "ntp_adjtime", None)
        said = -1 if ask is None else int(ask(ctypes.create_string_buffer(_TIMEX_BYTES)))
        return None if said < 0 else said != _TIME_ERROR


class Standing(Protocol):
    """A role's folder, and the machine that it lies on."""

    @property
    def folder(self) -> Path:
        """The folder."""
        ...

    @property
    def machine(self) -> Machine:
        """The machine."""
        ...


def disk(place: Standing) -> str:
    """There is room for what must be durable."""
    free = place.machine.free_bytes(place.folder)
    if free < LEAST_FREE:
        raise UsageError(
            f"{free / GIB:.2f} GiB are free on the disk of this folder, less than 1",
            code="TW7322",
            at=str(place.folder),
            help="free some; what cannot be written durably does not happen, withdrawals included",
        )
    if free < 5 * LEAST_FREE:
        raise Concern(
            f"{free / GIB:.1f} GiB are free on the disk of this folder",
            code="TW7323",
            at=str(place.folder),
            help="free some before it is less than 1 GiB",
        )
    return f"{free / GIB:.0f} GiB free"


def writable(place: Standing) -> str:
    """The role's own folder can be written by this account."""
    state = place.folder / "state"
    try:
        with tempfile.TemporaryFile(dir=state if state.exists() else place.folder) as probe:
            probe.write(b"\0")
    except OSError as error:
        raise UsageError(
            f"the state cannot be written ({error.strerror})",
            code="TW7324",
            at=str(state),
            help="run it as the account that owns the folder, on a disk that is not read only",
        ) from error
    return "can be written"


def memory(place: Standing) -> str:
    """There is memory for a run, if the daemon is not up already."""
    available = place.machine.available_memory()
    if available < LEAST_MEMORY:
        raise Concern(
            f"{available / GIB:.2f} GiB of memory are available, less than 1",
            code="TW7325",
            help="stop other programs, or give the machine more memory",
        )
    return f"{available / GIB:.1f} GiB available"


def files(place: Standing) -> str:
    """A process may open enough files for databases and channels."""
    most = place.machine.most_files()
    if most < LEAST_FILES:
        raise UsageError(
            f"a process may open {most} files here, fewer than {LEAST_FILES}",
            code="TW7327",
            help="raise the limit: `ulimit -n 4096`, or LimitNOFILE of the service",
        )
    return f"{most} files"


def require_free(host: str, port: int, *, at: str) -> None:
    """Require that nobody listens there, and that this machine may.

    Args:
        host: An address of this machine.
        port: Where a daemon will listen.
        at: File and key of the setting, for whoever has to change it.

    Raises:
        UsageError: TW7329.
    """
    try:
        _bind(host, port)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        raise UsageError(
            f"another program listens at {host}:{port}"
            if taken
            else f"this machine cannot listen at {host}:{port} ({error.strerror})",
            code="TW7329",
            at=at,
            help=f"stop it, or choose another `{at.rpartition(' ')[2]}`"
            if taken
            else "give `host` an address of this machine, and ports above 1023",
        ) from error


def _bind(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        probe.listen(1)
