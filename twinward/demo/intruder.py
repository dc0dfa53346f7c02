"""A stranger at the door: keys of its own making, and nobody's signature on a founding file."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.x509.oid import NameOID


def knock(address: str, *, key_file: Path, certificate_file: Path) -> str:
    """Try the coordinator's port with this certificate; how it was refused.

    Returns an empty string if it was let in, as members are and a stranger must never be.
    """
    host, _, port = address.partition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # whoever knocks does not care whom it talks to
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(certificate_file, key_file)
    try:
        with (
            socket.create_connection((host, int(port)), timeout=5) as plain,
            context.wrap_socket(plain) as tls,
        ):
            # TLS 1.3 tells a client that it is refused when it reads for the first time.
            tls.settimeout(5)
            tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
            while data := tls.recv(4096):
                if b"\x04" in data[:16]:
                    return ""
    except (ssl.SSLError, ConnectionError) as refused:
        return getattr(refused, "reason", None) or type(refused).__name__
    return "closed"


def stock_supernode(
    superlink: str, *, ca: Path, key: Path, folder: Path
) -> subprocess.Popen[bytes]:
    """Start Flower's own SuperNode with a key that nobody registered."""
    program = Path(sys.executable).with_name("flower-supernode")
    words = [str(program), "--superlink", superlink, "--root-certificates", str(ca)]
    words += ["--auth-supernode-private-key", str(key), "--port", "0"]
    silent = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
    return subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | silent | {"FLWR_HOME": str(folder / "flwr")},
        cwd=folder,
    )


def self_signed(key_file: Path, certificate_file: Path) -> None:
    """Write a certificate of the stranger's own making, in the name of a hospital."""
    key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    assert isinstance(key, EllipticCurvePrivateKey)  # noqa: S101 - `node init` made it
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cleveland")])
    now = datetime.now(tz=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
