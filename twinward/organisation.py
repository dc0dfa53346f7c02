"""An organisation's keys on its own disk: made on site, never sent anywhere.

secrets/identity.key   Ed25519, signs for all others
secrets/tls.key        P-256 (gRPC refuses Ed25519 leaf certificates)
secrets/flower.key     P-384, OpenSSH form, as Flower's SuperNode wants it
secrets/ledger.key     secp256k1, 32 bytes in hex
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from twinward.errors import UsageError
from twinward.files import read_secret, sync_folder, write_atomic, write_secret
from twinward.founding import keys_document, tls_key_digest
from twinward.ids import OrgName
from twinward.rpc.tls import TlsFiles
from twinward.signing import Document, Identity

REQUEST_KIND = "twinward/join-request/v1"
LEAVING_KIND = "twinward/leaving/v1"
"""A hospital's signed word that it leaves; the coordinator's signature on it is the receipt."""


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
        """Make all keys and the join request.

        The keys are made aside and get their place by one rename: dying in between leaves no keys,
        or all of them without a request, which ``write_request`` makes.

        Raises:
            UsageError: TW1013, there are keys here already.
        """
        if self.secrets.exists() and any(self.secrets.iterdir()):
            raise UsageError(
                "there is already a secret here",
                code="TW1013",
                at=str(self.secrets),
                help="choose another folder; Twinward never overwrites a key",
            )
        aside = Organisation(self.folder / ".keys-in-the-making")
        shutil.rmtree(aside.folder, ignore_errors=True)
        aside.secrets.mkdir(mode=0o700, parents=True)
        Identity.generate().save(aside.secrets / "identity.key")
        write_secret(aside.secrets / "ledger.key", ledger_key.hex().encode())
        write_secret(aside.tls.key, _private_pem(ec.generate_private_key(ec.SECP256R1())))
        flower_key = ec.generate_private_key(ec.SECP384R1())
        write_secret(
            aside.flower_key,
            flower_key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            ),
        )
        aside.secrets.replace(self.secrets)
        sync_folder(self.folder)
        aside.folder.rmdir()
        self.write_request(org=org, role=role, ledger_account=ledger_account)

    def write_request(self, *, org: OrgName, role: str, ledger_account: str) -> bytes:
        """Sign a join request with the keys that are here; what was written."""
        identity = self.identity()
        flower = serialization.load_ssh_private_key(read_secret(self.flower_key), password=None)
        flower_public = flower.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        csr = self.certificate_request(org)
        keys = keys_document(
            org=org,
            role=role,
            identity=identity.public,
            tls_spki_sha256=tls_key_digest(csr.public_key()),
            flower_public_key=flower_public.decode(),
            ledger_account=ledger_account,
        ).signed_by(identity)
        data = join_request(keys, csr.public_bytes(serialization.Encoding.PEM).decode())
        request = data.signed_by(identity).encode()
        write_atomic(self.request_file(org), request)
        return request

    def certificate_request(self, org: OrgName) -> x509.CertificateSigningRequest:
        """Asks for a certificate of the TLS key, in this name and no other."""
        key = serialization.load_pem_private_key(read_secret(self.tls.key), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - we wrote it
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, org)])
        builder = x509.CertificateSigningRequestBuilder().subject_name(name)
        return builder.sign(key, hashes.SHA256())

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
