"""Checks of what runs on this machine: installed packages, the Flower gate, threads, ports."""

from __future__ import annotations

from importlib.metadata import packages_distributions
from importlib.util import find_spec

from hospital_node import launcher, supervise
from hospital_node.doctor.site import Site
from hospital_node.policy_code import PACKAGES
from twinward import flower_launch
from twinward.doctor import machine
from twinward.doctor.findings import NotChecked
from twinward.errors import IdentityError, UsageError


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
    return f"Flower as audited, {len(approved)} bundle{'s' * (len(approved) != 1)} approved"


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
        machine.require_free(host, port, at=f"node.toml: {key}")
    return f"{settings.desk_port} and {settings.flower_port} are free"
