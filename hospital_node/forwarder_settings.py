"""What a hospital says about its way out: the table ``[forwarder]`` of ``node.toml``."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _proxy(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "http" or not parts.hostname or not parts.port:
        msg = "write http://HOST:PORT"
        raise ValueError(msg)
    if parts.username is not None or parts.password is not None:
        msg = "no credentials here: write USER:PASSWORD into a file and name it proxy_credentials"
        raise ValueError(msg)
    return value


class ForwarderSettings(BaseModel):
    """The node's only way out. With it the node opens no connection of its own to other machines.

    ``port`` takes CONNECT for the coordinator's addresses, the port after it Flower's calls; both
    on the loopback.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: int = Field(ge=1, le=65534)
    proxy: Annotated[str, AfterValidator(_proxy)] | None = None
    """The hospital's HTTP proxy, ``http://HOST:PORT``; asked by CONNECT."""
    proxy_credentials: Path | None = None
    """File with USER:PASSWORD, for its owner's eyes only; sent to the proxy (Basic), nowhere
    else."""
    no_proxy: tuple[str, ...] = ()
    """Hosts, domains (with their subdomains) and networks that are reached without the proxy."""
    separate: bool = False
    """The forwarder runs as a service of its own (`twinward node forwarder`), not in the node."""

    def proxy_for(self, host: str) -> tuple[str, int] | None:
        """The proxy on the way to this host, or None for the straight way."""
        if self.proxy is None or any(_covers(one, host) for one in self.no_proxy):
            return None
        parts = urlsplit(self.proxy)
        return str(parts.hostname), int(parts.port or 0)


def table(settings: ForwarderSettings) -> list[str]:
    """The lines of the table ``[forwarder]``, for a ``node.toml`` that is made."""
    lines = ["", "[forwarder]  # the only way out of this node", f"port = {settings.port}"]
    if settings.proxy is not None:
        lines.append(f"proxy = {json.dumps(settings.proxy)}")
    if settings.proxy_credentials is not None:
        lines.append(f"proxy_credentials = {json.dumps(str(settings.proxy_credentials))}")
    if settings.no_proxy:
        lines.append(f"no_proxy = {json.dumps(settings.no_proxy)}")
    return lines


def _covers(rule: str, host: str) -> bool:
    """As most programs read NO_PROXY: a name and what is under it, an address, a network, ``*``."""
    rule = rule.strip().lower().removeprefix("*").removeprefix(".")
    if not rule:
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(rule, strict=False)
    except ValueError:
        return host.lower() == rule or host.lower().endswith(f".{rule}")
