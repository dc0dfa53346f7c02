"""Where an organisation's TLS material lies, and gRPC credentials made of it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from twinward.files import read_secret

if TYPE_CHECKING:
    import grpc


PROMPT: Final = (
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)
"""Channel options: a peer that is gone is looked for every second; by itself gRPC's pause grows to
two minutes, so that a coordinator that is back would not be noticed for as long."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of one organisation's TLS material."""

    ca: Path
    certificate: Path
    key: Path

    def server_credentials(
        self, *, mutual: bool, show_authority: bool = False
    ) -> grpc.ServerCredentials:
        """Credentials of a server; ``mutual`` demands a client certificate of our CA.

        Every new connection gets what is in the files then: a renewed certificate needs no restart.
        ``show_authority`` sends the CA's certificate along, for who knows only its fingerprint.
        """
        import grpc  # noqa: PLC0415 - a command that only makes keys needs no gRPC

        def configuration() -> grpc.ServerCertificateConfiguration:
            certificate, authority = self.certificate.read_bytes(), self.ca.read_bytes()
            chain = certificate + authority if show_authority else certificate
            return grpc.ssl_server_certificate_configuration(
                [(read_secret(self.key), chain)], root_certificates=authority if mutual else None
            )

        known = self.stamp()
        first = configuration()

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal known
            stamp = self.stamp()
            if stamp == known:
                return None
            known = stamp
            return configuration()

        return grpc.dynamic_ssl_server_credentials(first, fetch, mutual)

    def server_context(self, *, mutual: bool) -> ssl.SSLContext:
        """A server's context for what is not gRPC; each connection by what is in the files then."""

        def made() -> ssl.SSLContext:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            read_secret(self.key)  # refuses a key that others can read
            context.load_cert_chain(self.certificate, self.key)
            if mutual:
                context.load_verify_locations(self.ca)
                context.verify_mode = ssl.CERT_REQUIRED
            return context

        def renew(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = made()

        first = made()
        first.sni_callback = renew
        return first

    def client_context(self) -> ssl.SSLContext:
        """A client's context that trusts our CA alone and shows the certificate on disk now."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(self.ca)
        read_secret(self.key)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Another value as soon as certificate or authorities were replaced."""
        found = (path.stat() for path in (self.ca, self.certificate))
        return tuple((each.st_mtime_ns, each.st_ino) for each in found)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Credentials of a client that shows its own certificate and trusts our CA alone."""
        import grpc  # noqa: PLC0415 - as above

        return grpc.ssl_channel_credentials(
            root_certificates=self.ca.read_bytes(),
            private_key=read_secret(self.key),
            certificate_chain=self.certificate.read_bytes(),
        )
