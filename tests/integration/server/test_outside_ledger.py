"""A network whose ledger others keep: named, pinned and let in by what the founding file says."""

import subprocess
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from click.testing import CliRunner

from hospital_node.node import connect_ledger, require_on_ledger
from hospital_node.witness import WitnessThread
from ledger.account import new_key
from ledger.embedded.genesis import Genesis
from ledger.endpoint import Endpoint
from server import founding_ceremony
from server.cli import found as found_command
from server.daemon import found_ledger
from server.founding_ceremony import OutsideLedger
from server.ledger_door import own_ledger
from tests.simulators.founding import NOW, Paper
from tests.simulators.ledger.authority import Authority
from tests.simulators.ledger.network import CHAIN_ID, START
from twinward.errors import LedgerError, LedgerUnreachable, UsageError
from twinward.files import write_secret
from twinward.founding import Founding

READER, WRITER = "r" * 40, "w" * 40


class Elsewhere:
    """A ledger node of other people: an authority of its own, and tokens."""

    def __init__(self, folder):
        folder.mkdir()
        self.authority = Authority(folder / "ca")
        certificate, key = self.authority.member("ledger")
        self.genesis = Genesis(chain_id=CHAIN_ID, timestamp=START)
        (folder / "genesis.json").write_bytes(self.genesis.to_json())
        for name, token in (("readers", READER), ("writers", WRITER)):
            write_secret(folder / name, token.encode())
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "ledger.embedded", "--dir", str(folder / "node")),
                *("--port", "0", "--genesis", str(folder / "genesis.json")),
                *("--tls-certificate", str(certificate), "--tls-key", str(key)),
                *("--readers", str(folder / "readers"), "--writers", str(folder / "writers")),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = self._process.stdout.readline().split()[1]

    def close(self):
        self._process.terminate()
        self._process.wait(10)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    with closing(Elsewhere(tmp_path_factory.mktemp("outside") / "ledger")) as running:
        yield running


@pytest.fixture
def paper(tmp_path):
    return Paper(tmp_path)


def give_token(organisation, token):
    write_secret(organisation.secrets / "ledger.token", token.encode())


def founded(paper, elsewhere, **changes):
    """The complete founding file, in every member's folder."""
    given = {"ca": elsewhere.authority.file, "chain_id": CHAIN_ID, **changes}
    outside = OutsideLedger.ask(elsewhere.url, folder=paper.home.folder, **given)
    path = founding_ceremony.begin(paper.home.folder, paper.requests(), now=NOW, outside=outside)
    copies = [paper.signed(path, name) for name in paper.hospitals]
    data = founding_ceremony.complete(paper.home.folder, copies).read_bytes()
    for member in paper.members.values():
        member.founding_file.write_bytes(data)
    return Founding.decode(data)


def test_contracts_are_put_there_and_members_with_a_token_are_let_in(paper, elsewhere):
    give_token(paper.home, WRITER)
    founding = founded(paper, elsewhere)
    assert founding.is_ledger_outside
    assert founding.endpoints["ledger"] == elsewhere.url
    assert founding.chain["genesis_hash"] == elsewhere.genesis.hash().hex()
    assert own_ledger(founding, paper.home, port=1) is None  # nothing of our own is started
    with closing(found_ledger(founding, paper.home)) as chain:
        chain.check_contracts(founding_digest=founding.digest)

    harbour, meadow, station = paper.members.values()
    give_token(harbour, WRITER)
    give_token(meadow, "x" * 40)
    chain = connect_ledger(founding, harbour.ledger_key(), folder=harbour.folder)
    with closing(chain):
        require_on_ledger(chain, founding, paper.hospitals)
        chain.state_cap(1_000_000)
    for denied in (meadow, station):  # a token that nobody knows, and none
        with pytest.raises(LedgerError) as refused:
            connect_ledger(founding, new_key(), folder=denied.folder)
        assert refused.value.code == "TW3505"
        assert "x" * 40 not in str(refused.value.diagnostic.as_json())


def test_another_node_at_that_address_is_not_believed(paper, elsewhere, tmp_path):
    give_token(paper.home, WRITER)
    founding = founded(paper, elsewhere)
    impostor = Authority(tmp_path / "impostor").file.read_text()
    pinned = {**founding.chain, "ledger_ca": impostor}
    changed = Founding(
        founding.document,
        founding.network,
        pinned,
        founding.endpoints,
        founding.ca_certificate,
        founding.members,
    )
    with pytest.raises(LedgerUnreachable):
        found_ledger(changed, paper.home)


def test_a_token_follows_no_redirect(paper, elsewhere):
    """A ledger that answers `go there` gets nothing sent there."""
    heard = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(307)
            self.send_header("Location", "/there")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    give_token(paper.home, WRITER)
    founding = founded(paper, elsewhere)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        endpoint = Endpoint.of(founding, paper.home.folder, url=url)
        with pytest.raises(LedgerUnreachable):
            endpoint.chain(founding)
        with closing(endpoint.rpc()) as rpc, pytest.raises(LedgerUnreachable):
            rpc.call("eth_chainId")
        server.shutdown()
    assert heard == ["/", "/"]


def test_the_ledger_is_looked_at_before_anybody_signs(paper, elsewhere):
    with pytest.raises(LedgerError) as refused:  # no token yet
        founded(paper, elsewhere)
    assert refused.value.code == "TW3505"
    give_token(paper.home, READER)
    with pytest.raises(LedgerError) as refused:
        founded(paper, elsewhere, chain_id=1)
    assert refused.value.code == "TW3507"
    with pytest.raises(LedgerUnreachable):
        founded(paper, elsewhere, ca=paper.home.tls.ca)
    assert not (paper.home.folder / "founding.draft.json").exists()


def test_the_command_wants_address_and_chain_id_together(paper, elsewhere):
    give_token(paper.home, READER)
    words = [str(paper.home.folder), *(at for _, at in paper.requests())]
    alone = CliRunner().invoke(found_command, [*words, "--ledger", elsewhere.url])
    assert alone.exit_code == 2
    whole = ("--ledger", elsewhere.url, "--chain-id", str(CHAIN_ID))
    pinned = ("--ledger-ca", str(elsewhere.authority.file))
    done = CliRunner().invoke(found_command, [*words, *whole, *pinned, "--json"])
    assert done.exit_code == 0, done.output


def test_nobody_can_ask_for_co_signatures_of_such_a_ledger(paper, elsewhere):
    give_token(paper.home, READER)
    founding = founded(paper, elsewhere)

    class Site:
        folder = paper.home.folder

        class settings:  # noqa: N801 - as the node has it
            witness, witness_quorum = True, 2

    Site.founding = founding
    with pytest.raises(UsageError) as refused:
        WitnessThread.of(Site)
    assert refused.value.code == "TW3506"
    Site.settings.witness_quorum = 0
    assert WitnessThread.of(Site) is None
