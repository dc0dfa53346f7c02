"""Channels between organisations: TLS 1.2 or later, with certificates of the network's CA only.

The certificate says which key is talking; the founding file says whose key that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc

from twinward.errors import IdentityError
from twinward.files import read_secret
from twinward.founding import Founding, Member, tls_key_digest


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of one organisation's TLS material."""

    ca: Path
    certificate: Path
    key: Path

    def server_credentials(self, *, mutual: bool) -> grpc.ServerCredentials:
        """Credentials of a server; ``mutual`` demands a client certificate of our CA."""
        return grpc.ssl_server_credentials(
            [(read_secret(self.key), self.certificate.read_bytes())],
            root_certificates=self.ca.read_bytes() if mutual else None,
            require_client_auth=mutual,
        )

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Credentials of a client that shows its own certificate and trusts our CA alone."""
        return grpc.ssl_channel_credentials(
            root_certificates=self.ca.read_bytes(),
            private_key=read_secret(self.key),
            certificate_chain=self.certificate.read_bytes(),
        )


def peer_certificate(auth_context: Mapping[str, list[bytes]]) -> str:
    """PEM of the client certificate of a call.

    Raises:
        IdentityError: TW2030, none was shown.
    """
    certificates = auth_context.get("x509_pem_cert") or []
    if not certificates:
        raise IdentityError(
            "the caller showed no certificate",
            code="TW2030",
            help="connect with the certificate from the founding file",
        )
    return certificates[0].decode()


def peer_member(auth_context: Mapping[str, list[bytes]], founding: Founding) -> Member:
    """Which founding member is calling, by the TLS key that its identity signed for.

    Raises:
        IdentityError: TW2030 no certificate, TW2031 a certificate of nobody in the founding file.
    """
    digest = tls_key_digest(peer_certificate(auth_context))
    for member in founding.members:
        if member.tls_spki_sha256 == digest:
            return member
    raise IdentityError(
        "the caller's certificate belongs to no member of this network",
        code="TW2031",
        help="a member has to be named in the founding file that all members signed",
    )
