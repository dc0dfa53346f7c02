"""Who may use a node: tokens for reading and writing, TLS with our own CA, client certificates."""

import ssl
import subprocess
import sys
from contextlib import closing

import httpx
import pytest
from cryptography import x509

from ledger.embedded.access import READERS, REVOKED, add_reader
from ledger.embedded.genesis import Genesis
from ledger.endpoint import Endpoint
from ledger.rpc import Rpc
from tests.simulators.ledger.authority import Authority
from tests.simulators.ledger.network import CHAIN_ID, START
from twinward.errors import IdentityError, LedgerError, LedgerUnreachable, UsageError
from twinward.files import write_atomic
from twinward.founding import tls_key_digest

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


def reached(url, ca, *, member=None, token=None):
    """What the node answers to whoever shows this: the chain id, or the code of the refusal."""
    certificate, key = member or (None, None)
    endpoint = Endpoint.by_files(url, ca=ca.file, certificate=certificate, key=key, token=token)
    rpc = endpoint.rpc()
    try:
        return rpc.call("eth_chainId")
    except LedgerError as error:
        return error.code
    finally:
        rpc.close()


def key_of(certificate):
    return tls_key_digest(x509.load_pem_x509_certificate(certificate.read_bytes()).public_key())


def test_members_need_no_token_and_everybody_else_does_while_the_node_runs(started, tmp_path):
    ours, foreign = Authority(tmp_path / "ours"), Authority(tmp_path / "foreign")
    certificate, key = ours.member("coordinator")
    readers, revoked = private(tmp_path / "readers", "x" * 40), tmp_path / REVOKED
    url = started(
        *("--tls-certificate", certificate, "--tls-key", key, "--members-ca", ours.file),
        *("--readers", readers, "--revoked", revoked),
    )
    hospital = ours.member("hospital")
    sent = ask(url, SENDING, verify=context(ours, hospital))[1]["error"]["code"]
    assert sent == -32000  # heard, and no transaction
    assert reached(url, ours) == "TW3505"
    assert reached(url, ours, member=foreign.member("stranger")) == "TW5001"
    assert reached(url, foreign, member=hospital) == "TW5001"  # the node is not who it should be

    token = private(tmp_path / "token", READER)
    assert reached(url, ours, token=token) == "TW3505"
    write_atomic(readers, READER.encode(), mode=0o600)  # handed out while it runs
    assert reached(url, ours, token=token) == hex(CHAIN_ID)
    assert ask(url, SENDING, READER, verify=context(ours))[1]["error"]["code"] == -32001
    write_atomic(readers, b"short", mode=0o600)  # a file that protects nothing lets nobody in
    assert reached(url, ours, token=token) == "TW3505"

    assert reached(url, ours, member=hospital) == hex(CHAIN_ID)
    write_atomic(revoked, key_of(hospital[0]).encode(), mode=0o600)
    assert reached(url, ours, member=hospital) == "TW3505"
    other = ours.member("other")
    assert reached(url, ours, member=other) == hex(CHAIN_ID)
    write_atomic(revoked, b"not hex", mode=0o600)  # whom it names is unknown: it may be anybody
    assert reached(url, ours, member=other) == "TW3505"


def test_a_revoked_member_is_refused_on_a_connection_that_stands(started, tmp_path):
    ours = Authority(tmp_path / "ours")
    certificate, key = ours.member("coordinator")
    revoked = tmp_path / REVOKED
    url = started(
        *("--tls-certificate", certificate, "--tls-key", key),
        *("--members-ca", ours.file, "--revoked", revoked),
    )
    member = ours.member("hospital")
    rpc = Endpoint.by_files(url, ca=ours.file, certificate=member[0], key=member[1]).rpc()
    assert rpc.call("eth_chainId") == hex(CHAIN_ID)
    write_atomic(revoked, key_of(member[0]).encode(), mode=0o600)
    with pytest.raises(LedgerError) as refused:
        rpc.call("eth_chainId")
    assert refused.value.code == "TW3505"
    rpc.close()


def test_renewed_certificates_are_shown_and_trusted_without_a_restart(started, tmp_path):
    ours = Authority(tmp_path / "ours")
    certificate, key = ours.member("coordinator")
    url = started("--tls-certificate", certificate, "--tls-key", key, "--members-ca", ours.file)
    mine = ours.member("hospital")
    endpoint = Endpoint.by_files(url, ca=ours.file, certificate=mine[0], key=mine[1])

    def keys_seen():
        with closing(endpoint.rpc()) as rpc:
            assert rpc.call("eth_chainId") == hex(CHAIN_ID)
        host, port = url.removeprefix("https://").split(":")
        shown = ssl.get_server_certificate((host, int(port)))
        return tls_key_digest(x509.load_pem_x509_certificate(shown.encode()).public_key())

    before = keys_seen()
    for path in (mine, (certificate, key)):
        new = ours.member("new")
        new[1].replace(path[1])
        new[0].replace(path[0])
    assert keys_seen() == key_of(certificate) != before


def test_an_authority_that_was_retired_is_trusted_no_more_from_the_next_connection_on(
    started, tmp_path
):
    ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    certificate, key = ours.member("coordinator")
    url = started("--tls-certificate", certificate, "--tls-key", key)
    mine = ours.member("hospital")
    trusted = tmp_path / "trusted.pem"
    write_atomic(trusted, ours.file.read_bytes())
    endpoint = Endpoint.by_files(url, ca=trusted, certificate=mine[0], key=mine[1])
    with closing(endpoint.rpc()) as rpc:
        assert rpc.call("eth_chainId") == hex(CHAIN_ID)
        write_atomic(trusted, other.file.read_bytes())
        assert rpc.call("eth_chainId") == hex(CHAIN_ID), "a connection that stands is left alone"
    with closing(endpoint.rpc()) as rpc, pytest.raises(LedgerUnreachable, match="verify failed"):
        rpc.call("eth_chainId")


def test_nothing_is_sent_to_another_machine_without_tls_nor_a_token_that_others_can_read(tmp_path):
    token = private(tmp_path / "token", READER)
    for url in ("http://ledger.example:8545", "http://10.0.0.7:8545", "http://:1"):
        with pytest.raises(LedgerError) as refused:
            Endpoint.by_files(url, token=token)
        assert refused.value.code == "TW3503"
    assert READER not in repr(Endpoint.by_files("http://127.0.0.1:8545", token=token))
    token.chmod(0o640)
    with pytest.raises(IdentityError) as exposed:
        Endpoint.by_files("https://ledger.example", token=token)
    assert exposed.value.code == "TW2005"
    with pytest.raises(LedgerError) as unusable:
        Endpoint.by_files("https://ledger.example", ca=private(tmp_path / "ca", "no certificate"))
    assert unusable.value.code == "TW3504"


def test_a_token_for_an_auditor_is_made_for_one_file_and_never_over_another(tmp_path):
    out = tmp_path / "auditor.token"
    with pytest.raises(UsageError) as open_to_all:
        add_reader(tmp_path, out=out)
    assert open_to_all.value.code == "TW3508"
    readers = private(tmp_path / READERS, READER)
    add_reader(tmp_path, out=out)
    token = out.read_text().strip()
    assert readers.read_text().split() == [READER, token]
    assert out.stat().st_mode & 0o777 == readers.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError) as taken:
        add_reader(tmp_path, out=out)
    assert taken.value.code == "TW1013"
    assert readers.read_text().split() == [READER, token]
