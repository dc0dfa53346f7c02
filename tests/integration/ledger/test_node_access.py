"""Who may use a node: tokens for reading and writing, TLS with our own CA, client certificates."""

import datetime as dt
import ipaddress
import os
import ssl
import subprocess
import sys

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ledger.embedded.genesis import Genesis
from ledger.rpc import Rpc
from tests.simulators.ledger.network import CHAIN_ID, START
from twinward.errors import LedgerUnreachable

READER, WRITER = "r" * 40, "w" * 40
CALL = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
SENDING = {**CALL, "method": "eth_sendRawTransaction", "params": ["0x02c0"]}


def private(path, text):
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture
def started(tmp_path):
    genesis = tmp_path / "genesis.json"
    genesis.write_bytes(Genesis(chain_id=CHAIN_ID, timestamp=START).to_json())
    running = []

    def start(*options):
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "ledger.embedded", "--dir", str(tmp_path / "node")),
                *("--port", "0", "--genesis", str(genesis), *map(str, options)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        line = process.stdout.readline()
        return line.split()[1] if line else process.stderr.read()

    yield start
    for process in running:
        process.terminate()
        process.wait(10)
        process.stdout.close()
        process.stderr.close()


def ask(url, body, token=None, **options):
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with httpx.Client(trust_env=False, **options) as client:
        response = client.post(url, json=body, headers=headers)
    return response.status_code, response.json()


def test_tokens_separate_strangers_readers_and_writers(started, tmp_path):
    url = started(
        *("--readers", private(tmp_path / "readers", READER + "\n")),
        *("--writers", private(tmp_path / "writers", WRITER)),
    )
    for wrong in (None, "x" * 40, READER[:-1]):
        status, answer = ask(url, CALL, wrong)
        assert (status, answer["error"]["code"]) == (401, -32001)
    assert ask(url, CALL, READER)[1]["result"] == hex(CHAIN_ID)
    assert ask(url, CALL, WRITER)[1]["result"] == hex(CHAIN_ID)
    assert ask(url, SENDING, READER)[1]["error"]["code"] == -32001
    mixed = ask(url, [CALL, SENDING], READER)[1]
    assert [one.get("error", {}).get("code") for one in mixed] == [None, -32001]
    assert ask(url, SENDING, WRITER)[1]["error"]["code"] == -32000  # heard, and no transaction
    rpc = Rpc(url, token=READER)
    assert rpc.call("eth_chainId") == hex(CHAIN_ID)
    rpc.close()


def test_reading_may_stay_open_while_writing_is_not(started, tmp_path):
    url = started("--writers", private(tmp_path / "writers", WRITER))
    assert ask(url, CALL)[1]["result"] == hex(CHAIN_ID)
    assert ask(url, SENDING)[1]["error"]["code"] == -32001
    assert ask(url, SENDING, WRITER)[1]["error"]["code"] == -32000


@pytest.mark.parametrize(
    ("text", "mode", "code"),
    [("short", 0o600, "TW3570"), ("", 0o600, "TW3570"), (READER, 0o644, "TW2005")],
)
def test_a_token_file_that_protects_nothing_is_refused(started, tmp_path, text, mode, code):
    path = tmp_path / "tokens"
    path.write_text(text)
    path.chmod(mode)
    assert code in started("--readers", path)


class Authority:
    """A CA in a folder."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.file = folder / "ca.pem"
        self._write(self.file, self._made("ca", self.key, ca=True), self.key)

    def member(self, name):
        key = ec.generate_private_key(ec.SECP256R1())
        path = self.folder / f"{name}.pem"
        self._write(path, self._made(name, key, ca=False), key)
        return path, path.with_suffix(".key")

    def _made(self, name, key, *, ca):
        now = dt.datetime.now(dt.UTC)
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    @staticmethod
    def _write(path, certificate, key):
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        path.with_suffix(".key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        os.chmod(path.with_suffix(".key"), 0o600)


def context(ca, member=None):
    made = ssl.create_default_context(cafile=str(ca.file))
    if member is not None:
        made.load_cert_chain(*map(str, member))
    return made


def test_tls_with_our_ca_and_with_client_certificates(started, tmp_path):
    ours, foreign = Authority(tmp_path / "ours"), Authority(tmp_path / "foreign")
    certificate, key = ours.member("coordinator")
    url = started("--tls-certificate", certificate, "--tls-key", key, "--tls-client-ca", ours.file)
    assert url.startswith("https://")
    hospital = ours.member("hospital")
    assert ask(url, CALL, verify=context(ours, hospital))[1]["result"] == hex(CHAIN_ID)
    rpc = Rpc(url, tls=context(ours, hospital))
    assert rpc.call("eth_chainId") == hex(CHAIN_ID)
    rpc.close()
    for wrong in (
        context(ours),  # no certificate
        context(ours, foreign.member("stranger")),  # of another CA
        context(foreign, hospital),  # the node is not of the CA that this client trusts
    ):
        stranger = Rpc(url, tls=wrong)
        with pytest.raises(LedgerUnreachable):
            stranger.call("eth_chainId")
        stranger.close()
    plain = Rpc(url.replace("https", "http"))
    with pytest.raises(LedgerUnreachable):
        plain.call("eth_chainId")
    plain.close()


def test_a_key_that_others_can_read_is_refused(started, tmp_path):
    certificate, key = Authority(tmp_path / "ours").member("coordinator")
    key.chmod(0o644)
    assert "TW2005" in started("--tls-certificate", certificate, "--tls-key", key)
