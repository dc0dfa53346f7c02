"""``twinward explorer``: the auditor's site, and who may see it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from twinward.clock import SystemClock, iso
from twinward.console import emit, json_option, next_step, reports_errors, say, table

if TYPE_CHECKING:
    from ledger.audit.log import AuditLog
    from ledger.explorer.auditors import Auditors

FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))


@click.group()
def explorer() -> None:
    """Show auditors what stands on the ledger."""


@explorer.command()
@FOLDER
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=9450, show_default=True, help="Port to listen on.")
@click.option("--name", help="Host name in auditors' browsers, if it is not the address.")
@click.option("--ledger", help="JSON-RPC of the ledger's node; the founding file's by default.")
@click.option("--offline", is_flag=True, help="Ask no ledger: show the copy that is here.")
@click.option("--plain", is_flag=True, help="HTTP without TLS, for this machine only.")
@click.option("--end-with-stdin", is_flag=True, help="Stop when standard input ends.")
@reports_errors
def up(
    *,
    folder: Path,
    host: str,
    port: int,
    name: str | None,
    ledger: str | None,
    offline: bool,
    plain: bool,
    end_with_stdin: bool,
) -> None:
    """Serve the site of the network in FOLDER: a coordinator's, a node's, or a copy of one."""
    from ledger.explorer.running import load_founding, running
    from ledger.explorer.settings import provider_of
    from twinward import child, logging
    from twinward.organisation import Organisation
    from twinward.web import serve

    if end_with_stdin:
        child.end_with_stdin()
    logging.configure(role="explorer", org="auditor")
    tls = None if plain else Organisation(folder).tls
    if tls is None and not serve.is_loopback(host):
        serve.origin_of(host, port, tls=False)  # refuses, whatever name is given
    origin = serve.origin_of(name or host, port, tls=tls is not None)
    url = None if offline else ledger or load_founding(folder).endpoints["ledger"]
    provider = provider_of(folder)
    listener = serve.listen(host, port)
    with (
        listener,
        running(folder, origin=origin, ledger=url, clock=SystemClock(), provider=provider) as site,
    ):
        say(f"explorer is up: {origin}")
        serve.serve(site, listener, tls=tls)


@explorer.command()
@FOLDER
@click.argument("name")
@click.option("--until", help="Last day of the access, 2026-12-31; 90 days by default.")
@click.option("--study", "studies", multiple=True, help="A study to show; all if none is given.")
@click.option("--oidc", "issuer", help="OpenID issuer to sign in at, instead of a passphrase.")
@click.option("--subject", help="Who they are there (`sub`); else whoever brings the code.")
@json_option
@reports_errors
def invite(
    *,
    folder: Path,
    name: str,
    until: str | None,
    studies: tuple[str, ...],
    issuer: str | None,
    subject: str | None,
    as_json: bool,
) -> None:
    """Let an auditor NAME in, read-only; prints a code that works once, within a week."""
    from twinward.errors import UsageError

    _require_identity(issuer, subject)

    clock = SystemClock()
    try:
        day = (
            datetime.fromisoformat(until).replace(tzinfo=UTC)
            if until
            else datetime.fromtimestamp(clock.now(), tz=UTC).replace(hour=0, minute=0, second=0)
            + timedelta(days=90)
        )
    except ValueError as error:
        raise UsageError(
            f"`{until}` is not a day", code="TW7045", help="write it like 2026-12-31"
        ) from error
    end = (day + timedelta(days=1)).timestamp()
    with _accounts(folder) as auditors:
        _enter(folder, "auditor-invited")
        code = auditors.invite(
            name, studies=studies or None, until=end, issuer=issuer, subject=subject
        )
    page = "/join/provider" if issuer else "/join"
    emit(
        {
            "name": name,
            "code": code,
            "until": iso(end),
            "studies": list(studies) or None,
            "issuer": issuer,
            "subject": subject,
        },
        schema="explorer.invite",
        as_json=as_json,
        text=lambda: (
            f"invitation of `{name}` until {iso(end)}, "
            f"{'for ' + ', '.join(studies) if studies else 'for the whole network'}\n"
            + (
                f"page  {page} of the site\nname  {name}\ncode  {code}\n"
                "Tell page and code by different ways. The code works once, within a week."
                if code
                else f"page  /sign-in of the site\nThey sign in at {issuer}; there is no code."
            )
        ),
    )
    next_step(f"twinward explorer up {folder}")


@explorer.command()
@FOLDER
@json_option
@reports_errors
def auditors(*, folder: Path, as_json: bool) -> None:
    """List the accounts of auditors."""
    with _accounts(folder) as accounts:
        found = accounts.everyone()
    rows = [
        {
            "name": one.name,
            "studies": None if one.studies is None else list(one.studies),
            "until": iso(one.until),
            "open": one.is_open,
            "issuer": one.issuer,
        }
        for one in found
    ]
    emit(
        {"auditors": rows},
        schema="explorer.auditors",
        as_json=as_json,
        text=lambda: table(
            ("NAME", "STUDIES", "UNTIL", "STATE", "SIGNS IN"),
            [
                (
                    one.name,
                    "all" if one.studies is None else ", ".join(one.studies),
                    iso(one.until),
                    "open" if one.is_open else "invited",
                    one.issuer or "passphrase",
                )
                for one in found
            ],
        ),
    )


@explorer.command()
@FOLDER
@click.argument("name")
@click.option("--erase", is_flag=True, help="Erase what links entries of the audit log to them.")
@reports_errors
def remove(*, folder: Path, name: str, erase: bool) -> None:
    """Close the account of auditor NAME at once; with --erase, forget who made their visits."""
    from ledger.explorer import journal

    with _accounts(folder) as accounts:
        _enter(folder, "auditor-removed")
        accounts.remove(name)
    say(f"`{name}` is let in no more")
    if erase:
        with _own_log(folder) as log:
            count = 0 if log is None else journal.erase(log, name)
        say(f"{count} bodies and the key to them are erased; backups of keys must go too")


def _require_identity(issuer: str | None, subject: str | None) -> None:
    from twinward.errors import UsageError
    from twinward.web.id_token import is_subject
    from twinward.web.provider import require_issuer

    if issuer is not None:
        require_issuer(issuer)
    if subject is not None and (issuer is None or not is_subject(subject)):
        raise UsageError(
            "`--subject` is 1 to 255 ASCII characters and belongs to `--oidc`",
            code="TW7069",
            help="give the issuer too, and `sub` as the provider writes it",
        )


def _accounts(folder: Path) -> closing[Auditors]:
    from ledger.explorer.auditors import Auditors
    from ledger.explorer.running import load_founding, state_of

    load_founding(folder)
    return closing(Auditors(state_of(folder) / "auditors.sqlite", clock=SystemClock()))


def _enter(folder: Path, what: str) -> None:
    """Enter a command of this account, before it acts; whom it is about stays in the accounts."""
    from getpass import getuser

    with _own_log(folder) as log:
        if log is not None:
            log.did(what, by=f"urn:twinward:account:{getuser()}")


@contextmanager
def _own_log(folder: Path) -> Iterator[AuditLog | None]:
    """The audit log of the organisation whose folder this is; a site over copies has none."""
    from ledger.explorer.running import load_founding
    from ledger.questions import logbook

    if not logbook.is_members(folder):
        yield None
        return
    with logbook.opened(folder, founding=load_founding(folder), clock=SystemClock()) as log:
        yield log
