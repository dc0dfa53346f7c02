"""Checks of this machine: room, memory, threads, ports, installed packages, the Flower gate."""

from __future__ import annotations

import contextlib
import errno
import socket
import tempfile
from importlib.metadata import packages_distributions
from importlib.util import find_spec

from hospital_node import launcher, supervise
from hospital_node.doctor.findings import Concern, NotChecked
from hospital_node.doctor.site import Site
from hospital_node.policy_code import PACKAGES
from twinward import flower_launch
from twinward.errors import IdentityError, UsageError

GIB = 2**30
LEAST_FREE = GIB
LEAST_MEMORY = GIB
LEAST_FILES = 1024


def packages(_: Site) -> str:
    """Our six import names are ours: another package of that name would run in our place."""
    owners = packages_distributions()
    for name in PACKAGES:
        others = sorted({owner for owner in owners.get(name, ()) if owner != "twinward"})
        if others:
            raise IdentityError(
                f"`{name}` is supplied by `{others[0]}` too",
                code="TW7320",
                help=f"uninstall `{others[0]}`, or install Twinward in an environment of its own",
            )
    spec = find_spec("hospital_node.flower_app")
    launcher.require_installed(None if spec is None else spec.origin)
    return f"{len(PACKAGES)} import names, all of the installed Twinward"


def gate(_: Site) -> str:
    """Flower and its private names are as audited, and the list of bundles reads."""
    approved = flower_launch.approved_hashes(supervise.approved_bundles())
    flower_launch.require_version()
    launcher.audited()
    return f"Flower as audited, {len(approved)} bundles approved"


def disk(site: Site) -> str:
    """There is room for what must be durable."""
    free = site.machine.free_bytes(site.folder)
    if free < LEAST_FREE:
        raise UsageError(
            f"{free / GIB:.2f} GiB are free on the disk of this node, less than 1",
            code="TW7322",
            at=str(site.folder),
            help="free some; what cannot be written durably does not happen, withdrawals included",
        )
    if free < 5 * LEAST_FREE:
        raise Concern(
            f"{free / GIB:.1f} GiB are free on the disk of this node",
            code="TW7323",
            at=str(site.folder),
            help="free some before it is less than 1 GiB",
        )
    return f"{free / GIB:.0f} GiB free"


def writable(site: Site) -> str:
    """The node's own folder can be written by this account."""
    place = site.folder / "state"
    try:
        with tempfile.TemporaryFile(dir=place if place.exists() else site.folder) as probe:
            probe.write(b"\0")
    except OSError as error:
        raise UsageError(
            f"the node's state cannot be written ({error.strerror})",
            code="TW7324",
            at=str(place),
            help="run it as the account that owns the folder, on a disk that is not read only",
        ) from error
    return "can be written"


def memory(site: Site) -> str:
    """There is memory for a run, if the node is not up already."""
    available = site.machine.available_memory()
    if available < LEAST_MEMORY:
        raise Concern(
            f"{available / GIB:.2f} GiB of memory are available, less than 1",
            code="TW7325",
            help="stop other programs, or give the machine more memory",
        )
    return f"{available / GIB:.1f} GiB available"


def threads(site: Site) -> str:
    """Nobody was told to start more threads than there are processors, or none."""
    count = site.machine.processors()
    if site.settings.threads > count:
        raise UsageError(
            f"`threads` is {site.settings.threads} on {count} processors",
            code="TW7326",
            at="node.toml: threads",
            help=f"set it to a number from 1 to {count}; 1 is mostly fastest",
        )
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        text = site.environment.get(name)
        if text is not None and not (text.isascii() and text.isdigit() and 1 <= int(text) <= count):
            raise UsageError(
                f"{name} is `{text}` on {count} processors",
                code="TW7326",
                help=f"unset it, or set it to a number from 1 to {count}",
            )
    return f"{site.settings.threads} for sums, of {count} processors"


def files(site: Site) -> str:
    """A process may open enough files for desk, databases and channels."""
    most = site.machine.most_files()
    if most < LEAST_FILES:
        raise UsageError(
            f"a process may open {most} files here, fewer than {LEAST_FILES}",
            code="TW7327",
            help="raise the limit: `ulimit -n 4096`, or LimitNOFILE of the service",
        )
    return f"{most} files"


def ports(site: Site) -> str:
    """Nobody else listens where the node will."""
    settings = site.settings
    if settings.desk_port == settings.flower_port:
        raise UsageError(
            "the desk and Flower have the same port",
            code="TW7328",
            at="node.toml: desk_port, flower_port",
            help="give each a port of its own",
        )
    if site.status is not None:
        raise NotChecked("the node is up and listens there itself")
    for key, host, port in (
        ("desk_port", settings.host, settings.desk_port),
        ("flower_port", "127.0.0.1", settings.flower_port),
    ):
        try:
            _bind(host, port)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            raise UsageError(
                f"another program listens at {host}:{port}"
                if taken
                else f"this machine cannot listen at {host}:{port} ({error.strerror})",
                code="TW7329",
                at=f"node.toml: {key}",
                help=f"stop it, or choose another `{key}`"
                if taken
                else "give `host` an address of this machine, and ports above 1023",
            ) from error
    return f"{settings.desk_port} and {settings.flower_port} are free"


def _bind(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        probe.listen(1)
