"""Checks of where the coordinator listens: its ports, Flower's SuperLink, the front door."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from server import ca_rollover
from server import front_door as doors
from server.doctor.papers import leaf_of
from server.doctor.place import Place
from twinward.doctor import machine, papers
from twinward.doctor.findings import Concern, NotChecked
from twinward.errors import CoordinatorUnreachable, IdentityError, UsageError

_LOOPBACK = "127.0.0.1"


def ports(place: Place) -> str:
    """They are free while the coordinator is stopped, and answer while it is up."""
    found = list(_listening(place))
    numbers = [port for _, _, port in found]
    twice = next((key for key, _, port in found if numbers.count(port) > 1), None)
    if twice is not None:
        raise UsageError(
            f"`{twice}` is the port of something else too",
            code="TW7328",
            at=f"coordinator.toml: {twice}",
            help="give each a port of its own",
        )
    for key, host, port in found:
        if place.status is None:
            machine.require_free(host, port, at=f"coordinator.toml: {key}")
        elif not _answers(host, port, timeout=place.timeout):
            raise CoordinatorUnreachable(
                f"the coordinator is up and nothing answers at {host}:{port}",
                code="TW7654",
                at=f"coordinator.toml: {key}",
                help="settings hold from the next start: start the coordinator again, and read "
                "its log",
            )
    return f"{', '.join(map(str, numbers))} {'free' if place.status is None else 'answer'}"


def superlink(place: Place) -> str:
    """Flower shows the certificate that is on disk: it reads it once, at its start."""
    if place.status is None:
        raise NotChecked("the coordinator is not running")
    files, port = place.organisation.tls, place.settings.flower_port
    shown = _shown(_LOOPBACK, port, name=_LOOPBACK, ca=files.ca, timeout=place.timeout)
    if shown != ca_rollover.der(leaf_of(files.certificate.read_bytes())):
        raise Concern(
            "Flower's SuperLink shows another certificate than the one on disk",
            code="TW7645",
            at=f"{_LOOPBACK}:{port}",
            help="it is started again by itself once no run is under way; if it stays, start the "
            "coordinator again",
        )
    return "as on disk"


def front_door(place: Place) -> str:
    """Its certificate lasts, its authorities are ours, and nginx shows what is on disk."""
    settings = place.settings
    if not settings.front_door:
        raise NotChecked("this coordinator has none")
    files = doors.DoorFiles(place.folder / doors.FOLDER)
    again = f"run `twinward server front-door {place.folder}` and reload nginx"
    missing = [each for each in (files.key, files.certificate, files.conf) if not each.exists()]
    if missing:
        raise IdentityError(
            "the front door's files are not there", code="TW7647", at=str(missing[0]), help=again
        )
    if files.authorities.read_bytes() != place.organisation.tls.ca.read_bytes():
        raise IdentityError(
            "the front door trusts other authorities than this coordinator",
            code="TW7648",
            at=str(files.authorities),
            help=f"there was a roll-over: {again}",
        )
    leaf = leaf_of(files.certificate.read_bytes())
    until = papers.lasting(
        leaf,
        at=str(files.certificate),
        now=place.clock.now(),
        renew=again,
        by_itself="nothing does so by itself",
    )
    if place.status is None:
        return f"{until}; the coordinator is not running, so nginx was not asked"
    host, _, port = settings.front_door.rpartition(":")
    shown = _shown(host, int(port), name=host, ca=files.authorities, timeout=place.timeout)
    if shown != ca_rollover.der(leaf):
        raise Concern(
            "nginx shows another certificate than the one on disk",
            code="TW7651",
            at=settings.front_door,
            help="reload nginx: it reads its files at its start and at each reload",
        )
    return f"{settings.front_door}, {until}"


def _listening(place: Place) -> Iterator[tuple[str, str, int]]:
    settings = place.settings
    yield "network_port", settings.host, settings.network_port
    yield "flower_port", _LOOPBACK, settings.flower_port
    if not (place.organisation.founding_file.exists() and place.founding.is_ledger_outside):
        yield "ledger_port", settings.host, settings.ledger_port
    if settings.join_port:
        yield "join_port", settings.host, settings.join_port
    if settings.keeper_port and doors.key_digest(place.folder) is not None:
        yield "keeper_port", settings.host, settings.keeper_port


def _answers(host: str, port: int, *, timeout: float) -> bool:
    try:
        with closing(socket.create_connection((host, port), timeout=timeout)):
            return True
    except OSError:
        return False


def _shown(host: str, port: int, *, name: str, ca: Path, timeout: float) -> bytes:
    """The certificate (DER) that is shown there, if it is of this network.

    Raises:
        IdentityError: TW7646, it is not. CoordinatorUnreachable: TW7650, nothing answers.
    """
    context = ssl.create_default_context(cafile=str(ca))
    try:
        with (
            closing(socket.create_connection((host, port), timeout=timeout)) as plain,
            context.wrap_socket(plain, server_hostname=name) as secured,
        ):
            return secured.getpeercert(binary_form=True) or b""
    except ssl.SSLError as error:
        raise IdentityError(
            "what is shown there is not a valid certificate of this network",
            code="TW7646",
            at=f"{host}:{port}",
            note=error.reason or type(error).__name__,
            help="see what listens there; if it is ours, start it again (nginx: reload it)",
        ) from error
    except OSError as error:
        raise CoordinatorUnreachable(
            f"nothing answers at {host}:{port}",
            code="TW7650",
            at=f"{host}:{port}",
            note=error.strerror or "no answer in time",
            help="start nginx with the written configuration (the SuperLink: start the "
            "coordinator again); does the name lead to this machine?",
        ) from error
