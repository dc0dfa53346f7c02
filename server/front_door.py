"""The front door's files: its key, a certificate of the network's CA, and nginx's configuration.

One hostname, one port. Everything of the coordinator listens on its loopback; nginx stands before
it, asks members for their certificates, and passes on exact paths only. The door has a key of its
own, with which it answers outside and shows itself inside; the network's keys it does not hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from server import ca, ca_rollover
from server.front_door_conf import Ports, nginx_conf
from server.settings import FILE, ServerSettings
from twinward.errors import UsageError
from twinward.files import write_atomic, write_secret
from twinward.founding import tls_key_digest
from twinward.organisation import Organisation
from twinward.settings import load

FOLDER = "front_door"
_NAME = "front-door"


@dataclass(frozen=True, slots=True)
class DoorFiles:
    """What lies in ``COORDINATOR/front_door``; nginx reads it at its start and at each reload."""

    folder: Path

    @property
    def key(self) -> Path:
        """The door's own; made once."""
        return self.folder / "door.key"

    @property
    def certificate(self) -> Path:
        """Of that key, for the door's hostname; then the authority, for who knows its hash."""
        return self.folder / "door.pem"

    @property
    def authorities(self) -> Path:
        """Whose certificates count, of members and of the services behind."""
        return self.folder / "authorities.pem"

    @property
    def conf(self) -> Path:
        """Complete: `nginx -c` takes it as it is."""
        return self.folder / "nginx.conf"


def write(folder: Path, *, now: float) -> DoorFiles:
    """Write everything anew but the key; certificate and configuration are for a reload then.

    Raises:
        UsageError: TW6060, `coordinator.toml` names no front door.
    """
    settings = load(ServerSettings, folder / FILE)
    if not settings.front_door or not settings.keeper_port or not settings.join_port:
        raise UsageError(
            "this coordinator has no front door",
            code="TW6060",
            at=str(folder / FILE),
            help="found the network with `twinward server init --front-door HOST:PORT`: hospitals"
            " sign that address",
        )
    organisation, files = Organisation(folder), DoorFiles(folder.resolve() / FOLDER)
    files.folder.mkdir(mode=0o700, exist_ok=True)
    host, _, port = settings.front_door.rpartition(":")
    if not files.key.exists():
        write_secret(files.key, ca.private_pem(ec.generate_private_key(ec.SECP256R1())))
    key = ca.load_key(files.key)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    certificate = ca_rollover.issue(
        organisation,
        request.public_bytes(serialization.Encoding.PEM).decode(),
        org=_NAME,
        hosts=(host,),
        now=now,
    )
    authorities = organisation.tls.ca.read_bytes()
    write_atomic(files.certificate, certificate.encode() + authorities)
    write_atomic(files.authorities, authorities)
    ports = Ports(
        network=settings.network_port,
        flower=settings.flower_port,
        ledger=settings.ledger_port,
        join=settings.join_port,
        keeper=settings.keeper_port,
    )
    write_atomic(
        files.conf,
        nginx_conf(
            files.folder, host=host, port=int(port), behind=settings.host, ports=ports
        ).encode(),
    )
    return files


def key_digest(folder: Path) -> str | None:
    """SHA-256 of the front door's public key, hex, by which its connections are known."""
    path = DoorFiles(folder / FOLDER).certificate
    if not path.exists():
        return None
    return tls_key_digest(x509.load_pem_x509_certificate(path.read_bytes()).public_key())
