"""Who may use a node: bearer tokens from files, and TLS with our own CA."""

from __future__ import annotations

import hashlib
import hmac
import ssl
from dataclasses import dataclass
from pathlib import Path

from twinward.errors import LedgerError
from twinward.files import read_secret

_SHORTEST = 32


@dataclass(frozen=True, slots=True)
class Access:
    """Digests of the tokens that may read and that may write; None lets everybody.

    Who may write may also read. What TLS with client certificates keeps out never gets this far.
    """

    readers: frozenset[bytes] | None = None
    writers: frozenset[bytes] | None = None

    @classmethod
    def of(cls, *, readers: Path | None, writers: Path | None) -> Access:
        """Read the files: one token a line, at least 32 characters, for their owner's eyes only.

        Raises:
            LedgerError: TW3570, a file cannot be used.
            IdentityError: TW2003's family, others can read it.
        """
        return cls(
            readers=None if readers is None else _tokens(readers),
            writers=None if writers is None else _tokens(writers),
        )

    def allows(self, authorization: str | None, *, writing: bool) -> bool:
        """Whether an ``Authorization`` header permits this."""
        wanted = self.writers if writing else self.readers
        if wanted is None:
            return True
        known = wanted | (self.writers or frozenset())
        scheme, _, token = (authorization or "").partition(" ")
        given = _digest(token.strip())
        # Digests of equal length, every one compared: the time tells nothing about a token.
        found = [hmac.compare_digest(given, one) for one in known]
        return scheme.lower() == "bearer" and any(found)


def tls_context(*, certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """TLS 1.3 for a server; with ``client_ca`` only for clients with a certificate of that CA.

    Raises:
        LedgerError: TW3571, the files cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        read_secret(key)  # refuses a key that others can read
        context.load_cert_chain(certificate, key)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise _unusable(certificate, error) from error
    return context


def client_tls(*, ca: Path, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """TLS 1.3 for a client that trusts this CA alone; it shows its certificate if one is given.

    Raises:
        LedgerError: TW3571, the files cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=str(ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise _unusable(ca, error) from error
    return context


def _unusable(path: Path, why: object) -> LedgerError:
    return LedgerError(
        f"the TLS files of the ledger's node cannot be used ({why})",
        code="TW3571",
        at=str(path),
        help="give certificate and key of this organisation, and the network's ca.pem",
    )


def _tokens(path: Path) -> frozenset[bytes]:
    lines = read_secret(path).decode("utf-8", errors="replace").split()
    if not lines or any(len(line) < _SHORTEST for line in lines):
        raise LedgerError(
            f"a token file needs at least one token of {_SHORTEST} characters or more",
            code="TW3570",
            at=str(path),
            help="write one with: python -c 'import secrets; print(secrets.token_hex(32))'",
        )
    return frozenset(_digest(line) for line in lines)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
