"""Checks of the way to the coordinator: names, proxies, TLS, the clocks of both."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from contextlib import closing
from urllib.parse import urlsplit

import grpc

from hospital_node.doctor.site import Site
from hospital_node.follower import fetch_tip
from hospital_node.forwarder import Forwarder, addresses_of
from hospital_node.forwarder_command import not_there
from ledger.tip import TipStatement
from twinward.doctor.findings import Concern
from twinward.errors import CoordinatorUnreachable, IdentityError, UsageError
from twinward.rpc.messages_pb2_grpc import NetworkStub
from twinward.rpc.tls import PROMPT

MOST_SKEW_SECONDS = 5.0
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy")
_EXPIRED, _NOT_YET, _HOST, _ADDRESS = 10, 9, 62, 64  # X509_V_ERR_... of OpenSSL


def names(site: Site) -> str:
    """The names of the founding file's addresses resolve here, or the proxy's on the way there."""
    forwarder = site.settings.forwarder
    found = {host for host, _ in addresses_of(site.founding).values()}
    proxies = {host: forwarder.proxy_for(host) if forwarder else None for host in found}
    hosts = sorted({host if proxy is None else proxy[0] for host, proxy in proxies.items()})
    for host in hosts:
        try:
            site.machine.addresses(host)
        except OSError as error:
            raise UsageError(
                f"the name `{host}` does not resolve ({error.strerror})",
                code="TW7330",
                at="founding file: endpoints" if host in found else "node.toml: forwarder.proxy",
                help="have the name entered in this machine's DNS, or in /etc/hosts",
            ) from error
    return ", ".join(hosts)


def proxy(site: Site) -> str:
    """A proxy of the environment can be reached, and is not in the way of what is near."""
    if site.settings.forwarder is not None:
        return "that of the environment is ignored: this node has a forwarder"
    found = {
        name: value
        for name in _PROXIES
        for spelled in (name, name.upper())
        if (value := site.environment.get(spelled))
    }
    for name, value in found.items():
        _require_reachable(name, value, timeout=site.timeout)
    if not found:
        return "none set"
    host, _ = site.coordinator
    excepted = site.environment.get("no_proxy") or site.environment.get("NO_PROXY") or ""
    if _is_excepted(host, excepted):
        return f"{', '.join(found)} set, `{host}` excepted"
    if _is_near(host):
        raise UsageError(
            f"`{host}` is on this machine or network, and {min(found)} would be asked for it",
            code="TW7332",
            help=f"add `{host}` to NO_PROXY",
        )
    raise Concern(
        f"secure sums go through {min(found)}; Flower and the ledger do not use it",
        code="TW7333",
        help=f"give the proxy to the forwarder (node.toml: [forwarder]), or let this machine reach "
        f"`{host}` directly and add it to NO_PROXY",
    )


def way_out(site: Site) -> str:
    """The forwarder gets to the coordinator, and this machine to the forwarder."""
    settings = site.settings.forwarder
    if settings is None:
        return "straight, no forwarder"
    addresses = addresses_of(site.founding)
    tried = Forwarder(
        site.folder, addresses=addresses, settings=settings, tell=lambda _trouble: None
    )
    version = asyncio.run(tried.check())
    try:
        site.reach.connection(site.coordinator, timeout=site.timeout).close()
    except OSError as error:
        raise not_there(settings.port) from error
    proxy = settings.proxy_for(site.coordinator[0])
    by = "straight" if proxy is None else f"through {proxy[0]}:{proxy[1]}"
    return f"by the forwarder, {by}, {version}"


def tls(site: Site) -> str:
    """The coordinator shows a certificate of this network's CA, for its own name, in its time."""
    host, port = site.coordinator
    files = site.organisation.tls
    context = ssl.create_default_context(cafile=str(files.ca))
    context.load_cert_chain(files.certificate, files.key)
    context.set_alpn_protocols(["h2"])
    try:
        with (
            closing(site.reach.connection((host, port), timeout=site.timeout)) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            return f"{host}:{port}, {secured.version()}"
    except ssl.SSLCertVerificationError as error:
        raise _untrusted(error, f"{host}:{port}") from error
    except ssl.SSLError as error:
        raise IdentityError(
            f"no TLS connection comes about ({error.reason or 'cut'})",
            code="TW7337",
            at=f"{host}:{port}",
            help="see whether something else listens there, or stands between and cuts TLS",
        ) from error
    except OSError as error:
        raise CoordinatorUnreachable(
            f"the coordinator cannot be reached ({error.strerror or 'no answer in time'})",
            code="TW6001",
            at=f"{host}:{port}",
            help="is it up, does a firewall let this machine out, and is its address in the "
            "founding file right?",
        ) from error


def clock(site: Site) -> str:
    """The coordinator answers this hospital, and both clocks agree."""
    credentials = site.organisation.tls.channel_credentials()
    address = site.founding.endpoints["network"]
    options = (*PROMPT, *site.reach.channel_options())
    with grpc.secure_channel(address, credentials, options=options) as channel:
        before = site.clock.now()
        tip = fetch_tip(NetworkStub(channel))
        after = site.clock.now()
    tip.verify(site.founding.coordinator.identity)
    signed = TipStatement.read(tip).time
    skew = max(before - signed, signed - after, 0.0)
    if skew > MOST_SKEW_SECONDS:
        late = "behind" if signed > after else "ahead"
        raise UsageError(
            f"this machine's clock is {skew:.0f} s {late} of the coordinator's",
            code="TW7321",
            help="switch time synchronisation on (`timedatectl set-ntp true`); with wrong clocks "
            "consents count as stale and certificates as expired",
        )
    return f"within {max(skew, after - before):.1f} s of the coordinator's"


def _require_reachable(name: str, value: str, *, timeout: float) -> None:
    """Requires that the proxy answers; its address may hold a password, so it is never shown."""
    try:
        parts = urlsplit(value if "://" in value else f"//{value}")
        host, port = parts.hostname or "", parts.port or 80
        with closing(socket.create_connection((host, port), timeout=timeout)):
            return
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the proxy of {name} cannot be reached",
            code="TW7331",
            help=f"correct {name}, or unset it and let this machine reach the coordinator directly",
        ) from error


def _is_excepted(host: str, listed: str) -> bool:
    """As gRPC reads NO_PROXY: names, endings of names, and networks."""
    for entry in (each.strip().lstrip("*").lstrip(".") for each in listed.split(",")):
        if entry and (host == entry or host.endswith(f".{entry}")):
            return True
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False):
                return True
        except ValueError:
            continue
    return False


def _is_near(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost"


def _untrusted(error: ssl.SSLCertVerificationError, at: str) -> IdentityError:
    if error.verify_code in {_EXPIRED, _NOT_YET}:
        return IdentityError(
            "the coordinator's certificate is expired or not valid yet",
            code="TW7334",
            at=at,
            help="compare the clocks first; then ask the coordinator to renew it",
        )
    if error.verify_code in {_HOST, _ADDRESS}:
        return IdentityError(
            "the coordinator's certificate is for another name",
            code="TW7335",
            at=at,
            help="compare the address in the founding file with the certificate",
        )
    return IdentityError(
        "the certificate that is shown is not of this network's CA",
        code="TW7336",
        at=at,
        help="somebody may stand between (a proxy that opens TLS), or the CA was changed: ask the "
        "coordinator by phone, trust nothing else",
    )
