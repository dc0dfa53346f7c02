"""Rules for the machine's own firewall: the node's user gets out to one place, in writing.

They are below the application: whatever runs as the node's user, by fault or on purpose, opens no
connection but to the coordinator (or to the hospital's proxy) and to the resolver.
nftables: https://wiki.nftables.org; systemd: systemd.resource-control(5), IPAddressAllow.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

from hospital_node.forwarder import addresses_of
from hospital_node.settings import NodeSettings
from twinward.errors import UsageError
from twinward.files import write_atomic
from twinward.founding import Founding

_DNS = 53

_NFT = """\
# What the user `{user}` may open; written by `twinward node firewall`. Load: nft -f THIS
# Addresses are those of {when}; write it again when they change.
table inet twinward
delete table inet twinward
table inet twinward {{
    chain output {{
        type filter hook output priority 0; policy accept;
        meta skuid != "{user}" accept
        oifname "lo" accept
        ct state established,related accept
{rules}
        counter reject with icmpx type admin-prohibited
    }}
}}
"""

_SYSTEMD = """\
# Drop-in for the node's unit: /etc/systemd/system/twinward-node@.service.d/egress.conf
# Written by `twinward node firewall`. Systemd knows addresses only, no ports.
[Service]
IPAddressDeny=any
IPAddressAllow=localhost
{allowed}
"""


def write(
    out: Path,
    *,
    settings: NodeSettings,
    founding: Founding,
    user: str,
    resolve: Callable[[str, int], Iterable[str]] | None = None,
) -> tuple[Path, Path]:
    """Write ``twinward.nft`` and ``egress.conf``; names need the resolver as well.

    Raises:
        UsageError: TW6073, a name has no address here.
    """
    targets = set(addresses_of(founding).values())
    if settings.forwarder is not None:
        targets = {settings.forwarder.proxy_for(host) or (host, port) for host, port in targets}
    allowed = sorted(
        (address, port)
        for host, port in targets
        for address in _addresses(host, port, resolve or _resolved)
    )
    rules = [
        f"        {_family(address)} daddr {address} tcp dport {port} accept"
        for address, port in allowed
    ]
    named = any(not _is_address(host) for host, _ in targets)
    resolvers = sorted(set(_resolvers())) if named else []
    rules += [
        f"        {_family(one)} daddr {one} meta l4proto {{ tcp, udp }} th dport {_DNS} accept"
        for one in resolvers
    ]
    hosts = sorted({address for address, _ in allowed} | set(resolvers))
    out.mkdir(parents=True, exist_ok=True)
    nft, unit = out / "twinward.nft", out / "egress.conf"
    when = ", ".join(sorted(host for host, _ in targets))
    write_atomic(nft, _NFT.format(user=user, rules="\n".join(rules), when=when).encode())
    lines = "\n".join(f"IPAddressAllow={each}" for each in hosts)
    write_atomic(unit, _SYSTEMD.format(allowed=lines).encode())
    return nft, unit


def _addresses(
    host: str, port: int, resolve: Callable[[str, int], Iterable[str]]
) -> tuple[str, ...]:
    try:
        return tuple(sorted(set(resolve(host, port))))
    except OSError as error:
        raise UsageError(
            f"`{host}` has no address here",
            code="TW6073",
            help="run this where the node runs, with its DNS; behind a proxy name it in node.toml",
        ) from error


def _resolved(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(each[4][0]) for each in found]


def _resolvers() -> list[str]:
    """The name servers of this machine that are not on it."""
    try:
        lines = Path("/etc/resolv.conf").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = [line.split()[1] for line in lines if line.startswith("nameserver ")]
    return [one for one in found if _is_elsewhere(one)]


def _is_elsewhere(text: str) -> bool:
    return _is_address(text) and not ipaddress.ip_address(text).is_loopback


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _family(address: str) -> str:
    return "ip6" if ":" in address else "ip"
