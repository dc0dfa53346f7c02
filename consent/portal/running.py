"""The patients' site as a process: a channel to the desk, sessions on disk, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import grpc
from starlette.types import ASGIApp

from consent.portal.entrance import Entrance
from consent.portal.mails import Mails
from consent.portal.pages import Pages
from consent.portal.site import Portal
from consent.portal.speakers import Speakers
from consent.portal.take_home import TakeHome
from consent.record import Domain
from twinward.clock import Clock
from twinward.ids import OrgName


@contextmanager
def running(
    state: Path,
    *,
    origin: str,
    hospital: OrgName,
    domain: Domain,
    desk: str,
    ca: bytes,
    clock: Clock,
    drafts: bool = True,
) -> Iterator[ASGIApp]:
    """The site, for as long as the block lasts.

    Args:
        state: Folder for the sessions.
        origin: Where browsers reach the site.
        hospital: Whose patients.
        domain: What grants are signed for.
        desk: ``host:port`` of the hospital's consent desk.
        ca: PEM of the authority that the desk's certificate comes from.
        clock: For sessions and for what is signed.
        drafts: Whether visitors can choose translations that nobody checked.
    """
    credentials = grpc.ssl_channel_credentials(root_certificates=ca)
    portal = Portal(
        origin=origin,
        state=state,
        hospital=hospital,
        domain=domain,
        channel=grpc.secure_channel(desk, credentials),
        clock=clock,
        drafts=drafts,
    )
    with closing(portal):
        pages = (Entrance(portal), Pages(portal), TakeHome(portal), Speakers(portal), Mails(portal))
        yield portal.shell.build([each.router() for each in pages])
