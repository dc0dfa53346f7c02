"""The node's own consent desk on a socket, with TLS, over a hospital in this process."""

import asyncio
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hospital_node.desk import DeskService, desk_server
from hospital_node.egress import Egress
from server import ca
from tests.simulators.consent.world import Hospital
from twinward.rpc.tls import TlsFiles


def make_tls(folder: Path, name: str) -> TlsFiles:
    files = TlsFiles(folder / f"{name}-ca.pem", folder / f"{name}.pem", folder / f"{name}.key")
    authority = folder / f"{name}-ca.key"
    now = time.time()
    ca.create(key_file=authority, certificate_file=files.ca, network="demo", now=now)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = csr.public_bytes(serialization.Encoding.PEM).decode()
    files.certificate.write_text(
        ca.issue(
            pem,
            org=name,
            hosts=("localhost", "127.0.0.1"),
            key_file=authority,
            ca_file=files.ca,
            now=now,
        )
    )
    files.key.touch(mode=0o600)
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


class RunningDesk:
    """The node's own desk server in a thread of its own."""

    def __init__(
        self, hospital: Hospital, folder: Path, *, port: int = 0, changed=lambda: None
    ) -> None:
        self.hospital = hospital
        self.changed = changed
        self.tls = make_tls(folder, "cleveland")
        self.egress = Egress(folder / "egress.log", clock=hospital.clock)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.port = self.run(self._start(port))

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    async def _start(self, port):
        service = DeskService(self.hospital.desk, self.egress, changed=self.changed)
        # Taken first, because `desk_server` is given an address and reports no port.
        if port == 0:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
        self.server = desk_server(service, tls=self.tls, address=f"127.0.0.1:{port}")
        await self.server.start()
        return port

    def stop(self):
        self.run(self.server.stop(None))

    def close(self):
        self.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        self.egress.close()

    def letters(self, count):
        found = [self.hospital.letter(number) for number in range(count)]
        address = f"localhost:{self.port}"
        return [replace(a, desk=address, ca=self.tls.ca.read_text()) for a in found]
