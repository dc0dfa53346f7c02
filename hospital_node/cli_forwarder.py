"""``twinward node``: the way out of the hospital, alone, tried, and fenced in."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from twinward.console import emit, json_option, next_step, reports_errors, say
from twinward.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hospital_node.forwarder import Forwarder
    from hospital_node.forwarder_settings import ForwarderSettings

PORT = 9600
FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))


@click.command()
@FOLDER
@click.option("--end-with-stdin", is_flag=True, help="Stop when standard input ends.")
@reports_errors
def forwarder(*, folder: Path, end_with_stdin: bool) -> None:
    """Run the forwarder of the node in FOLDER alone, until it is told to end.

    For a service of its own, under a user of its own: set `separate = true` in [forwarder] then.
    """
    from hospital_node import settings
    from twinward import child, logging
    from twinward.settings import load

    if end_with_stdin:
        child.end_with_stdin()
    one = _of(folder)
    logging.configure(role="forwarder", org=load(settings.NodeSettings, folder / settings.FILE).org)
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(one.serve(ready=lambda: say("forwarder is up")))


@click.command("way-out")
@FOLDER
@json_option
@reports_errors
def way_out(*, folder: Path, as_json: bool) -> None:
    """Try the way from this machine to the coordinator once, as the forwarder in FOLDER goes it.

    Names what is in the way: DNS, proxy, its password, firewall, inspection of TLS.
    """
    one = _of(folder, tell=lambda _trouble: None)  # it is told by the command
    version = asyncio.run(one.check())
    emit(
        {"open": True, "tls": version},
        schema="node.way-out",
        as_json=as_json,
        text=lambda: f"the way out is open ({version}, the network's own certificate)",
    )


@click.command()
@FOLDER
@click.option("--user", required=True, help="Unix user that the node runs as.")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False))
@json_option
@reports_errors
def firewall(*, folder: Path, user: str, out: Path, as_json: bool) -> None:
    """Write firewall rules for the node in FOLDER into the folder OUT: nftables and systemd.

    They let the node's user reach the coordinator, or the hospital's proxy, and nothing else.
    """
    from hospital_node import forwarder_firewall, membership, settings
    from twinward.settings import load

    configured = load(settings.NodeSettings, folder / settings.FILE)
    files = forwarder_firewall.write(
        out, settings=configured, founding=membership.load_founding(folder), user=user
    )
    emit(
        {"files": [str(each) for each in files]},
        schema="node.firewall",
        as_json=as_json,
        text=lambda: "\n".join(map(str, files)),
    )
    next_step(f"read them, then: nft -f {files[0]}")


COMMANDS = (forwarder, way_out, firewall)


OPTIONS = ("forwarder_port", "proxy", "proxy_credentials", "no_proxy")


def way_out_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of `init` and `join` that say how a node gets out; read them with `chosen`."""
    for option in reversed((
        click.option(
            "--forwarder", "forwarder_port", type=click.IntRange(1, 65534),
            help="Give the node one way out, a forwarder on this loopback port and the next one.",
        ),
        click.option(
            "--proxy", metavar="http://HOST:PORT",
            help=f"The hospital's HTTP proxy; the forwarder ({PORT} by default) goes through it.",
        ),
        click.option(
            "--proxy-credentials", type=click.Path(path_type=Path, dir_okay=False, exists=True),
            help="File with USER:PASSWORD for the proxy, mode 0600; it stays where it is.",
        ),
        click.option(
            "--no-proxy", multiple=True, metavar="HOST",
            help="Host, domain or network that is reached without the proxy (repeatable); without"
            " it, what NO_PROXY of the environment lists.",
        ),
    )):  # fmt: skip
        command = option(command)
    return command


def chosen(
    *,
    forwarder_port: int | None,
    proxy: str | None,
    proxy_credentials: Path | None,
    no_proxy: tuple[str, ...],
) -> ForwarderSettings | None:
    """The table ``[forwarder]`` that these options ask for; None without any.

    Raises:
        UsageError: TW6075, they do not go together.
    """
    from pydantic import ValidationError

    from hospital_node.forwarder_settings import ForwarderSettings

    if proxy is None and (proxy_credentials is not None or no_proxy):
        raise _useless("`--proxy-credentials` and `--no-proxy` need `--proxy`")
    if proxy is None and forwarder_port is None:
        return None
    listed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    try:
        return ForwarderSettings(
            port=PORT if forwarder_port is None else forwarder_port,
            proxy=proxy,
            proxy_credentials=None if proxy_credentials is None else proxy_credentials.resolve(),
            no_proxy=no_proxy or (tuple(listed.replace(",", " ").split()) if proxy else ()),
        )
    except ValidationError as error:  # what was given may hold a password: it is not repeated
        raise _useless(str(error.errors()[0]["msg"]).removeprefix("Value error, ")) from None


def _useless(why: str) -> UsageError:
    return UsageError(
        f"the options for the way out do not fit: {why}",
        code="TW6075",
        help="give `--proxy http://HOST:PORT`, and its password as a file: `--proxy-credentials`",
    )


def _of(folder: Path, *, tell: Callable[[object], None] | None = None) -> Forwarder:
    from hospital_node import membership, settings
    from hospital_node.forwarder import Forwarder, addresses_of
    from twinward.settings import load

    configured = load(settings.NodeSettings, folder / settings.FILE).forwarder
    if configured is None:
        raise UsageError(
            "this node has no forwarder",
            code="TW6072",
            at=str(folder / settings.FILE),
            help="add a table [forwarder] with a `port` to node.toml",
        )
    addresses = addresses_of(membership.load_founding(folder))
    return Forwarder(folder, addresses=addresses, settings=configured, tell=tell)
