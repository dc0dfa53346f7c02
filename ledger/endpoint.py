"""Where a ledger node is, whom to trust there, and what is shown to be let in.

A member shows its certificate of the network's CA, which it has from the founding; anyone else a
token that the operator gave it. Neither stands in an address, a log or an argument, and neither
goes over a connection that others could read.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ledger.deployed import contracts_of
from ledger.rpc import Rpc
from twinward.errors import LedgerError, TwinwardError
from twinward.files import read_secret
from twinward.founding import Founding
from twinward.organisation import Organisation
from twinward.reach import Reach

if TYPE_CHECKING:
    from ledger.chain import Chain

TOKEN_FILE = "ledger.token"  # noqa: S105 - a name
"""In an organisation's ``secrets/``: what an outside ledger wants to see, or an auditor's token."""

TOKEN_VARIABLE = "TWINWARD_LEDGER_TOKEN_FILE"  # noqa: S105 - a name
"""The path of such a file, for whoever keeps it elsewhere."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One ledger node as one organisation reaches it.

    Attributes:
        url: Its address.
        token: What is sent with each request, or None.
        tls: For HTTPS: which CA is trusted and which certificate is shown.
        proxy: The forwarder of this hospital, through which it goes.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    proxy: str | None = None

    @classmethod
    def of(cls, founding: Founding, folder: Path, *, url: str | None = None) -> Endpoint:
        """The network's ledger as the organisation of this folder reaches it.

        Args:
            founding: Names the address, and whose certificate stands there.
            folder: Of an organisation with keys, or a copy of its papers without.
            url: Another node of the same ledger.

        Raises:
            LedgerError: TW3503 no TLS to another machine, TW3504 unusable TLS files.
            UsageError: TW1014, a named token file is not there.
            IdentityError: TW2005, a key or token file can be read by others.
        """
        reach, files = Reach.of(folder), Organisation(folder).tls
        here = None if founding.is_ledger_outside else reach.ledger
        address = url or here or founding.endpoints["ledger"]
        named = os.environ.get(TOKEN_VARIABLE)
        token = Path(named) if named else Organisation(folder).secrets / TOKEN_FILE
        pinned = founding.chain.get("ledger_ca")
        member = files.key.exists() and files.certificate.exists()
        return cls._made(
            address,
            authorities=str(pinned) if pinned is not None else _authorities(founding, files.ca),
            shown=(files.certificate, files.key) if member and pinned is None else None,
            token=token if named or token.exists() else None,
            proxy=None if _is_loopback(urlsplit(address).hostname) else reach.proxy,
        )

    @classmethod
    def by_files(
        cls,
        url: str,
        *,
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        token: Path | None = None,
        proxy: str | None = None,
    ) -> Endpoint:
        """A node by the files that a command names.

        Raises:
            LedgerError, UsageError, IdentityError: As `of`.
        """
        shown = None if certificate is None else (certificate, key or certificate)
        return cls._made(url, authorities=ca, shown=shown, token=token, proxy=proxy)

    @classmethod
    def _made(
        cls,
        url: str,
        *,
        authorities: str | Path | None,
        shown: tuple[Path, Path] | None,
        token: Path | None,
        proxy: str | None,
    ) -> Endpoint:
        parts = urlsplit(url)
        if parts.scheme != "https" and not _is_loopback(parts.hostname):
            raise LedgerError(
                "the ledger's node is on another machine and its address is not https",
                code="TW3503",
                at=url,
                help="nothing was sent; serve the ledger with TLS and name its https address",
            )
        secret = None if token is None else read_secret(token).decode().strip()
        if parts.scheme != "https":
            return cls(url, token=secret, proxy=proxy)
        return cls(url, token=secret, tls=_context(url, authorities, shown), proxy=proxy)

    def rpc(self, *, timeout: float = 10.0) -> Rpc:
        """A raw client for it; nothing is sent yet. ``timeout`` is in seconds for one request."""
        return Rpc(self.url, timeout=timeout, token=self.token, tls=self.tls, proxy=self.proxy)

    def chain(self, founding: Founding, *, key: bytes | None = None) -> Chain:
        """The contracts of this network there, for the account of a key or only to be read.

        Raises:
            LedgerUnreachable: TW5001.
            LedgerError: TW3505 not let in, TW5021 another network.
        """
        from ledger.chain import Chain  # noqa: PLC0415 - web3 is not needed for raw calls

        return Chain.connect(
            self.url,
            genesis=bytes.fromhex(str(founding.chain["genesis_hash"])),
            contracts=contracts_of(founding),
            key=key,
            token=self.token,
            tls=self.tls,
            proxy=self.proxy,
        )


class _Fresh(ssl.SSLContext):
    """Trusts and shows with each new connection what is in the files then.

    A context forgets no authority that it once trusted, so there is a new one for new files.
    """

    _authorities: str | Path | None = None
    _shown: tuple[Path, Path] | None = None
    _now: tuple[tuple[tuple[int, int], ...], ssl.SSLContext] | None = None

    def wrap_socket(self, *given: Any, **more: Any) -> ssl.SSLSocket:
        """Wrap a socket, after a look at the files."""
        return self.newest().wrap_socket(*given, **more)

    def watch(self, authorities: str | Path | None, shown: tuple[Path, Path] | None) -> None:
        """Trust and show this from now on, and whatever replaces it in the files.

        Args:
            authorities: PEM text or a file of it; None for the system's.
            shown: Certificate and key.
        """
        self._authorities, self._shown, self._now = authorities, shown, None
        self.newest()

    def newest(self) -> ssl.SSLContext:
        """By the files as they are; the one of before where nothing was replaced."""
        watched = [] if self._shown is None else [self._shown[0]]
        if isinstance(self._authorities, Path):
            watched.append(self._authorities)
        stamp = tuple((found.st_mtime_ns, found.st_ino) for found in map(Path.stat, watched))
        if self._now is None or self._now[0] != stamp:
            self._now = (stamp, _context_of(self._authorities, self._shown))
        return self._now[1]


def _context(
    url: str, authorities: str | Path | None, shown: tuple[Path, Path] | None
) -> ssl.SSLContext:
    context = _Fresh(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.watch(authorities, shown)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise _unusable(url, error) from error
    return context


def _context_of(authorities: str | Path | None, shown: tuple[Path, Path] | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if isinstance(authorities, Path):
        context.load_verify_locations(cadata=authorities.read_text(encoding="utf-8"))
    elif authorities:
        context.load_verify_locations(cadata=authorities)
    else:
        context.load_default_certs()
    if shown is not None:
        read_secret(shown[1])  # refuses a key that others can read
        context.load_cert_chain(*shown)
    return context


def _authorities(founding: Founding, file: Path) -> str | Path:
    """The CA of the founding file, and what it was rolled over to if this organisation knows."""
    return file if file.exists() else founding.ca_certificate


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _unusable(url: str, why: object) -> TwinwardError:
    return LedgerError(
        f"the TLS files for the ledger's node cannot be used ({why})",
        code="TW3504",
        at=url,
        help="take ca.pem, certificate and key of this organisation's own folder",
    )
