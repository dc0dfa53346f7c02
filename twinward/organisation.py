"""An organisation's keys on its own disk: made on site, never sent anywhere.

secrets/identity.key   Ed25519, signs for all others
secrets/tls.key        P-256 (gRPC refuses Ed25519 leaf certificates)
secrets/flower.key     P-384, OpenSSH form, as Flower's SuperNode wants it
secrets/ledger.key     secp256k1, 32 bytes in hex
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from twinward.files import read_secret, write_atomic, write_secret
from twinward.founding import keys_document, tls_key_digest
from twinward.ids import OrgName
from twinward.rpc.tls import TlsFiles
from twinward.signing import Document, Identity

REQUEST_KIND = "twinward/join-request/v1"


@dataclass(frozen=True, slots=True)
class Organisation:
    """The folder of one organisation, with the paths of everything it keeps."""

    folder: Path

    @property
    def secrets(self) -> Path:
        """Mode 0700; nothing in it ever leaves."""
        return self.folder / "secrets"

    @property
    def founding_file(self) -> Path:
        """The founding file with all signatures, once it is complete."""
        return self.folder / "founding.json"

    @property
    def flower_key(self) -> Path:
        """Private key of the SuperNode, OpenSSH form."""
        return self.secrets / "flower.key"

    @property
    def tls(self) -> TlsFiles:
        """CA, certificate and key of this organisation."""
        return TlsFiles(
            ca=self.folder / "ca.pem",
            certificate=self.folder / "tls.pem",
            key=self.secrets / "tls.key",
        )

    def identity(self) -> Identity:
        """Load the Ed25519 identity."""
        return Identity.load(self.secrets / "identity.key")

    def ledger_key(self) -> bytes:
        """Load the 32-byte secp256k1 key of the ledger account."""
        return bytes.fromhex(read_secret(self.secrets / "ledger.key").decode().strip())

    def create(self, *, org: OrgName, role: str, ledger_key: bytes, ledger_account: str) -> None:
        """Make all keys and the join request; dying in between leaves a folder to delete.

        Raises:
            UsageError: TW1013, there are keys here already.
        """
        self.secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
        identity = Identity.generate()
        identity.save(self.secrets / "identity.key")
        write_secret(self.secrets / "ledger.key", ledger_key.hex().encode())
        tls_key = ec.generate_private_key(ec.SECP256R1())
        write_secret(self.secrets / "tls.key", _private_pem(tls_key))
        flower_key = ec.generate_private_key(ec.SECP384R1())
        write_secret(
            self.flower_key,
            flower_key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            ),
        )
        flower_public = flower_key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        csr = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, org)]))
            .sign(tls_key, hashes.SHA256())
        )
        keys = keys_document(
            org=org,
            role=role,
            identity=identity.public,
            tls_spki_sha256=tls_key_digest(csr.public_key()),
            flower_public_key=flower_public.decode(),
            ledger_account=ledger_account,
        ).signed_by(identity)
        request = join_request(keys, csr.public_bytes(serialization.Encoding.PEM).decode())
        write_atomic(self.request_file(org), request.signed_by(identity).encode())

    def request_file(self, org: OrgName) -> Path:
        """What the organisation hands to the coordinator: public keys and a CSR."""
        return self.folder / f"{org}.request.json"


def join_request(keys: Document, csr_pem: str) -> Document:
    """A request to be named in the founding file."""
    nested = {
        "kind": keys.kind,
        "payload": dict(keys.payload),
        "signatures": [{"by": by, "signature": s.hex()} for by, s in keys.signatures],
    }
    return Document(REQUEST_KIND, {"keys": nested, "csr": csr_pem})


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
