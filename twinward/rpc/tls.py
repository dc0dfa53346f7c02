"""Where an organisation's TLS material lies, and gRPC credentials made of it."""

from __future__ import annotations

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

    def server_credentials(self, *, mutual: bool) -> grpc.ServerCredentials:
        """Credentials of a server; ``mutual`` demands a client certificate of our CA."""
        import grpc  # noqa: PLC0415 - a command that only makes keys needs no gRPC

        return grpc.ssl_server_credentials(
            [(read_secret(self.key), self.certificate.read_bytes())],
            root_certificates=self.ca.read_bytes() if mutual else None,
            require_client_auth=mutual,
        )

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Credentials of a client that shows its own certificate and trusts our CA alone."""
        import grpc  # noqa: PLC0415 - as above

        return grpc.ssl_channel_credentials(
            root_certificates=self.ca.read_bytes(),
            private_key=read_secret(self.key),
            certificate_chain=self.certificate.read_bytes(),
        )
