"""Who may use a node: members by certificate, others by token, nobody whose key was revoked.

Every file is looked at again when it changes: a token that is handed out, a key that is revoked and
a certificate that is renewed need no restart. A file that cannot be read then lets nobody in.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from cryptography import x509

from twinward.errors import LedgerError, TwinwardError, UsageError
from twinward.files import read_secret, write_atomic, write_secret
from twinward.founding import tls_key_digest

READERS = "readers"
"""In a node's folder: tokens that may read, one a line."""

REVOKED = "revoked"
"""In a node's folder: digests of keys whose certificates count no more, one a line."""

_SHORTEST = 32
_T = TypeVar("_T")


class _Kept(Generic[_T]):
    """What was made of some files, made again when one of them changed. Thread-safe."""

    def __init__(
        self, files: list[Path], make: Callable[[], _T], *, otherwise: Callable[[_T], _T]
    ) -> None:
        """Make it; ``otherwise`` says what holds, given what held, when that fails later."""
        self._files = files
        self._make = make
        self._otherwise = otherwise
        self._lock = threading.Lock()
        self._stamps = self._look()
        self._value = make()

    def __call__(self) -> _T:
        with self._lock:
            stamps = self._look()
            if stamps != self._stamps:
                try:
                    self._value = self._make()
                except TwinwardError:
                    self._value = self._otherwise(self._value)
                self._stamps = stamps
            return self._value

    def _look(self) -> list[tuple[int, int] | None]:
        return [_stamp(path) for path in self._files]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


_Digests = Callable[[], frozenset[bytes] | None]


def _anyone() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Access:
    """Who may read and who may send; without any of its parts everybody may both.

    Attributes:
        readers: Digests of tokens that may read.
        writers: Digests of tokens that may send, and read.
        members: Whether a certificate that TLS has checked takes the place of a token; then
            nobody gets in without one or the other.
        revoked: Digests of public keys whose certificates count no more; None for all of them.
    """

    readers: _Digests = field(default=_anyone)
    writers: _Digests = field(default=_anyone)
    members: bool = False
    revoked: _Digests = field(default=frozenset)

    @classmethod
    def of(
        cls,
        *,
        readers: Path | None,
        writers: Path | None,
        members: bool = False,
        revoked: Path | None = None,
    ) -> Access:
        """Read the files: one entry a line, for their owner's eyes only.

        Raises:
            LedgerError: TW3570, a token file cannot be used.
            IdentityError: TW2005, others can read it.
        """
        return cls(
            readers=_anyone if readers is None else _tokens(readers),
            writers=_anyone if writers is None else _tokens(writers),
            members=members,
            revoked=frozenset if revoked is None else _keys(revoked),
        )

    def allows(
        self, authorization: str | None, *, writing: bool, certificate: bytes | None = None
    ) -> bool:
        """Whether a request may do this.

        Args:
            authorization: Its ``Authorization`` header.
            writing: Whether it sends a transaction.
            certificate: What the client showed and TLS checked, DER.
        """
        if self.members and certificate is not None and self._is_valid(certificate):
            return True
        wanted = self.writers() if writing else self.readers()
        if wanted is None:
            if not self.members:
                return True
            wanted = frozenset()
        known = wanted | (self.writers() or frozenset())
        scheme, _, token = (authorization or "").partition(" ")
        given = _digest(token.strip())
        # Digests of equal length, every one compared: the time tells nothing about a token.
        found = [hmac.compare_digest(given, one) for one in known]
        return scheme.lower() == "bearer" and any(found)

    def _is_valid(self, certificate: bytes) -> bool:
        revoked = self.revoked()
        key = x509.load_der_x509_certificate(certificate).public_key()
        return revoked is not None and bytes.fromhex(tls_key_digest(key)) not in revoked


def add_reader(folder: Path, *, out: Path) -> None:
    """Make a token that may read from the node of this folder, from its next request on.

    Dying in between leaves a file with a token that nobody lets in.

    Args:
        folder: The node's.
        out: Where the token goes; must be new.

    Raises:
        UsageError: TW3508 the node of this folder lets anybody in, TW1013 the file is there.
    """
    path = folder / READERS
    if not path.exists():
        raise UsageError(
            "the ledger node of this folder asks nobody for a token",
            code="TW3508",
            at=str(path),
            help="give the folder of a coordinator's node, COORDINATOR/state/ledger, once it ran",
        )
    token = f"{secrets.token_hex(32)}\n".encode()
    write_secret(out, token)
    write_atomic(path, read_secret(path).rstrip() + b"\n" + token, mode=0o600)


def tls_contexts(
    *, certificate: Path, key: Path, client_ca: Path | None, optional: bool = False
) -> Callable[[], ssl.SSLContext]:
    """TLS 1.3 for a server, for each connection by what is in the files then.

    Args:
        certificate: What it shows.
        key: Of that.
        client_ca: Clients have to show a certificate of this CA.
        optional: Or may show none.

    Raises:
        LedgerError: TW3571, the files cannot be used.
        IdentityError: TW2005, others can read the key.
    """

    def context() -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            read_secret(key)  # refuses a key that others can read
            made.load_cert_chain(certificate, key)
            if client_ca is not None:
                made.load_verify_locations(client_ca)
                made.verify_mode = ssl.CERT_OPTIONAL if optional else ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            raise LedgerError(
                f"the TLS files of the ledger's node cannot be used ({error})",
                code="TW3571",
                at=str(certificate),
                help="give certificate and key of this organisation, and the network's ca.pem",
            ) from error
        return made

    files = [certificate, key, *([] if client_ca is None else [client_ca])]
    return _Kept(files, context, otherwise=lambda last: last)


def _tokens(path: Path) -> _Digests:
    def read() -> frozenset[bytes] | None:
        lines = read_secret(path).decode("utf-8", errors="replace").split()
        if not lines or any(len(line) < _SHORTEST for line in lines):
            raise LedgerError(
                f"a token file needs at least one token of {_SHORTEST} characters or more",
                code="TW3570",
                at=str(path),
                help="write one with: python -c 'import secrets; print(secrets.token_hex(32))'",
            )
        return frozenset(_digest(line) for line in lines)

    return _Kept([path], read, otherwise=lambda _: frozenset())


def _keys(path: Path) -> _Digests:
    def read() -> frozenset[bytes] | None:
        if not path.exists():
            return frozenset()
        try:
            return frozenset(map(bytes.fromhex, read_secret(path).decode().split()))
        except ValueError:
            return None

    return _Kept([path], read, otherwise=lambda _: None)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
