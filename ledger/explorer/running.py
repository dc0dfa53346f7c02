"""An explorer as a process: follows the ledger in one thread, answers in others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from starlette.types import ASGIApp

from ledger.explorer.by_provider import CALLBACK, by_provider
from ledger.explorer.entrance import entrance
from ledger.explorer.journal import journal_of
from ledger.explorer.pages import EXPORTS, PAGES
from ledger.explorer.site import Explorer
from ledger.explorer.standing import Source
from twinward.admission import with_joined
from twinward.clock import Clock
from twinward.errors import TwinwardError
from twinward.files import read_given
from twinward.founding import Founding
from twinward.logging import log
from twinward.web.openid import OpenId
from twinward.web.provider import Provider

EVERY_SECONDS = 2.0


def state_of(folder: Path) -> Path:
    """Where an explorer keeps accounts, sessions and its copy; only its owner can read it."""
    state = folder / "state" / "explorer"
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    state.chmod(0o700)
    return state


def load_founding(folder: Path) -> Founding:
    """The founding file in the folder, every signature checked.

    Raises:
        UsageError: TW1070, there is none.
        IdentityError: A member's signature is missing or wrong.
    """
    path = folder / "founding.json"
    return with_joined(Founding.decode(read_given(path), at=str(path)), folder)


@contextmanager
def running(
    folder: Path,
    *,
    origin: str,
    ledger: str | None,
    clock: Clock,
    follow: bool = True,
    provider: Provider | None = None,
) -> Iterator[ASGIApp]:
    """The site on a folder, followed by a thread for as long as the block lasts.

    Args:
        folder: A coordinator's or a node's folder, or a copy of one: founding file, studies,
            releases, checkpoints.
        origin: Where browsers reach the site.
        ledger: The ledger's node; None shows the copy as it is.
        clock: For sessions, accounts and the banner.
        follow: Whether to keep looking for new blocks.
        provider: At which auditors may sign in whose invitation names it.
    """
    founding, state = load_founding(folder), state_of(folder)
    source = Source(folder, state, founding=founding, url=ledger, clock=clock)
    source.refresh()
    ended = threading.Event()
    follower = threading.Thread(target=_follow, args=(source, ended), daemon=True)
    with ExitStack() as open_files:
        journal = open_files.enter_context(
            journal_of(folder, founding=founding, clock=clock, site=origin)
        )
        explorer = open_files.enter_context(
            closing(
                Explorer(origin=origin, state=state, source=source, clock=clock, journal=journal)
            )
        )
        ways = [entrance(explorer, provider=provider.host if provider else None)]
        if provider is not None:
            openid = OpenId(provider, redirect_uri=origin + CALLBACK, clock=clock)
            ways.append(by_provider(explorer, open_files.enter_context(closing(openid))))
        if follow and ledger is not None:
            follower.start()
        try:
            yield explorer.application(PAGES, EXPORTS, *ways)
        finally:
            ended.set()
            if follower.ident is not None:
                follower.join()


def _follow(source: Source, ended: threading.Event) -> None:
    while not ended.wait(EVERY_SECONDS):
        try:
            source.refresh()
        except TwinwardError as error:  # the pages say how old the copy is
            log().warning("the copy was not refreshed", code=error.code, reason=str(error))
        except Exception as error:  # noqa: BLE001 - following goes on; the banner tells its age
            log().error("the copy was not refreshed", error=type(error).__name__)
