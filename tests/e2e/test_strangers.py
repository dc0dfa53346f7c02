"""Who may speak to the coordinator: members by their certificate, and nobody else."""

import time
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from ledger.endpoint import Endpoint
from server import ca
from tests.simulators.network import COORDINATOR, twinward
from twinward.demo.intruder import knock, self_signed
from twinward.errors import LedgerError, LedgerUnreachable
from twinward.organisation import REQUEST_KIND, Organisation
from twinward.rpc.messages_pb2 import Nothing
from twinward.rpc.messages_pb2_grpc import NetworkStub
from twinward.rpc.replies import refusal_of
from twinward.rpc.tls import TlsFiles
from twinward.signing import Document

pytestmark = pytest.mark.slow

LISTENS = "0A"
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
"""127.0.0.1, the same as IPv6 writes it, ::1; as the kernel prints them."""


@pytest.fixture
def stranger(network, tmp_path):
    """A hospital with keys of its own that stands in no founding file."""
    data = next((network.folder / "data").iterdir())
    status, _ = twinward(
        tmp_path, "node", "init", "stranger", "--name", "stranger", "--data", str(data)
    )
    assert status == 0
    return Organisation(tmp_path / "stranger")


def ask_for_tip(network, tls):
    """A call that every member may make; the tip, or the refusal."""
    address = network.founding().endpoints["network"]
    with grpc.secure_channel(address, tls.channel_credentials()) as channel:
        try:
            return NetworkStub(channel).Tip(Nothing(), timeout=10).data
        except grpc.RpcError as error:
            return refusal_of(error, otherwise=ConnectionError(str(error.code())))


def test_the_same_knock_lets_a_member_in_and_keeps_a_stranger_out(network, stranger):
    address = network.founding().endpoints["network"]
    for name in (*network.hospitals, COORDINATOR):
        tls = Organisation(network.folder / name).tls
        assert knock(address, key_file=tls.key, certificate_file=tls.certificate) == "", name
    certificate = stranger.folder / "self-signed.pem"
    self_signed(stranger.tls.key, certificate)
    assert knock(address, key_file=stranger.tls.key, certificate_file=certificate)


def test_the_ledger_lets_members_in_and_who_holds_a_token_and_nobody_else(network, stranger):
    """The same folders that the daemons use; the token is handed out while the ledger runs."""
    founding = network.founding()

    def chain_id(folder):
        with closing(Endpoint.of(founding, folder).rpc()) as rpc:
            return int(rpc.call("eth_chainId"), 16)

    for name in (*network.hospitals, COORDINATOR):
        assert chain_id(network.folder / name) == founding.chain["chain_id"]
    with pytest.raises(LedgerError) as refused:
        chain_id(stranger.folder)
    assert refused.value.code == "TW3505"
    self_signed(stranger.tls.key, stranger.tls.certificate)
    with pytest.raises(LedgerUnreachable):
        chain_id(stranger.folder)
    stranger.tls.certificate.unlink()
    token = stranger.secrets / "ledger.token"
    node = network.folder / COORDINATOR / "state" / "ledger"
    status, said = twinward(network.folder, "ledger", "token", str(node), "--out", str(token))
    assert status == 0, said
    assert chain_id(stranger.folder) == founding.chain["chain_id"]
    secret = token.read_text().strip()
    assert secret not in str(said)
    assert secret not in "".join(network.log(name) for name in (*network.hospitals, COORDINATOR))


def test_nobody_listening_is_not_taken_for_a_refusal_by_a_member(network):
    tls = Organisation(network.folder / network.hospitals[0]).tls
    assert "Refused" in knock("127.0.0.1:1", key_file=tls.key, certificate_file=tls.certificate)


def test_a_certificate_of_the_right_authority_for_nobody_in_the_founding_file_is_refused(
    network, stranger
):
    """The coordinator's own authority was misused: the founding file still decides."""
    request = Document.decode((stranger.folder / "stranger.request.json").read_bytes(),
                              kind=REQUEST_KIND)  # fmt: skip
    home = Organisation(network.folder / COORDINATOR)
    pem = ca.issue(
        request.payload["csr"],
        org=network.hospitals[0],  # even under a hospital's name
        hosts=("127.0.0.1",),
        key_file=home.secrets / "ca.key",
        ca_file=home.tls.ca,
        now=time.time(),
    )
    certificate = stranger.folder / "tls.pem"
    certificate.write_text(pem)
    answer = ask_for_tip(network, TlsFiles(home.tls.ca, certificate, stranger.tls.key))
    assert answer.code == "TW2031"
    member = Organisation(network.folder / network.hospitals[0]).tls
    assert isinstance(ask_for_tip(network, member), bytes)


def test_the_ledgers_and_the_daemons_sockets_are_on_loopback_only(network):
    """What has no login of its own must not be reachable from another machine."""
    pids = [network.pid(name) for name in (COORDINATOR, *network.hospitals)]
    pids += [child for pid in list(pids) for child in network.children_of(pid)]
    inodes = {inode for pid in pids for inode in network.sockets_of(pid)}
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENS and fields[9] in inodes:
                listening.add(fields[1].split(":")[0])
    assert listening <= LOOPBACK, listening
    assert LOOPBACK & listening
